"""The four words that a reporter sees are true in whatever order events arrive."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from amparo_common.events.types import Decision, IncidentTriaged, ReferralChanged
from amparo_common.vocabulary.codes import (
    Adapter,
    Category,
    Channel,
    Destination,
    IncidentStatus,
    Lane,
    LawfulBasis,
    Level,
    ReferralStatus,
    Release,
)
from amparo_intake.domain.case_status import CaseStatus, Progress, after_incident, after_referral

ID = UUID("01970000-0000-7000-8000-000000000001")
START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def incident(version: int, **changes: Any) -> IncidentTriaged:
    decision = Decision(
        version=1, pack="p", pack_digest="d", base_level=Level.P3, level=Level.P3, score=0, rules=(), factors=(),
        guidelines=(), reasons={}, proposed_destinations=(), human=changes.pop("human", False), decided_by=None,
        decided_at=START,
    )  # fmt: skip
    state = IncidentTriaged(
        incident_id=ID, reference="AM-0000-0000", version=version, changed_at=START + timedelta(minutes=version),
        lane=Lane.STANDARD, country="GT", channels=(Channel.WEB,), received_at=START, level=Level.P3, provisional=True,
        status=IncidentStatus.OPEN, category=Category.GROOMING, secondary_categories=(), report_count=1,
        decision=decision, clocks=(), due_at=None, claimed_by=None, claimed_until=None, awaiting_signature=False,
        proposed_lowering=None, owners=(), victim_age=None, victim_count=None, is_test=False,
    )  # fmt: skip
    return msgspec.structs.replace(state, **changes)


def referral(status: ReferralStatus, *, delivered: bool = False) -> ReferralChanged:
    return ReferralChanged(
        referral_id=UUID(int=7), reference="RF-0000-0000", version=1, package_version=1, changed_at=START,
        incident_id=ID, partner_id=UUID(int=8), partner_name="Demo", organisation=None, country="GT",
        destination=Destination.HOTLINE,
        adapter=Adapter.WEBHOOK, status=status, release=Release.AUTOMATIC, level=Level.P3, category=Category.GROOMING,
        lawful_basis=LawfulBasis.VITAL_INTEREST, created_at=START, delivered_at=START if delivered else None,
        acknowledged_at=None, due_at=None, is_test=False, profile="hotline.v1", withheld=(), attempts=(),
        acknowledgements=(),
    )  # fmt: skip


def after(*events: IncidentTriaged | ReferralChanged) -> Progress:
    progress = Progress(incident_id=ID)
    for event in events:
        if isinstance(event, IncidentTriaged):
            progress = after_incident(progress, event)
        else:
            progress = after_referral(progress, event)
    return progress


def test_an_incident_that_no_human_touched_is_received() -> None:
    assert after(incident(1)).status is CaseStatus.RECEIVED


@pytest.mark.parametrize(
    "changes",
    [
        {"claimed_by": "triager"},
        {"human": True},
        {"status": IncidentStatus.IN_REVIEW},
        {"status": IncidentStatus.DECIDED},
    ],
)
def test_a_human_who_took_it_puts_it_in_review(changes: dict[str, Any]) -> None:
    assert after(incident(1, **changes)).status is CaseStatus.IN_REVIEW


def test_letting_go_of_a_claim_does_not_take_the_review_back() -> None:
    assert after(incident(1, claimed_by="triager"), incident(2)).status is CaseStatus.IN_REVIEW


@pytest.mark.parametrize(
    ("status", "delivered", "passed_on"),
    [
        (ReferralStatus.AWAITING_REVIEW, False, False),
        (ReferralStatus.AWAITING_APPROVAL, False, False),
        (ReferralStatus.QUEUED, False, False),
        (ReferralStatus.UNDELIVERABLE, False, False),
        (ReferralStatus.REVOKED, False, False),
        (ReferralStatus.REVOKED, True, True),
        (ReferralStatus.DELIVERED, True, True),
        (ReferralStatus.ACKNOWLEDGED, False, True),
        (ReferralStatus.REJECTED, True, True),
    ],
)
def test_a_case_is_passed_on_as_soon_as_a_referral_went(
    status: ReferralStatus, delivered: bool, passed_on: bool
) -> None:
    shown = after(referral(status, delivered=delivered)).status

    assert shown is (CaseStatus.PASSED_ON if passed_on else CaseStatus.RECEIVED)


def test_a_closed_case_that_a_human_opens_again_is_no_longer_closed() -> None:
    closed, opened = incident(4, status=IncidentStatus.CLOSED), incident(5, status=IncidentStatus.IN_REVIEW)

    assert after(closed).status is CaseStatus.CLOSED
    assert after(closed, opened).status is CaseStatus.IN_REVIEW
    assert after(opened, closed).status is CaseStatus.IN_REVIEW


def test_every_order_of_the_same_events_shows_the_same() -> None:
    events = [
        incident(1),
        incident(2, claimed_by="triager", status=IncidentStatus.IN_REVIEW),
        incident(3),
        referral(ReferralStatus.DELIVERED, delivered=True),
        incident(4, status=IncidentStatus.CLOSED),
    ]

    seen = {(p.status, p.version) for p in (after(*order) for order in itertools.permutations(events))}

    assert seen == {(CaseStatus.CLOSED, 4)}


def test_the_moment_of_change_is_that_of_the_event_that_changed_the_status() -> None:
    assert after(incident(1)).changed_at is None
    assert after(incident(1), incident(2, claimed_by="triager"), incident(9)).changed_at == START + timedelta(minutes=2)
