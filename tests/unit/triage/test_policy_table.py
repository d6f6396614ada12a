"""The pack in force, told against a plain rewriting of the decision table."""

from __future__ import annotations

from importlib import resources
from itertools import combinations

import pytest
from hypothesis import given, settings, strategies as st

from amparo_common.vocabulary.codes import Category, Factor, Level, most_urgent
from amparo_common.vocabulary.guidelines import GUIDELINES
from amparo_triage.domain.policy import Facts, PackError
from amparo_triage.policy.pack import base_pack, parse_pack

PACK = base_pack()
SEXUAL = {
    Category.CSAM_SUSPECTED,
    Category.CSAM_KNOWN_HASH,
    Category.CSAM_LIVESTREAM,
    Category.CSAM_SELF_GENERATED,
    Category.CSAM_SYNTHETIC,
    Category.CSEM_SEXUALISATION,
    Category.GROOMING,
    Category.GROOMING_MEETING,
    Category.SEXTORTION,
    Category.NCII_MINOR,
    Category.OBSCENE_TO_CHILD,
    Category.TRAFFICKING,
    Category.TRAVEL_TOURISM,
    Category.CONTACT_ABUSE,
    Category.SADISTIC_COERCION,
}
CONTACT = SEXUAL | {Category.HARASSMENT_STALKING, Category.THREAT_VIOLENCE, Category.EXTREMISM_RECRUITMENT}
BASES = {
    Level.P1: {
        Category.TRAFFICKING,
        Category.SADISTIC_COERCION,
        Category.MISSING_CHILD,
        Category.CSAM_LIVESTREAM,
        Category.CONTACT_ABUSE,
    },
    Level.P3: {
        Category.CSEM_SEXUALISATION,
        Category.OBSCENE_TO_CHILD,
        Category.CYBERBULLYING,
        Category.HARASSMENT_STALKING,
        Category.PRIVACY_DATA,
        Category.IDENTITY_THEFT,
        Category.ACCOUNT_IMPERSONATION,
        Category.ILLEGAL_GOODS_GAMBLING,
        Category.MISLEADING_DOMAIN,
        Category.INSUFFICIENT_INFO,
    },
    Level.P4: {Category.TARGETED_MARKETING, Category.FRAUD_COMMERCIAL, Category.HARMFUL_CONTENT, Category.OUT_OF_SCOPE},
}


def table(held: set[Factor], categories: set[Category]) -> set[str]:
    """Rewrite the decision table in plain Python."""
    rules = {
        "R01": Factor.IMMINENT_DANGER in held,
        "R02": Factor.ONGOING_ABUSE in held,
        "R03": Factor.HANDS_ON_ACCESS in held and bool(categories & SEXUAL),
        "R04": Factor.SELF_HARM_ACTIVE in held,
        "R05": Factor.ACTIVE_THREAT in held and Category.SEXTORTION in categories,
        "R06": {Factor.NEW_MATERIAL, Factor.IDENTIFIABLE_CHILD} <= held,
        "R07": Factor.SELF_HARM_INDICATOR in held,
        "R08": {Factor.ADULT_UNKNOWN, Factor.UNDER13} <= held and bool(categories & CONTACT),
        "R09": Factor.LOCATION_EXPOSED in held and bool(categories & CONTACT),
        "R10": {Factor.INTERRUPTED_CONTACT, Factor.CHILD_REPORTER} <= held,
        "R11": Factor.TRUSTED_SOURCE in held,
        "R12": bool(held & {Factor.MULTIPLE_VICTIMS, Factor.REPEAT_SUBJECT}) and bool(categories & CONTACT),
        "R13": Factor.CHILD_REPORTER in held,
        "R14": Factor.UNDER13 in held
        and bool(categories & {Category.TARGETED_MARKETING, Category.FRAUD_COMMERCIAL, Category.HARMFUL_CONTENT}),
        "R15": Factor.PRETEXTING in held,
    }
    return {rule for rule, fires in rules.items() if fires}


def fired(held: set[Factor], categories: list[Category]) -> set[str]:
    facts = Facts(held=frozenset(held), categories=tuple(categories))
    return {match.rule.id for match in PACK.evaluate(facts)}


@settings(max_examples=400, deadline=None)
@given(
    st.sets(st.sampled_from(list(Factor))),
    st.lists(st.sampled_from(list(Category)), min_size=1, max_size=4, unique=True),
)
def test_the_pack_fires_what_the_table_says(held, categories):
    assert fired(held, categories) == table(held, set(categories))


def test_every_pair_of_factors_fires_what_the_table_says_for_every_category():
    for category in Category:
        for pair in combinations(Factor, 2):
            assert fired(set(pair), [category]) == table(set(pair), {category}), (category, pair)


def test_floors_are_those_of_the_table():
    floors = {rule.id: rule.floor for rule in PACK.table.rule}
    assert {rule for rule, floor in floors.items() if floor is Level.P1} == {"R01", "R02", "R03", "R04", "R05", "R06"}
    assert {rule for rule, floor in floors.items() if floor is Level.P3} == {"R13", "R14", "R15"}
    assert len(floors) == 15


def test_base_levels_are_those_of_the_table():
    expected = {category: level for level, members in BASES.items() for category in members}
    assert {category: policy.base for category, policy in PACK.table.category.items()} == {
        category: expected.get(category, Level.P2) for category in Category
    }


def test_the_matching_factors_are_named():
    facts = Facts(held=frozenset({Factor.REPEAT_SUBJECT, Factor.VIRAL}), categories=(Category.GROOMING,))
    (match,) = PACK.evaluate(facts)
    assert (match.rule.id, match.factors) == ("R12", (Factor.REPEAT_SUBJECT,))


def test_a_later_category_fires_a_rule_as_the_first_does():
    assert "R05" in fired({Factor.ACTIVE_THREAT}, [Category.FRAUD_COMMERCIAL, Category.SEXTORTION])


@given(st.sets(st.sampled_from(list(Factor))), st.sampled_from(list(Factor)), st.sampled_from(list(Category)))
@settings(max_examples=200, deadline=None)
def test_one_more_factor_never_makes_less_urgent(held, more, category):
    def level(factors: set[Factor]) -> Level:
        floors = [match.rule.floor for match in PACK.evaluate(Facts(held=frozenset(factors), categories=(category,)))]
        return most_urgent(*floors)

    assert level(held | {more}).at_least(level(held))


def source(**changes: str) -> bytes:
    text = (resources.files("amparo_triage.policy") / "base.toml").read_text(encoding="utf-8")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new, 1)
    return text.encode()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('when = "factors.IMMINENT_DANGER"', 'when = "factors.DANGER"', "rule R01: factor DANGER is unknown"),
        ("category in SEXUAL", "category in SEXY", "rule R03: SEXY is unknown"),
        ('when = "factors.ONGOING_ABUSE"', 'when = "factors.ONGOING_ABUSE &&"', "rule R02: the condition is no CEL"),
        ('when = "factors.ONGOING_ABUSE"', "when = \"'yes'\"", "rule R02: the condition answers str"),
        ('when = "factors.ONGOING_ABUSE"', "when = \"factors['ONGOING_ABUSE']\"", "rule R02: a factor is written"),
        ('floor = "P2"', 'floor = "P0"', "rule R07"),
        ('guidelines = ["COP20-A2.2"]', 'guidelines = ["COP99"]', "guideline COP99 is unknown"),
        ('guidelines = ["COP20-A2.2"]', "guidelines = []", "cites no guideline"),
        ('fr = "Un abus est signalé comme étant en cours."', 'fr = " "', "rule R02: reason is empty in fr"),
        (', fr = "Un abus est signalé comme étant en cours."', "", "rule R02"),
        ('id = "R02"', 'id = "R01"', "rule R01 stands twice"),
        ("VIRAL = 10\n", "", "weight of VIRAL is missing"),
        ("HUMAN_TRIAGE = 15", "HUMAN_TRIAGE = 0", "level P1: target HUMAN_TRIAGE is not positive"),
        ('version = "1"', 'version = "1"\nlowers = true', "lowers"),
        ("[sets]", "[sets", "base.toml"),
    ],
)
def test_a_mistake_in_a_pack_is_named_with_its_file_and_rule(old, new, named):
    with pytest.raises(PackError) as refused:
        parse_pack(source(change=(old, new)), file="base.toml")
    assert str(refused.value).startswith("base.toml: ")
    assert named in str(refused.value)


def test_the_digest_is_of_the_bytes():
    other = parse_pack(source() + b"\n# a note\n", file="base.toml")
    assert other.digest != PACK.digest
    assert parse_pack(source(), file="base.toml").digest == PACK.digest


def test_guidelines_say_what_is_not_verified():
    assert {reference.verified for reference in GUIDELINES.values()} == {True, False}
    assert all(reference.area in {"A1", "A2", "A3", "A4", "A5"} for reference in GUIDELINES.values())
