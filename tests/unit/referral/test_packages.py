"""What each kind of body gets, and what is held back: one snapshot a destination."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from amparo_common.events.types import Decision, FactorFinding, IncidentTriaged, RuleFired
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    Destination,
    Factor,
    FactorSource,
    IncidentStatus,
    Lane,
    LawfulBasis,
    Level,
    ReporterType,
    SafeContact,
)
from amparo_referral.domain.package import MOST_REPORTS, Account, Hash, Informed, ReportFacts, Told, compose
from amparo_referral.domain.profiles import FIELDS, profile_of, withheld_from
from amparo_referral.domain.routes import STAYS_HERE

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ALWAYS = {"reporter.name", "reporter.contact", "reporter.network"}
#: What is held back, written out once more: a change of the table must be a change here.
WITHHELD = {
    "LAW_ENFORCEMENT": ALWAYS,
    "EMERGENCY_SERVICES": ALWAYS,
    "CHILD_PROTECTION_AUTHORITY": ALWAYS,
    "HOTLINE": ALWAYS
    | {
        "assessment.factors", "reports.text", "child.age", "child.imminent_danger", "contact.safe_contact",
        "reporter.type",
    },
    "CHILD_HELPLINE": ALWAYS
    | {"reports.text", "reports.urls", "reports.accounts", "reports.hashes", "reports.occurred_at"},
    "PLATFORM_PROVIDER": ALWAYS
    | {
        "assessment.reasons", "assessment.factors", "reports.text", "child.age", "child.age_band", "child.count",
        "child.imminent_danger", "contact.safe_contact", "reporter.type", "done.informed",
    },
    "INTERNAL_OPERATOR_TEAM": ALWAYS
    | {
        "assessment.reasons", "assessment.factors", "reports.text", "child.age", "child.count", "child.imminent_danger",
        "contact.safe_contact", "reporter.type", "done.informed",
    },
    **dict.fromkeys(
        ("REGULATOR", "DATA_PROTECTION_AUTHORITY"),
        ALWAYS
        | {
            "assessment.reasons", "assessment.factors", "reports.text", "reports.accounts", "reports.hashes",
            "child.age", "child.age_band", "child.count", "child.imminent_danger",
            "contact.safe_contact", "reporter.type",
            "done.informed",
        },
    ),
}  # fmt: skip
GOES = [destination for destination in Destination if destination not in STAYS_HERE]
#: Where each optional field would show, and a value of it that nothing else has.
MARKS = {
    "assessment.reasons": "Reason in words 1",
    "assessment.factors": "SELF_HARM_INDICATOR",
    "reports.text": "Words of the reporter 2",
    "reports.urls": "https://chat.example.com/room/4",
    "reports.platform": "online game chat 3",
    "reports.accounts": "user_example_417",
    "reports.hashes": "abababab",
    "child.age_band": "13-15",
    "contact.safe_contact": "code_only",
    "reporter.type": "TEACHER",
    "done.informed": "Another body 5",
}


def report(**fields: Any) -> ReportFacts:
    told = Told(
        text=MARKS["reports.text"],
        urls=(MARKS["reports.urls"],),
        platform=MARKS["reports.platform"],
        accounts=(Account("game", MARKS["reports.accounts"]),),
        hashes=(Hash("sha256", MARKS["reports.hashes"], "Take It Down"),),
        occurred_at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    given: dict[str, Any] = {
        "report_id": uuid7(),
        "received_at": NOW,
        "channel": Channel.WEB,
        "language": "en",
        "country": "GT",
        "imminent_danger": None,
        "reporter_type": ReporterType.TEACHER,
        "safe_contact": SafeContact.CODE_ONLY,
        "told": told,
    }
    return ReportFacts(**(given | fields))


def incident(**fields: Any) -> IncidentTriaged:
    decision = Decision(
        version=1,
        pack="standard 1",
        pack_digest="d" * 64,
        base_level=Level.P2,
        level=Level.P2,
        score=1,
        rules=(RuleFired(id="R03", floor=Level.P2, factors=(), guidelines=("COP20-A2.2",)),),
        factors=(
            FactorFinding(factor=Factor.SELF_HARM_INDICATOR, source=FactorSource.TEXT),
            FactorFinding(factor=Factor.VIRAL, source=FactorSource.TEXT, confirmed=False),
        ),
        guidelines=(),
        reasons={"en": (MARKS["assessment.reasons"],), "es": ("Motivo",)},
        proposed_destinations=(Destination.HOTLINE,),
        human=False,
        decided_by=None,
        decided_at=NOW,
    )
    given: dict[str, Any] = {
        "incident_id": uuid7(),
        "reference": "AM-0000-0000",
        "version": 1,
        "changed_at": NOW,
        "lane": Lane.URGENT,
        "country": "GT",
        "channels": (Channel.WEB,),
        "received_at": NOW,
        "level": Level.P2,
        "provisional": True,
        "status": IncidentStatus.OPEN,
        "category": Category.GROOMING,
        "secondary_categories": (),
        "report_count": 1,
        "decision": decision,
        "clocks": (),
        "due_at": None,
        "claimed_by": None,
        "claimed_until": None,
        "awaiting_signature": False,
        "proposed_lowering": None,
        "owners": (),
        "victim_age": 14,
        "victim_count": 2,
        "is_test": False,
    }
    return IncidentTriaged(**(given | fields))


def package(destination: Destination, reports: tuple[ReportFacts, ...] = (report(),), **fields: Any) -> Any:
    return compose(
        incident(**fields),
        referral_reference="RF-0000-0000",
        destination=destination,
        lawful_basis=LawfulBasis.VITAL_INTEREST,
        reports=reports,
        informed=[Informed(Destination.HOTLINE, MARKS["done.informed"], "DELIVERED", NOW)],
    )


@pytest.mark.parametrize("destination", GOES)
def test_each_body_is_denied_exactly_what_its_snapshot_says(destination: Destination) -> None:
    made = package(destination)
    assert {field.field for field in made.withheld} == WITHHELD[destination]
    assert all(field.safeguard.startswith("SG-") and field.reason for field in made.withheld)


@pytest.mark.parametrize("destination", GOES)
@pytest.mark.parametrize("field", list(MARKS))
def test_a_field_stands_in_the_content_exactly_when_it_is_not_withheld(destination: Destination, field: str) -> None:
    content = msgspec.json.encode(package(destination).content).decode()
    assert (MARKS[field] in content) == (field not in WITHHELD[destination])


@pytest.mark.parametrize("destination", GOES)
def test_every_body_learns_what_it_must_know_of_any_referral(destination: Destination) -> None:
    content = package(destination).content
    assert "allegation" in content["marking"]
    assert content["case"]["referral_reference"] == "RF-0000-0000"
    assert content["assessment"]["rule_set"] == {"name": "standard 1", "digest": "d" * 64}
    assert content["assessment"]["category_in_words"]
    assert content["legal"]["lawful_basis"] == "VITAL_INTEREST"
    assert content["legal"]["retention"]
    assert content["contact"]["route"]
    assert content["is_test"] is False


def test_no_package_has_room_for_who_reports() -> None:
    for destination in GOES:
        content = package(destination).content
        assert set(content.get("reporter", {})) <= {"type"}
        assert {"reporter.name", "reporter.contact"} <= {field.field for field in withheld_from(destination)}


def test_every_field_has_a_row_and_every_profile_a_name() -> None:
    assert set(MARKS) <= set(FIELDS)
    assert profile_of(Destination.LAW_ENFORCEMENT) == "law_enforcement.v1"
    assert profile_of(Destination.INTERNAL_OPERATOR_TEAM) == "internal_team.v1"
    assert len({profile_of(destination) for destination in GOES}) == len(GOES)


def test_a_report_that_cannot_be_read_is_told_as_such() -> None:
    made = package(Destination.LAW_ENFORCEMENT, (report(told=None),))
    assert made.content["reports"][0]["narrative"] == "not available"
    assert "reports.narrative" in {field.field for field in made.withheld}


def test_reasons_come_in_the_reports_language_and_rejected_factors_stay_here() -> None:
    made = package(Destination.LAW_ENFORCEMENT, (report(language="es"),))
    assert made.content["assessment"]["reasons"] == ["Motivo"]
    assert [one["factor"] for one in made.content["assessment"]["factors"]] == ["SELF_HARM_INDICATOR"]


def test_of_very_many_reports_the_first_and_the_newest_are_told_and_the_others_counted() -> None:
    reports = tuple(report(told=Told(text=str(number))) for number in range(50))
    content = package(Destination.LAW_ENFORCEMENT, reports).content
    told = [one["text"] for one in content["reports"]]
    assert (len(told), told[0], told[-1]) == (MOST_REPORTS, "0", "49")
    assert content["further_reports"] == 50 - MOST_REPORTS


@pytest.mark.parametrize(
    ("age", "band"), [(None, "unknown, treat as young"), (0, "0-2"), (12, "10-12"), (17, "16-17"), (18, "18 or older")]
)
def test_an_unknown_age_is_treated_as_young(age: int | None, band: str) -> None:
    content = package(Destination.LAW_ENFORCEMENT, victim_age=age).content
    assert (content["child"]["age"], content["child"]["age_band"]) == (age, band)


def test_danger_that_any_report_tells_is_told_and_unknown_is_not_no() -> None:
    told = package(Destination.LAW_ENFORCEMENT, (report(imminent_danger=False), report(imminent_danger=True)))
    unknown = package(Destination.LAW_ENFORCEMENT)
    assert told.content["child"]["imminent_danger"] is True
    assert unknown.content["child"]["imminent_danger"] is None
