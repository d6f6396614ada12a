"""What no machine delivers is a person's task: made when it may go, done once, ended when nobody needs it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from amparo_common.events.types import ClockReading, ReferralChanged, TaskChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import (
    Adapter,
    ClockKind,
    ClockState,
    IncidentStatus,
    Level,
    ReferralStatus,
    Release,
    Role,
)
from amparo_referral.tables import DELIVERY, PARTNER, TASK

pytestmark = pytest.mark.anyio

CANARY = "Marzipan Canary answered"


async def by_phone(world: Any, **fields: Any) -> Any:
    given = {"adapter": Adapter.PHONE_THEN_WRITTEN, "address": "+502 5550 0100", "has_secret": False}
    return await world.routed("Police desk", **(given | fields))


async def opened(world: Any, **fields: Any) -> tuple[Any, Any]:
    """Give an incident whose referral is a call to make, and the task."""
    case, _ = await world.open(**fields)
    await world.build()
    return case, (await world.told_of(TaskChanged))[-1]


@pytest.mark.parametrize(
    ("adapter", "address"),
    [
        (Adapter.PHONE_THEN_WRITTEN, "+502 5550 0100"),
        (Adapter.PORTAL_MANUAL, "https://portal.example.org/"),
        (Adapter.ENCRYPTED_EMAIL, "desk@example.org"),
        (Adapter.NCMEC_CYBERTIPLINE, "https://cybertip.example.org/"),
        (Adapter.IODEF, "https://cert.example.org/"),
        (Adapter.PLATFORM_NOTICE, "notices@example.com"),
    ],
)
async def test_an_adapter_without_a_machine_makes_a_task_and_no_delivery(
    world: Any, adapter: Adapter, address: str
) -> None:
    await by_phone(world, adapter=adapter, address=address)
    case, task = await opened(world)
    (referral,) = await world.of(case)
    assert (task.kind, task.referral_id, task.incident_id, task.country) == (adapter, referral.id, case.id, "GT")
    assert set(task.instructions) == {"en", "es", "fr"}
    assert all(len(words) > 80 for words in task.instructions.values())
    assert (task.completed_at, task.completed_by, task.version) == (None, None, 1)
    assert referral.status is ReferralStatus.QUEUED
    assert await world.rows(DELIVERY) == []
    assert await world.send() == 0


async def test_a_task_is_due_with_the_incidents_clock_of_the_first_referral(world: Any) -> None:
    await by_phone(world)
    now = world.clock.now()
    clock = ClockReading(
        kind=ClockKind.FIRST_REFERRAL, state=ClockState.RUNNING, started_at=now, due_at=now + timedelta(minutes=17)
    )
    _, timed = await opened(world, clocks=(clock,))
    assert timed.due_at == now + timedelta(minutes=17)
    _, untimed = await opened(world)
    assert untimed.due_at == now + timedelta(minutes=240)


async def test_done_without_a_reference_is_delivered_and_the_silence_runs_on(world: Any, people: Any) -> None:
    partner = await by_phone(world)
    case, task = await opened(world)
    reply = await people.complete(task.task_id)
    assert reply.status_code == 200
    assert reply.json() == {"task": await people.told(TaskChanged), "referral": await people.told(ReferralChanged)}
    done = reply.json()["task"]
    assert (done["completed_by"], done["version"]) == ("triager", 2)
    referral = (await world.of(case))[0]
    assert (referral.status, referral.acknowledged_at) == (ReferralStatus.DELIVERED, None)
    assert referral.escalate_at is not None
    assert [one["outcome"] for one in reply.json()["referral"]["attempts"]] == ["told_by_person"]
    assert (await world.rows(PARTNER))[0]["last_delivered_at"] == world.clock.now()
    assert partner.id == referral.partner_id


async def test_a_reference_from_the_partner_says_that_it_received_it(world: Any, people: Any) -> None:
    await by_phone(world)
    case, task = await opened(world)
    told = (await people.complete(task.task_id, partner_reference="PN-77")).json()["referral"]
    assert told["status"] == "ACKNOWLEDGED"
    answers = [(one["code"], one["by"], one["partner_reference"]) for one in told["acknowledgements"]]
    assert answers == [("RECEIVED", "triager", "PN-77")]
    referral = (await world.of(case))[0]
    assert referral.escalate_at is None
    assert referral.version == told["version"]


async def test_a_task_is_done_once(world: Any, people: Any) -> None:
    await by_phone(world)
    _, task = await opened(world)
    replies = await asyncio.gather(
        *(people.complete(task.task_id, by=name) for name in ("triager", "supervisor", "supervisor2"))
    )
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409]
    assert people.refusals(await people.complete(task.task_id)) == [("TRANSITION_NOT_ALLOWED", None)]


async def test_the_note_is_sealed_and_goes_with_an_erasure(world: Any, people: Any, tmp_path: Path) -> None:
    await by_phone(world)
    case, task = await opened(world)
    assert (await people.complete(task.task_id, note=CANARY)).status_code == 200
    assert (await world.rows(TASK))[0]["note"]
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"Marzipan" not in file.read_bytes()
    await world.take(world.erased(case))
    assert (await world.rows(TASK))[0]["note"] is None


async def test_a_raise_renews_the_open_task_and_makes_none_beside_it(world: Any) -> None:
    await by_phone(world)
    case, task = await opened(world)
    await world.take(case.at(2, level=Level.P1))
    await world.build()
    (row,) = await world.rows(TASK)
    assert (row["version"], row["level"]) == (2, "P1")
    assert row["due_at"] == world.clock.now() + timedelta(minutes=60) < task.due_at


async def test_a_change_after_the_call_asks_for_another_call(world: Any, people: Any) -> None:
    await by_phone(world)
    case, task = await opened(world)
    await people.complete(task.task_id)
    await world.take(case.at(2, level=Level.P1))
    await world.build()
    newest = (await world.told_of(TaskChanged))[-1]
    assert newest.task_id != task.task_id
    assert newest.instructions["en"].startswith("The partner has this referral")


async def test_closing_the_incident_ends_the_task(world: Any, people: Any) -> None:
    await by_phone(world)
    case, task = await opened(world)
    await world.take(case.at(2, status=IncidentStatus.CLOSED))
    newest = (await world.told_of(TaskChanged))[-1]
    assert (newest.task_id, newest.completed_by) == (task.task_id, "referral")
    assert people.refusals(await people.complete(task.task_id)) == [("TRANSITION_NOT_ALLOWED", None)]


async def test_an_erasure_ends_the_task(world: Any) -> None:
    await by_phone(world)
    case, task = await opened(world)
    await world.take(world.erased(case))
    newest = (await world.told_of(TaskChanged))[-1]
    assert (newest.task_id, newest.completed_by) == (task.task_id, "referral")


async def test_a_task_is_made_when_the_second_person_approves_and_not_before(world: Any, people: Any) -> None:
    await by_phone(world, release=Release.WITH_APPROVAL)
    case, referral = await world.open()
    await people.refer(case)
    await world.build()
    assert await world.told_of(TaskChanged) == []
    await people.sign(referral.id)
    (task,) = await world.told_of(TaskChanged)
    await world.take(case.at(2, level=Level.P1))
    await world.build()
    assert (await world.told_of(TaskChanged))[-1].completed_by == "referral", "the package has to be approved again"
    await people.sign(referral.id)
    assert (await world.told_of(TaskChanged))[-1].task_id != task.task_id


async def test_who_does_the_task_sees_whom_to_reach_and_the_partner_does_not(world: Any, people: Any) -> None:
    await by_phone(world, organisation="demo-hotline")
    _, task = await opened(world)
    assert (await people.package(task.referral_id)).json()["address"] == "+502 5550 0100"
    assert (await people.package(task.referral_id, by="partner")).json()["address"] is None


async def test_a_task_of_another_country_cannot_be_told_from_none(world: Any, people: Any) -> None:
    await by_phone(world)
    people.known("abroad", Role.TRIAGER, countries=("FR",))
    _, task = await opened(world)
    foreign, unknown = await people.complete(task.task_id, by="abroad"), await people.complete(uuid7(), by="abroad")
    assert (foreign.status_code, foreign.json()) == (404, unknown.json())
    assert (await world.rows(TASK))[0]["completed_at"] is None


@pytest.mark.parametrize("role", ["agent", "partner", "integrator", "auditor", "admin"])
async def test_other_roles_do_no_tasks(world: Any, people: Any, role: str) -> None:
    await by_phone(world)
    _, task = await opened(world)
    assert (await people.complete(task.task_id, by=role)).status_code == 403
