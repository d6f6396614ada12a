from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from amparo_common.events.types import ClockReading, FactorFinding, ProposedLowering, RuleFired
from amparo_common.vocabulary.codes import (
    Category,
    ClockKind,
    ClockState,
    Factor,
    FactorSource,
    IncidentStatus,
    Level,
)
from amparo_gateway.domain_history import summary

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOWERING = ProposedLowering(level=Level.P3, category=Category.HARMFUL_CONTENT, by="triager", at=NOON)


def test_the_first_version_says_how_it_was_opened(incident):
    rule = RuleFired(id="R01", floor=Level.P1, factors=(Factor.IMMINENT_DANGER,), guidelines=())
    opened = incident(level=Level.P1)
    opened = msgspec.structs.replace(opened, decision=msgspec.structs.replace(opened.decision, rules=(rule,)))
    assert summary(None, opened) == "Opened at P1 by R01 as CYBERBULLYING."


def test_a_first_known_version_that_is_not_the_first_says_so(incident):
    assert summary(None, incident(version=4)) == "First known at version 4: P3, CYBERBULLYING."


CHANGES = {
    "raised": ({"level": Level.P1}, "Raised from P3 to P1"),
    "lowered": ({"level": Level.P4}, "Lowered from P3 to P4"),
    "category": ({"category": Category.GROOMING}, "Category CYBERBULLYING to GROOMING"),
    "country": ({"country": "BO"}, "Country GT to BO"),
    "claimed": ({"claimed_by": "triager"}, "Claimed"),
    "report_joined": ({"report_count": 2}, "A report joined, 2 in all"),
    "closed": ({"status": IncidentStatus.CLOSED}, "Closed. Status OPEN to CLOSED"),
    "erased": ({"erased": True}, "Erased: what people wrote can no longer be read"),
    "status": ({"status": IncidentStatus.REFERRED}, "Status OPEN to REFERRED"),
    "lowering_proposed": (
        {"awaiting_signature": True, "proposed_lowering": LOWERING},
        "Lowering to P3 proposed, waits for a second person",
    ),
    "clock": (
        {"clocks": (ClockReading(kind=ClockKind.HUMAN_TRIAGE, state=ClockState.MISSED, started_at=NOON, due_at=NOON),)},
        "Clock HUMAN_TRIAGE MISSED",
    ),
    "changed": ({"victim_age": 11}, "Other facts were updated"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_change_has_its_words(incident, kind):
    fields, words = CHANGES[kind]
    assert summary(incident(), incident(version=2, **fields)) == f"{words}."


def test_a_human_decision_is_told_with_what_it_did(incident):
    before = incident()
    decision = msgspec.structs.replace(before.decision, version=2, human=True, decided_by="triager", level=Level.P2)
    told = summary(before, incident(version=2, level=Level.P2, decision=decision))
    assert told == "Raised from P3 to P2. Decided by a person: P2, CYBERBULLYING."


def test_a_signed_lowering_and_a_refused_one_differ(incident):
    waiting = incident(level=Level.P1, awaiting_signature=True, proposed_lowering=LOWERING)
    assert "signed the lowering" in summary(waiting, incident(version=2, level=Level.P3))
    assert "was not signed" in summary(waiting, incident(version=2, level=Level.P1))


def test_a_released_and_a_reopened_incident_are_told(incident):
    assert summary(incident(claimed_by="triager"), incident(version=2)) == "No longer claimed."
    assert "Opened again" in summary(incident(status=IncidentStatus.CLOSED), incident(version=2))


def test_new_factors_are_named_in_codes_only(incident):
    before = incident()
    finding = FactorFinding(factor=Factor.UNDER13, source=FactorSource.TEXT)
    decision = msgspec.structs.replace(before.decision, factors=(finding,))
    assert summary(before, incident(version=2, decision=decision)) == "Found UNDER13."


def test_nothing_that_a_person_wrote_is_in_a_summary(incident):
    """Logins and reasons are what free text an incident carries; neither is repeated."""
    before = incident(claimed_by=None)
    decision = msgspec.structs.replace(before.decision, version=2, human=True, decided_by="marked-login")
    after = incident(version=2, claimed_by="marked-login", decision=decision)
    assert "marked" not in summary(before, after)
