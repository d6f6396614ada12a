"""Deliveries: every attempt stored, the same id each time, and nobody waits for somebody else's partner."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from amparo_common import faults
from amparo_common.db.tables import AUDIT_ENTRY
from amparo_common.vocabulary.codes import IncidentStatus, Level, ReferralStatus
from amparo_referral import outcomes
from amparo_referral.adapters.port import Outcome
from amparo_referral.delivery import claim
from amparo_referral.domain.retries import WAITS
from amparo_referral.fallbacks import escalate_due
from amparo_referral.repository import deliveries
from amparo_referral.tables import ATTEMPT, DELIVERY, PARTNER

pytestmark = pytest.mark.anyio

FAILED = Outcome(slug="failed", status_code=500, unhealthy=True)
GONE = Outcome(slug="gone", status_code=410, permanent=True)


async def test_two_failures_then_success_are_three_attempts_under_one_id(world: Any) -> None:
    await world.routed()
    world.adapter.answers += [FAILED, FAILED]
    case, referral = await world.open()
    began = world.clock.now()
    for _ in range(3):
        assert await world.send() == 1
        world.clock.move(timedelta(seconds=12))
    assert world.clock.now() - began < timedelta(seconds=60)
    assert len({parcel.message_id for parcel in world.adapter.parcels}) == 1
    event = (await world.told())[-1]
    assert [(a.number, a.outcome, a.status_code) for a in event.attempts] == [
        (1, "failed", 500),
        (2, "failed", 500),
        (3, "delivered", 204),
    ]
    assert event.attempts[0].next_attempt_at == began + timedelta(seconds=2)
    assert event.attempts[2].next_attempt_at is None
    assert event.status is ReferralStatus.DELIVERED
    assert await world.send() == 0
    assert (await world.rows(PARTNER))[0]["last_delivered_at"] is not None
    assert (await world.of(case))[0].id == referral.id


async def test_attempts_two_and_three_come_within_thirty_seconds(world: Any) -> None:
    await world.routed()
    world.adapter.answers += [FAILED] * 5
    await world.open()
    for _ in range(30):
        await world.send()
        world.clock.move(timedelta(seconds=1))
    assert len(world.adapter.parcels) >= 3


async def test_a_crash_while_sending_is_sent_again_under_the_same_id(world: Any) -> None:
    await world.routed()
    await world.open()
    now = world.clock.now()
    (lost,) = await world.database.write(lambda c: claim(c, now=now))
    assert await world.send() == 0
    world.clock.move(timedelta(seconds=61))
    assert await world.send() == 1
    assert world.adapter.parcels[0].message_id == lost.delivery.webhook_id
    assert world.adapter.parcels[0].kind == lost.delivery.kind
    outcomes = [row["outcome"] for row in await world.rows(ATTEMPT)]
    assert outcomes == ["interrupted", "delivered"]


async def test_a_restart_does_not_wait_for_the_lease(world: Any) -> None:
    await world.routed()
    await world.open()
    now = world.clock.now()
    assert len(await world.database.write(lambda c: claim(c, now=now))) == 1
    running = asyncio.create_task(world.sender.run())
    async with asyncio.timeout(5):
        while not world.adapter.parcels:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_outcome_of_a_lease_that_ran_out_changes_nothing_but_a_success_counts(world: Any) -> None:
    await world.routed()
    case, _ = await world.open()
    now = world.clock.now()
    (late,) = await world.database.write(lambda c: claim(c, now=now))
    world.clock.move(timedelta(seconds=61))
    world.adapter.answers += [FAILED]
    assert await world.send() == 1
    taken = Outcome(slug="delivered", status_code=200, delivered=True)
    for outcome in (FAILED, taken):
        await world.database.write(
            lambda c, outcome=outcome: outcomes.store(
                c, late.delivery, late.referral, outcome, now=world.clock.now(), chance=lambda: 0.5
            )
        )
    assert (await world.of(case))[0].status is ReferralStatus.DELIVERED
    assert [row["outcome"] for row in await world.rows(ATTEMPT)] == ["interrupted", "failed", "delivered"]


@pytest.mark.parametrize("point", ["delivery.before_send", "delivery.after_send"])
async def test_a_fault_at_each_point_is_an_attempt_and_is_made_up_for(world: Any, point: str) -> None:
    await world.routed()
    case, _ = await world.open()
    faults.load(f"referral:{point}:1:raise")
    try:
        await world.send()
    finally:
        faults.load("")
    assert (await world.of(case))[0].status is ReferralStatus.QUEUED
    world.clock.move(timedelta(seconds=5))
    assert await world.send() == 1
    assert (await world.of(case))[0].status is ReferralStatus.DELIVERED


async def test_an_address_that_is_gone_makes_it_undeliverable_and_asks_the_next_partner(world: Any) -> None:
    first, second = await world.routed("First", priority=1), await world.routed("Second", priority=2)
    world.adapter.answers += [GONE]
    case, _ = await world.open()
    await world.send()
    await world.build()
    await world.send()
    lost, fresh = await world.of(case)
    assert (lost.partner_id, lost.status) == (first.id, ReferralStatus.UNDELIVERABLE)
    assert (fresh.partner_id, fresh.status, fresh.ordinal) == (second.id, ReferralStatus.DELIVERED, 1)
    assert fresh.destination is lost.destination


async def test_it_is_given_up_after_days_and_everybody_can_see_it(world: Any) -> None:
    await world.routed()
    world.adapter.answers += [FAILED] * (len(WAITS) + 1)
    case, _ = await world.open(level=Level.P4)
    began = world.clock.now()
    for _ in range(len(WAITS) + 1):
        assert await world.send() == 1
        world.clock.move(timedelta(hours=30))
    assert (await world.of(case))[0].status is ReferralStatus.UNDELIVERABLE
    assert await world.send() == 0
    assert timedelta(days=2) < sum(WAITS, timedelta()) < world.clock.now() - began
    actions = [row["action"] for row in await world.rows(AUDIT_ENTRY)]
    assert "referral.undeliverable" in actions
    assert "referral.no_fallback" in actions


async def test_a_partner_that_fails_is_left_alone_for_a_moment_and_then_asked_once(world: Any) -> None:
    await world.routed("Failing")
    for _ in range(8):
        await world.open()
    world.adapter.answers += [FAILED] * 20
    await world.send()
    made = len(world.adapter.parcels)
    assert made == 8
    world.clock.move(timedelta(seconds=3))
    assert await world.send() == 0
    world.clock.move(timedelta(seconds=60))
    assert await world.send() == 1


async def test_a_newer_version_takes_the_place_of_one_that_was_not_delivered(world: Any) -> None:
    await world.routed()
    world.adapter.answers += [FAILED]
    case, _ = await world.open()
    await world.send()
    await world.take(case.at(2, level=Level.P1))
    assert await world.send() == 1
    world.clock.move(timedelta(hours=1))
    assert await world.send() == 0
    states = {row["version"]: row["state"] for row in await world.rows(DELIVERY)}
    assert states == {1: "superseded", 2: "delivered"}
    assert world.adapter.parcels[-1].kind == "org.amparo.referral.sent.v1"


async def test_two_versions_of_a_referral_are_never_on_their_way_at_once(world: Any) -> None:
    await world.routed()
    case, _ = await world.open()
    now = world.clock.now()
    (first,) = await world.database.write(lambda c: claim(c, now=now))
    await world.take(case.at(2, level=Level.P1))
    assert await world.database.write(lambda c: claim(c, now=now)) == ()
    world.sender._running[first.partner.id] += 1
    await world.sender._send(first)
    (second,) = await world.database.write(lambda c: claim(c, now=now))
    assert (second.delivery.version, second.delivery.kind) == (2, "org.amparo.referral.updated.v1")


async def test_what_a_partner_may_have_is_taken_back_by_a_revocation(world: Any) -> None:
    await world.routed()
    world.adapter.answers += [Outcome(slug="timed_out", unhealthy=True)]
    case, _ = await world.open()
    await world.send()
    await world.take(case.at(2, status=IncidentStatus.CLOSED))
    assert await world.send() == 1
    parcel, data = world.adapter.parcels[-1], world.data()
    assert parcel.kind == "org.amparo.referral.revoked.v1"
    assert (data["package"], data["version"]) == ({}, 2)
    assert parcel.message_id != world.adapter.parcels[0].message_id
    assert (await world.of(case))[0].status is ReferralStatus.REVOKED


async def test_while_intake_is_silent_a_due_delivery_waits_without_an_attempt(world: Any) -> None:
    await world.routed()
    await world.open()
    world.keys.down = True
    assert await world.send() == 1
    assert (world.adapter.parcels, await world.rows(ATTEMPT)) == ([], [])
    world.keys.down = False
    world.clock.move(timedelta(seconds=3))
    assert await world.send() == 1
    (row,) = await world.rows(DELIVERY)
    assert (row["state"], row["attempts"]) == (deliveries.DELIVERED, 1)


async def test_silence_is_escalated_at_the_time_of_its_level_and_opens_the_fallback(world: Any) -> None:
    await world.routed("First", priority=1)
    second = await world.routed("Second", priority=2)
    case, _ = await world.open(level=Level.P1)
    await world.send()
    world.clock.move(timedelta(minutes=29))
    assert not await escalate_due(world.desk)
    world.clock.move(timedelta(minutes=1))
    assert await escalate_due(world.desk)
    assert not await escalate_due(world.desk)
    silent, fresh = await world.of(case)
    assert (silent.status, silent.escalations) == (ReferralStatus.DELIVERED, 1)
    assert fresh.partner_id == second.id
    world.clock.move(timedelta(minutes=30))
    assert await escalate_due(world.desk)
    actions = [row["action"] for row in await world.rows(AUDIT_ENTRY)]
    assert "referral.supervisor_called" in actions


async def test_a_slow_partner_delays_nobody_else(world: Any) -> None:
    slow = await world.partner("Slow", countries=("GT",))
    await world.route(slow, country="GT", priority=1)
    await world.routed("Quick")
    blocked, quick = asyncio.Event(), asyncio.Event()

    async def deliver(parcel: Any) -> Outcome:
        if parcel.partner.id == slow.id:
            await blocked.wait()
        else:
            quick.set()
        return Outcome(slug="delivered", status_code=204, delivered=True)

    world.adapter.deliver = deliver
    for _ in range(20):
        await world.open(country="GT")
    await world.open(country="IS")
    running = asyncio.create_task(world.sender.run())
    try:
        async with asyncio.timeout(5):
            await quick.wait()
    finally:
        blocked.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_loop_ends_when_it_is_cancelled_in_the_moment_it_is_rung(world: Any) -> None:
    for _ in range(20):
        running = asyncio.create_task(world.sender.run())
        await asyncio.sleep(0.01)
        world.sender.ring()
        running.cancel()
        async with asyncio.timeout(2):
            await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()
