from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from amparo_common import faults, outbox
from amparo_common.clock import SetClock
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.codec import Received, decode
from amparo_common.log.sqlite import SqliteLog
from amparo_common.outbox import Outgoing
from amparo_common.relay import Relay
from amparo_common.vocabulary.codes import Lane

pytestmark = pytest.mark.anyio
MakeOutgoing = Callable[..., Outgoing]
TOPICS = ("amparo.reports.urgent", "amparo.reports.standard")


async def store(database: SqliteDatabase, clock: SetClock, *outgoing: Outgoing) -> None:
    await database.write(lambda connection: outbox.put(connection, outgoing, service="triage", now=clock.now()))


async def published(log: SqliteLog) -> list[Received]:
    """Read the whole log as a group of its own."""
    consumer = await log.consumer(f"reader-{uuid4()}", topics=TOPICS)
    found: list[Received] = []
    while batch := await consumer.fetch(max_records=1000, timeout_s=0.1):
        found += [decode(record) for records in batch.values() for record in records]
    await consumer.close()
    return found


def numbers(deliveries: Sequence[Received]) -> list[int]:
    return [delivery.event.incident_id.int for delivery in deliveries]


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def emptied(database: SqliteDatabase) -> None:
    async with asyncio.timeout(3):
        while await database.read(outbox.depth):
            await asyncio.sleep(0.01)


@pytest.fixture
def relay(database: SqliteDatabase, log: SqliteLog, clock: SetClock) -> Relay:
    return Relay(service="triage", database=database, log=log, clock=clock)


async def test_a_stored_event_comes_out_of_the_log_as_it_was_put(
    database: SqliteDatabase, log: SqliteLog, clock: SetClock, relay: Relay, outgoing: MakeOutgoing
) -> None:
    await store(database, clock, one := outgoing(lane=Lane.URGENT, number=5))
    await relay.drain()

    (delivery,) = await published(log)

    assert delivery.event == one.event
    envelope = delivery.envelope
    assert (envelope.key, envelope.lane, envelope.source, envelope.time) == (
        one.key,
        Lane.URGENT,
        "urn:amparo:triage",
        clock.now(),
    )
    assert await database.read(outbox.depth) == 0


async def test_a_unit_that_fails_publishes_nothing(
    database: SqliteDatabase, log: SqliteLog, clock: SetClock, relay: Relay, outgoing: MakeOutgoing
) -> None:
    def put_and_fail(connection: outbox.Connection) -> None:
        outbox.put(connection, [outgoing()], service="triage", now=clock.now())
        raise ValueError("the change was refused")

    with pytest.raises(ValueError, match="refused"):
        await database.write(put_and_fail)
    await relay.drain()

    assert await published(log) == []


async def test_urgent_events_overtake_standard_ones_and_each_aggregate_keeps_its_order(
    database: SqliteDatabase, clock: SetClock, outgoing: MakeOutgoing
) -> None:
    key = uuid4()
    lanes = [Lane.STANDARD, Lane.URGENT, Lane.STANDARD, Lane.URGENT]
    await store(database, clock, *(outgoing(lane=lane, key=key, number=n) for n, lane in enumerate(lanes)))

    waiting = await database.read(lambda session: outbox.take(session, 3))

    assert [one.record.value.count(b'"incident_id"') for one in waiting] == [1, 1, 1]
    assert [one.seq for one in waiting] == [2, 4, 1]


@pytest.mark.parametrize("point", ["relay.before_append", "relay.after_append", "writer.before_commit"])
@pytest.mark.parametrize("hit", [1, 2])
async def test_a_failure_around_the_append_repeats_but_never_loses_or_reorders(
    *,
    database: SqliteDatabase,
    log: SqliteLog,
    clock: SetClock,
    outgoing: MakeOutgoing,
    point: str,
    hit: int,
) -> None:
    key = uuid4()
    await store(database, clock, *(outgoing(key=key, number=number) for number in range(6)))
    relay = Relay(service="triage", database=database, log=log, clock=clock, batch=2)
    faults.load(f"triage:{point}:{hit}:raise")

    async with running(relay):
        await emptied(database)

    found = numbers(await published(log))
    assert list(dict.fromkeys(found)) == list(range(6))
    assert relay.failures == 1
    assert len(found) == (6 if point == "relay.before_append" else 8)


async def test_the_doorbell_wakes_the_relay_long_before_its_poll(
    database: SqliteDatabase, log: SqliteLog, clock: SetClock, outgoing: MakeOutgoing
) -> None:
    async with running(Relay(service="triage", database=database, log=log, clock=clock, poll_s=60)):
        await asyncio.sleep(0.1)
        for number in range(20):
            await store(database, clock, outgoing(number=number))
        await emptied(database)

    assert sorted(numbers(await published(log))) == list(range(20))


async def test_the_poll_finds_what_nobody_rang_for(
    database: SqliteDatabase, log: SqliteLog, clock: SetClock, outgoing: MakeOutgoing
) -> None:
    other = await SqliteDatabase.open(database.path, service="triage")
    async with running(Relay(service="triage", database=database, log=log, clock=clock, poll_s=0.05)):
        await asyncio.sleep(0.1)
        await store(other, clock, outgoing())
        await emptied(other)
    await other.close()

    assert len(await published(log)) == 1


async def test_draining_beside_the_running_relay_publishes_nothing_twice(
    database: SqliteDatabase, log: SqliteLog, clock: SetClock, relay: Relay, outgoing: MakeOutgoing
) -> None:
    async with running(relay):
        for number in range(20):
            await store(database, clock, outgoing(number=number))
            await relay.drain()

    assert sorted(numbers(await published(log))) == list(range(20))


async def test_the_relay_counts_what_it_carries(
    database: SqliteDatabase, clock: SetClock, relay: Relay, outgoing: MakeOutgoing
) -> None:
    await store(database, clock, outgoing(lane=Lane.URGENT), outgoing(), outgoing())

    await relay.drain()

    assert relay.published == {Lane.URGENT: 1, Lane.STANDARD: 2}
    assert relay.depth() == 0


async def test_an_event_keeps_the_id_that_it_was_given(
    database: SqliteDatabase, log: SqliteLog, clock: SetClock, relay: Relay, outgoing: MakeOutgoing
) -> None:
    one = outgoing()
    given = Outgoing(event=one.event, key=one.key, lane=one.lane, id=UUID(int=77), traceparent="00-aa-bb-01")
    await store(database, clock, given)
    await relay.drain()

    (delivery,) = await published(log)

    assert (delivery.envelope.id, delivery.envelope.traceparent) == (UUID(int=77), "00-aa-bb-01")
