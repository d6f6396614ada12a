"""The lane guess sends what triage could call P1 ahead, and never decides a level."""

from __future__ import annotations

from typing import Any

import pytest

from amparo_common.vocabulary.codes import Category, Channel, Factor, Lane, SafeContact
from amparo_intake.domain.facts import ClearFacts, may_be_written_to, ticked
from amparo_intake.domain.urgency import danger_is_ticked, lane_of

#: Categories whose base level is P1 in the decision table.
P1_CATEGORIES = [
    Category.TRAFFICKING,
    Category.SADISTIC_COERCION,
    Category.MISSING_CHILD,
    Category.CSAM_LIVESTREAM,
    Category.CONTACT_ABUSE,
]


def facts(**given: Any) -> ClearFacts:
    return ClearFacts(channel=Channel.WEB, language="en", country="GT", **given)


def test_a_report_without_any_sign_travels_in_the_standard_lane() -> None:
    assert lane_of(facts()) is Lane.STANDARD


def test_a_danger_tick_travels_in_the_urgent_lane() -> None:
    assert lane_of(facts(imminent_danger=True)) is Lane.URGENT


@pytest.mark.parametrize("answer", [False, None])
def test_no_tick_and_an_unanswered_question_are_no_danger_tick(answer: bool | None) -> None:
    assert not danger_is_ticked(facts(imminent_danger=answer))
    assert lane_of(facts(imminent_danger=answer)) is Lane.STANDARD


def test_a_tick_against_danger_does_not_outweigh_a_factor_for_it() -> None:
    assert lane_of(facts(imminent_danger=False, factors=(Factor.SELF_HARM_ACTIVE,))) is Lane.URGENT


@pytest.mark.parametrize("category", [*P1_CATEGORIES, Category.GROOMING_MEETING, Category.SELF_HARM_RISK])
def test_a_category_that_can_be_p1_travels_in_the_urgent_lane(category: Category) -> None:
    assert lane_of(facts(category=category)) is Lane.URGENT


@pytest.mark.parametrize("category", [Category.TARGETED_MARKETING, Category.CYBERBULLYING, Category.OUT_OF_SCOPE])
def test_a_milder_category_travels_in_the_standard_lane(category: Category) -> None:
    assert lane_of(facts(category=category)) is Lane.STANDARD


@pytest.mark.parametrize(
    "factor",
    [
        Factor.IMMINENT_DANGER,
        Factor.ONGOING_ABUSE,
        Factor.HANDS_ON_ACCESS,
        Factor.SELF_HARM_ACTIVE,
        Factor.ACTIVE_THREAT,
    ],
)
def test_a_factor_that_can_make_p1_travels_in_the_urgent_lane(factor: Factor) -> None:
    assert lane_of(facts(factors=(factor,))) is Lane.URGENT


def test_new_material_of_an_identifiable_child_is_urgent_only_together() -> None:
    assert lane_of(facts(factors=(Factor.NEW_MATERIAL,))) is Lane.STANDARD
    assert lane_of(facts(factors=(Factor.IDENTIFIABLE_CHILD,))) is Lane.STANDARD
    assert lane_of(facts(factors=(Factor.IDENTIFIABLE_CHILD, Factor.NEW_MATERIAL))) is Lane.URGENT


def test_a_reporter_cannot_tick_what_only_a_token_or_a_triager_can_say() -> None:
    given = (Factor.TRUSTED_SOURCE, Factor.VIRAL, Factor.OVERCLAIM, Factor.VIRAL, Factor.CHILD_REPORTER)

    assert ticked(given) == (Factor.VIRAL, Factor.CHILD_REPORTER)


@pytest.mark.parametrize(
    ("safe_contact", "watched", "allowed"),
    [
        (SafeContact.NEVER, False, False),
        (SafeContact.NEVER, True, False),
        (None, False, True),
        (None, True, False),
        (SafeContact.PHONE, True, False),
        (SafeContact.CODE_ONLY, True, True),
        (SafeContact.SMS, False, True),
    ],
)
def test_nobody_is_written_to_where_that_is_not_safe(
    safe_contact: SafeContact | None, watched: bool, allowed: bool
) -> None:
    factors = (Factor.UNSAFE_CALLBACK,) if watched else ()

    assert may_be_written_to(facts(safe_contact=safe_contact, factors=factors)) is allowed
