"""What triage and referral tell reaches the reporter: through the log, twice, late, out of order, after a restart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from amparo_common.events.codec import Envelope, Received
from amparo_common.events.types import Decision, Event, IncidentTriaged, ReferralChanged, ReportJoined
from amparo_common.ids import uuid7
from amparo_common.log.port import Record
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

pytestmark = pytest.mark.anyio
Start = Callable[..., AbstractAsyncContextManager[Any]]
START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def incident(incident_id: UUID, version: int, **changes: Any) -> IncidentTriaged:
    decision = Decision(
        version=1, pack="p", pack_digest="d", base_level=Level.P3, level=Level.P3, score=0, rules=(), factors=(),
        guidelines=(), reasons={}, proposed_destinations=(), human=False, decided_by=None, decided_at=START,
    )  # fmt: skip
    state = IncidentTriaged(
        incident_id=incident_id, reference="AM-0000-0000", version=version, lane=Lane.STANDARD, country="GT",
        changed_at=START + timedelta(minutes=version), channels=(Channel.WEB,), received_at=START, level=Level.P3,
        provisional=True, status=IncidentStatus.OPEN, category=Category.GROOMING, secondary_categories=(),
        report_count=1, decision=decision, clocks=(), due_at=None, claimed_by=None, claimed_until=None,
        awaiting_signature=False, proposed_lowering=None, owners=(), victim_age=None, victim_count=None, is_test=False,
    )  # fmt: skip
    return msgspec.structs.replace(state, **changes)


def referral(incident_id: UUID, status: ReferralStatus, *, delivered: bool) -> ReferralChanged:
    return ReferralChanged(
        referral_id=UUID(int=7), reference="RF-0000-0000", version=1, package_version=1, changed_at=START,
        incident_id=incident_id, partner_id=UUID(int=8), partner_name="Demo", organisation=None, country="GT",
        destination=Destination.HOTLINE, adapter=Adapter.WEBHOOK, status=status, release=Release.AUTOMATIC,
        level=Level.P3, category=Category.GROOMING, lawful_basis=LawfulBasis.VITAL_INTEREST, created_at=START,
        delivered_at=START if delivered else None, acknowledged_at=None, due_at=None, is_test=False,
        profile="hotline.v1", withheld=(), attempts=(), acknowledgements=(),
    )  # fmt: skip


def joined(report_id: UUID, incident_id: UUID, *, minute: int = 0) -> ReportJoined:
    return ReportJoined(
        incident_id=incident_id, incident_version=1, report_id=report_id, lane=Lane.STANDARD,
        at=START + timedelta(minutes=minute), received_at=START, channel=Channel.WEB, language="en", country="GT",
        victim_age=None, victim_count=None, imminent_danger=None, reporter_type=None, safe_contact=None, owner=None,
        narrative=b"sealed",
    )  # fmt: skip


def deliveries(events: Sequence[tuple[Event, UUID]]) -> list[Received]:
    """Wrap events as the consumer hands them over."""
    wrapped = []
    for offset, (event, event_id) in enumerate(events):
        envelope = Envelope(
            id=event_id, type=event.TYPE, source="urn:amparo:test", time=START, key=UUID(int=1), lane=Lane.STANDARD
        )
        wrapped.append(Received(envelope, event, Record("amparo.incidents.standard", 0, offset, b"", b"", (), 0)))
    return wrapped


async def until(intake: Any, code: str, status: str) -> dict[str, Any]:
    for _ in range(100):
        case: dict[str, Any] = await intake.status(code)
        if case["status"] == status:
            return case
        await asyncio.sleep(0.05)
    raise AssertionError(f"the case never became {status}")


async def test_a_case_goes_from_received_over_review_to_passed_on_and_closed_through_the_log(start: Start) -> None:
    async with start(follow=True) as intake:
        receipt = await intake.report()
        code, report_id = receipt["case_code"], UUID(receipt["report_id"])
        await intake.publish((joined(report_id, report_id), uuid7()), (incident(report_id, 1), uuid7()))
        await intake.publish((incident(report_id, 2, claimed_by="triager"), uuid7()))
        reviewed = await until(intake, code, "in_review")
        await intake.publish((referral(report_id, ReferralStatus.DELIVERED, delivered=True), uuid7()))
        await until(intake, code, "passed_on")
        await intake.publish((incident(report_id, 3, status=IncidentStatus.CLOSED), uuid7()))
        closed = await until(intake, code, "closed")

    assert reviewed["updated_at"] == "2026-11-24T06:02:00.000Z"
    assert closed["updated_at"] == "2026-11-24T06:03:00.000Z"


async def test_a_joined_report_shows_the_status_of_its_incident(intake: Any) -> None:
    first, second = await intake.report(), await intake.report("The same, said by somebody else.")
    incident_id, second_id = UUID(first["report_id"]), UUID(second["report_id"])
    events: list[tuple[Event, UUID]] = [
        (incident(incident_id, 1, claimed_by="triager"), uuid7()),
        (joined(second_id, incident_id), uuid7()),
    ]
    await intake.intake.follow(deliveries(events))

    assert (await intake.status(second["case_code"]))["status"] == "in_review"
    assert (await intake.status(first["case_code"]))["status"] == "in_review"


async def test_a_report_that_was_moved_follows_its_newest_incident_in_any_order(intake: Any) -> None:
    receipt = await intake.report()
    report_id, old, new = UUID(receipt["report_id"]), UUID(int=101), UUID(int=102)
    moved, stayed = (joined(report_id, new, minute=5), uuid7()), (joined(report_id, old, minute=1), uuid7())
    await intake.intake.follow(deliveries([(incident(new, 1, claimed_by="triager"), uuid7()), moved]))
    await intake.intake.follow(deliveries([stayed]))

    assert (await intake.status(receipt["case_code"]))["status"] == "in_review"


async def test_events_applied_twice_and_in_any_order_end_the_same(intake: Any) -> None:
    seeded = random.Random(20261124)  # noqa: S311 - a shuffle that can be repeated
    codes = []
    for _ in range(12):
        receipt = await intake.report()
        report_id = UUID(receipt["report_id"])
        codes.append(receipt["case_code"])
        events: list[tuple[Event, UUID]] = [
            (joined(report_id, report_id), uuid7()),
            (incident(report_id, 1), uuid7()),
            (incident(report_id, 2, claimed_by="triager"), uuid7()),
            (referral(report_id, ReferralStatus.QUEUED, delivered=False), uuid7()),
            (referral(report_id, ReferralStatus.ACKNOWLEDGED, delivered=True), uuid7()),
            (incident(report_id, 3, status=IncidentStatus.CLOSED), uuid7()),
            (incident(report_id, 4, status=IncidentStatus.REFERRED), uuid7()),
        ]
        events = events * 2
        seeded.shuffle(events)
        cut = seeded.randrange(1, len(events))
        await intake.intake.follow(deliveries(events[:cut]))
        await intake.intake.follow(deliveries(events[cut:]))

    assert {(await intake.status(code))["status"] for code in codes} == {"passed_on"}
    assert {row["version"] for row in await intake.rows("SELECT version FROM incident_progress")} == {4}


async def test_an_event_about_a_report_that_is_not_here_is_kept_and_harms_nothing(intake: Any) -> None:
    stranger = UUID(int=999)
    await intake.intake.follow(deliveries([(joined(stranger, stranger), uuid7()), (incident(stranger, 1), uuid7())]))

    assert await intake.count("joined_report") == 1


async def test_what_was_not_applied_before_a_crash_is_applied_after_it(start: Start) -> None:
    async with start() as intake:
        receipt = await intake.report()
        report_id = UUID(receipt["report_id"])
        await intake.publish((incident(report_id, 2, claimed_by="triager"), uuid7()))
        assert (await intake.status(receipt["case_code"]))["status"] == "received"
    async with start(follow=True) as intake:
        await until(intake, receipt["case_code"], "in_review")
