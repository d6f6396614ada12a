"""Decisions over the life of an incident, without any storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from amparo_common.events.types import FactorFinding
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    Destination,
    Factor,
    FactorSource,
    Level,
    ReporterType,
)
from amparo_triage.domain.facts import NOTHING_READ, Reading, Recurrence, ReportFacts, clear_findings, held, merged
from amparo_triage.domain.incident import joined, opened, read_later
from amparo_triage.policy.pack import base_pack, parse_pack

PACK = base_pack()
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
NOTHING = Recurrence()


def facts(**fields) -> ReportFacts:
    known = {
        "report_id": uuid7(), "received_at": NOW, "country": "BO", "channel": Channel.WEB, "category": None,
        "factors": (),
        "victim_age": None, "victim_count": None, "imminent_danger": None, "reporter_type": None, "owner": None,
        "trusted_source": False, "is_test": False,
    }  # fmt: skip
    return ReportFacts(**(known | fields))


def incident(reading=NOTHING_READ, **fields):
    return opened(facts(**fields), reference="AM", reading=reading, recurrence=NOTHING, pack=PACK, now=NOW)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"imminent_danger": True}, {Factor.IMMINENT_DANGER: FactorSource.REPORTER}),
        ({"imminent_danger": False, "victim_age": 13, "victim_count": 1}, {}),
        ({"imminent_danger": None}, {}),
        ({"victim_age": 12}, {Factor.UNDER13: FactorSource.SYSTEM}),
        ({"victim_age": 0}, {Factor.UNDER13: FactorSource.SYSTEM}),
        ({"victim_count": 2}, {Factor.MULTIPLE_VICTIMS: FactorSource.SYSTEM}),
        ({"reporter_type": ReporterType.CHILD}, {Factor.CHILD_REPORTER: FactorSource.SYSTEM}),
        ({"trusted_source": True}, {Factor.TRUSTED_SOURCE: FactorSource.SYSTEM}),
        ({"factors": (Factor.VIRAL, Factor.OVERCLAIM)}, {Factor.VIRAL: FactorSource.REPORTER}),
    ],
)
def test_clear_facts_give_their_findings_and_null_is_not_no(fields, expected):
    assert {one.factor: one.source for one in clear_findings(facts(**fields))} == expected


def test_without_anything_the_report_waits_for_facts_and_is_never_low():
    plain = incident()
    assert plain.categories == (Category.INSUFFICIENT_INFO,)
    assert plain.level is Level.P3
    assert plain.decision.proposed_destinations[0] is Destination.RETURN_TO_REPORTER


def test_an_urgent_report_never_goes_back_or_to_nobody():
    for category in (None, Category.OUT_OF_SCOPE, Category.INSUFFICIENT_INFO):
        first = incident(category=category, imminent_danger=True).decision.proposed_destinations[0]
        assert first not in {Destination.RETURN_TO_REPORTER, Destination.NONE_CLOSE}


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"category": Category.SEXTORTION, "factors": (Factor.SELF_HARM_ACTIVE,)}, Destination.EMERGENCY_SERVICES),
        ({"category": Category.OFFLINE_MALTREATMENT, "imminent_danger": True}, Destination.EMERGENCY_SERVICES),
        ({"category": Category.OFFLINE_MALTREATMENT}, Destination.CHILD_PROTECTION_AUTHORITY),
        (
            {"category": Category.CSAM_KNOWN_HASH, "factors": (Factor.HOSTED_ON_OWN_NETWORK,)},
            Destination.INTERNAL_OPERATOR_TEAM,
        ),
        ({"category": Category.CSAM_KNOWN_HASH}, Destination.LAW_ENFORCEMENT),
        ({"reporter_type": ReporterType.CHILD}, Destination.CHILD_HELPLINE),
    ],
)
def test_the_first_destination_is_the_body_that_can_act(fields, first):
    assert incident(**fields).decision.proposed_destinations[0] is first


def test_a_child_that_reports_is_offered_a_helpline():
    places = incident(category=Category.PRIVACY_DATA, reporter_type=ReporterType.CHILD).decision.proposed_destinations
    assert Destination.CHILD_HELPLINE in places


def test_reasons_stand_in_three_languages_and_guidelines_are_cited():
    decision = incident(category=Category.GROOMING, imminent_danger=True).decision
    assert {len(reasons) for reasons in decision.reasons.values()} == {3}
    assert set(decision.reasons) == {"en", "es", "fr"}
    assert decision.guidelines
    assert (decision.pack, decision.pack_digest) == (PACK.label, PACK.digest)


REPORTS = st.builds(
    facts,
    category=st.sampled_from([None, *Category]),
    factors=st.lists(st.sampled_from(list(Factor)), max_size=4).map(tuple),
    imminent_danger=st.sampled_from([None, False, True]),
    victim_age=st.sampled_from([None, 9, 15]),
)
READINGS = st.builds(
    Reading,
    categories=st.lists(st.sampled_from(list(Category)), max_size=2, unique=True).map(tuple),
    factors=st.lists(st.sampled_from(list(Factor)), max_size=3, unique=True).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(REPORTS, READINGS, st.lists(st.tuples(REPORTS, READINGS), max_size=4))
def test_whatever_joins_never_lowers(first, reading, others):
    now = opened(first, reference="AM", reading=reading, recurrence=NOTHING, pack=PACK, now=NOW)
    for other, words in others:
        after = joined(now, other, reading=words, recurrence=NOTHING, pack=PACK, now=NOW)
        assert after.level.at_least(now.level)
        assert after.decision.base_level.at_least(now.decision.base_level)
        assert held(now.findings) <= held(after.findings)
        assert after.version == now.version + 1
        assert Factor.OVERCLAIM not in held(after.findings)
        now = after


@settings(max_examples=100, deadline=None)
@given(REPORTS, READINGS)
def test_reading_later_never_gives_less_than_reading_at_once(first, reading):
    at_once = opened(first, reference="AM", reading=reading, recurrence=NOTHING, pack=PACK, now=NOW)
    waiting = opened(first, reference="AM", reading=None, recurrence=NOTHING, pack=PACK, now=NOW)
    later = read_later(
        waiting, first.report_id, reading, recurrence=NOTHING, settles=True, pack=PACK, now=NOW + timedelta(minutes=1)
    )
    assert later.level.at_least(at_once.level)
    assert later.level.at_least(waiting.level)
    assert not later.decision.text_pending


def finding(factor=Factor.VIRAL, source=FactorSource.TEXT, confirmed=None, report_id=None):
    return FactorFinding(factor=factor, source=source, confirmed=confirmed, report_id=report_id)


def test_a_rejected_finding_stays_rejected_for_its_report_and_not_for_another():
    first, second = uuid7(), uuid7()
    rejected = (finding(confirmed=False, report_id=first),)
    assert held(merged(rejected, [finding(report_id=first)])) == frozenset()
    assert held(merged(rejected, [finding(report_id=second)])) == {Factor.VIRAL}


def test_a_tick_takes_the_place_of_an_unjudged_proposal_and_never_of_a_judgement():
    tick = finding(source=FactorSource.REPORTER, report_id=uuid7())
    assert merged((finding(),), [tick]) == (tick,)
    confirmed = finding(confirmed=True)
    assert merged((confirmed,), [tick]) == (confirmed,)


def test_a_copy_does_not_move_back_what_its_first_report_needs():
    alone = incident(category=Category.CSAM_SUSPECTED, factors=(Factor.VIRAL, Factor.IDENTIFIABLE_CHILD))
    repeat = Recurrence(subject=True, item=True)
    copied = joined(alone, facts(), reading=NOTHING_READ, recurrence=repeat, pack=PACK, now=NOW)
    assert copied.decision.score >= alone.decision.score


def test_an_incident_is_a_test_only_while_every_report_is():
    probe = incident(is_test=True)
    assert probe.is_test
    assert not joined(probe, facts(), reading=NOTHING_READ, recurrence=NOTHING, pack=PACK, now=NOW).is_test


def test_equal_facts_give_an_equal_decision():
    one = facts(category=Category.GROOMING, victim_age=9)
    first = opened(one, reference="AM", reading=NOTHING_READ, recurrence=NOTHING, pack=PACK, now=NOW)
    again = opened(one, reference="AM", reading=NOTHING_READ, recurrence=NOTHING, pack=base_pack(), now=NOW)
    assert first == again
    assert replace(first, version=2) != first


def test_a_milder_pack_keeps_the_level_that_a_stricter_one_gave():
    source = (resources.files("amparo_triage.policy") / "base.toml").read_text(encoding="utf-8")
    milder = parse_pack(source.replace('floor = "P1"', 'floor = "P3"').encode(), file="milder.toml")
    strict = incident(category=Category.CYBERBULLYING, factors=(Factor.SELF_HARM_ACTIVE,))
    again = joined(strict, facts(), reading=NOTHING_READ, recurrence=NOTHING, pack=milder, now=NOW)
    assert strict.level is Level.P1
    assert again.level is Level.P1
    assert again.decision.pack_digest == milder.digest
