from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from amparo_common import dead_letters, faults, inbox
from amparo_common.clock import SetClock
from amparo_common.consumer import BatchConsumer, Handler, Pace, of_type
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.dead_letters import DeadLetterLimit
from amparo_common.errors import TransientError
from amparo_common.events.codec import Envelope, Received, encode
from amparo_common.events.types import IncidentTriaged, ReportsErased
from amparo_common.ids import uuid7
from amparo_common.log.port import NewRecord
from amparo_common.log.sqlite import SqliteLog
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Lane

pytestmark = pytest.mark.anyio
URGENT, STANDARD = "amparo.reports.urgent", "amparo.reports.standard"
MakeOutgoing = Callable[..., Outgoing]
QUICK = Pace(fetch_timeout_s=0.05, retry_most_s=0.05)


def number_of(delivery: Received) -> int:
    return delivery.event.incident_id.int


@dataclass
class Bench:
    """A consumer's surroundings; `applied` is its state, written in the same unit as its inbox."""

    database: SqliteDatabase
    log: SqliteLog
    clock: SetClock
    outgoing: MakeOutgoing
    calls: list[list[int]] = field(default_factory=list)

    async def append(self, *numbers: int, lane: Lane = Lane.STANDARD, key: UUID | None = None) -> None:
        await self.log.append([self.record(number, lane=lane, key=key) for number in numbers])

    def record(self, number: int, *, lane: Lane = Lane.STANDARD, key: UUID | None = None) -> NewRecord:
        one = self.outgoing(number=number, lane=lane, key=key)
        envelope = Envelope(id=uuid7(), type=one.event.TYPE, source="x", time=self.clock.now(), key=one.key, lane=lane)
        return encode(one.event, envelope=envelope)

    async def handle(self, deliveries: Sequence[Received]) -> None:
        """Apply what is new, as a service does."""
        self.calls.append([number_of(delivery) for delivery in deliveries])

        def unit(connection: Connection) -> None:
            for delivery in inbox.fresh(connection, consumer="triage", deliveries=deliveries):
                connection.execute(text("INSERT INTO applied (number) VALUES (:n)"), {"n": number_of(delivery)})

        await self.database.write(unit)

    def consumer(
        self,
        handle: Handler | None = None,
        *,
        limit: DeadLetterLimit | None = None,
        pace: Pace = QUICK,
    ) -> BatchConsumer:
        return BatchConsumer(
            service="triage",
            group="triage",
            topics_by_lane={Lane.URGENT: [URGENT], Lane.STANDARD: [STANDARD]},
            log=self.log,
            database=self.database,
            clock=self.clock,
            handle=handle or self.handle,
            limit=limit or DeadLetterLimit(),
            pace=pace,
        )

    async def applied(self) -> list[int]:
        rows = await self.database.read(
            lambda session: session.execute(text("SELECT number FROM applied ORDER BY rowid")).scalars().all()
        )
        return list(rows)

    async def letters(self) -> list[dead_letters.DeadLetter]:
        return list(await self.database.read(lambda session: dead_letters.waiting(session, limit=100)))

    async def committed(self, topic: str = STANDARD) -> int:
        """Return the sum of the group's committed positions, as a new member finds them."""
        reader = await self.log.consumer("triage", topics=[topic])
        lag = await reader.lag()
        ends = await self.log.end_offsets([topic])
        await reader.close()
        return sum(ends.values()) - sum(lag.values())


@pytest.fixture
async def bench(database: SqliteDatabase, log: SqliteLog, clock: SetClock, outgoing: MakeOutgoing) -> Bench:
    await database.write(lambda connection: connection.execute(text("CREATE TABLE applied (number INTEGER)")))
    return Bench(database=database, log=log, clock=clock, outgoing=outgoing)


@asynccontextmanager
async def running(consumer: BatchConsumer) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(consumer.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def applied_all(bench: Bench, count: int) -> None:
    async def done() -> bool:
        return len(await bench.applied()) >= count

    await until(done)


async def test_events_are_applied_once_in_the_order_of_their_aggregate(bench: Bench) -> None:
    key = uuid4()
    await bench.append(*range(100), key=key)

    async with running(bench.consumer()):
        await applied_all(bench, 100)
        await bench.append(*range(100, 120), key=key)
        await applied_all(bench, 120)
        await until(lambda: position_is(bench, 120))

    assert await bench.applied() == list(range(120))


async def test_after_a_failure_the_batch_is_read_again_and_nothing_is_jumped_over(bench: Bench) -> None:
    """The fetch has moved the reading place: without seeking back, the next commit would lose the failed batch."""
    failures = iter([TransientError("the database is away"), OSError("the network is away")])
    first_try: list[int] = []

    async def handle(deliveries: Sequence[Received]) -> None:
        if (error := next(failures, None)) is not None:
            first_try.extend(number_of(delivery) for delivery in deliveries)
            raise error
        await bench.handle(deliveries)

    key = uuid4()
    await bench.append(*range(40), key=key)
    consumer = bench.consumer(handle)
    async with running(consumer):
        await applied_all(bench, 1)
        await bench.append(*range(40, 50), key=key)

        async def last_is_there() -> bool:
            return 49 in await bench.applied()

        await until(last_is_there)

    assert first_try != []
    assert await bench.applied() == list(range(50))
    assert consumer.figures()[Lane.STANDARD].retries == 2
    assert await bench.letters() == []


@pytest.mark.parametrize("hit", [1, 2, 3])
@pytest.mark.parametrize(
    "point",
    [
        "consumer.before_handle",
        "consumer.before_position",
        "consumer.after_position",
        "writer.before_commit",
        "writer.after_commit",
    ],
)
async def test_a_failure_at_any_point_neither_loses_nor_doubles_an_effect(bench: Bench, point: str, hit: int) -> None:
    key = uuid4()
    await bench.append(*range(60), key=key)
    faults.load(f"triage:{point}:{hit}:raise")

    async with running(bench.consumer(pace=Pace(fetch_timeout_s=0.05, retry_most_s=0.05, standard_records=20))):
        await applied_all(bench, 60)
        await bench.append(60, key=key)
        await applied_all(bench, 61)

    assert await bench.applied() == list(range(61))
    assert await bench.letters() == []


async def test_a_consumer_that_is_cut_off_in_its_work_leaves_it_to_the_next(bench: Bench) -> None:
    entered = asyncio.Event()

    async def hang(_: Sequence[Received]) -> None:
        entered.set()
        await asyncio.Event().wait()

    await bench.append(*range(30), key=uuid4())
    async with running(bench.consumer(hang)):
        await asyncio.wait_for(entered.wait(), 3)
    assert await bench.committed() == 0

    async with running(bench.consumer()):
        await applied_all(bench, 30)

    assert await bench.applied() == list(range(30))


async def test_one_poisonous_record_becomes_a_dead_letter_and_its_neighbours_go_on(bench: Bench) -> None:
    async def handle(deliveries: Sequence[Received]) -> None:
        if any(number_of(delivery) == 13 for delivery in deliveries):
            raise ValueError("the narrative said: canary-77")
        await bench.handle(deliveries)

    await bench.append(*range(40), key=uuid4())
    consumer = bench.consumer(handle)
    async with running(consumer):
        await applied_all(bench, 39)
        await until(lambda: position_is(bench, 40))

    assert await bench.applied() == [number for number in range(40) if number != 13]
    (letter,) = await bench.letters()
    assert letter.reason == "handler_failed:ValueError"
    assert b"canary" not in letter.value
    assert consumer.stopped_because is None
    assert consumer.figures()[Lane.STANDARD].dead_lettered == 1


async def position_is(bench: Bench, position: int) -> bool:
    return await bench.committed() == position


async def test_a_record_that_is_no_event_becomes_a_dead_letter(bench: Bench) -> None:
    good = bench.record(1)
    garbage = [
        NewRecord(topic=STANDARD, key=good.key, value=b"\xff\xfe not json", headers=good.headers),
        NewRecord(topic=STANDARD, key=good.key, value=b"[" * 10_000, headers=bench.record(3).headers),
        NewRecord(topic=STANDARD, key=good.key, value=good.value, headers=()),
    ]
    await bench.log.append([garbage[0], good, *garbage[1:], bench.record(2)])
    async with running(bench.consumer()):
        await applied_all(bench, 1)

        async def all_buried() -> bool:
            return len(await bench.letters()) == 3

        await until(all_buried)

    assert {letter.reason for letter in await bench.letters()} == {"undecodable:bad_value", "undecodable:unknown_type"}


async def stopped(consumer: BatchConsumer) -> None:
    """Run the consumer until one of its lanes stopped."""

    async def has_stopped() -> bool:
        return consumer.stopped_because is not None

    async with running(consumer):
        await until(has_stopped)


async def test_urgent_goes_on_when_standard_must_stop(bench: Bench) -> None:
    async def refuse_standard(deliveries: Sequence[Received]) -> None:
        if deliveries[0].record.topic == STANDARD:
            raise LookupError("a defect that only standard records meet")
        await bench.handle(deliveries)

    await bench.append(*range(60), key=uuid4())
    consumer = bench.consumer(refuse_standard, limit=DeadLetterLimit(max_consecutive_count=5))
    async with running(consumer):

        async def has_stopped() -> bool:
            return consumer.stopped_because is not None

        await until(has_stopped)
        await bench.append(100, lane=Lane.URGENT)
        await applied_all(bench, 1)
    assert await bench.applied() == [100]


async def test_too_many_failures_in_a_row_stop_the_consumer_before_it_drains_the_topic(bench: Bench) -> None:
    async def refuse(_: Sequence[Received]) -> None:
        raise LookupError("a defect of ours, not of the records")

    await bench.append(*range(60), key=uuid4())
    consumer = bench.consumer(refuse, limit=DeadLetterLimit(max_consecutive_count=5))
    await stopped(consumer)

    assert consumer.stopped_because is not None
    assert consumer.stopped_because.startswith("6 records in a row failed; the last is amparo.reports.standard[")
    assert len(await bench.letters()) == 5

    async with running(bench.consumer()):
        await applied_all(bench, 55)
    assert await bench.applied() == list(range(5, 60)), "what was not buried is still there to be applied"


async def test_too_large_a_share_of_failures_stops_the_consumer(bench: Bench) -> None:
    async def refuse_each_third(deliveries: Sequence[Received]) -> None:
        if any(number_of(delivery) % 3 == 0 for delivery in deliveries):
            raise LookupError("each third")
        await bench.handle(deliveries)

    await bench.append(*range(120), key=uuid4())
    consumer = bench.consumer(refuse_each_third, limit=DeadLetterLimit(max_invalid_ratio=0.25, window=40))
    await stopped(consumer)

    assert consumer.stopped_because is not None
    assert "of the last 40 records failed" in consumer.stopped_because


async def test_a_few_failures_do_not_stop_the_consumer(bench: Bench) -> None:
    async def refuse_some(deliveries: Sequence[Received]) -> None:
        if any(number_of(delivery) % 20 == 0 for delivery in deliveries):
            raise LookupError("each twentieth")
        await bench.handle(deliveries)

    await bench.append(*range(100), key=uuid4())
    limit = DeadLetterLimit(max_invalid_ratio=0.25, window=20, max_consecutive_count=2)
    async with running(bench.consumer(refuse_some, limit=limit)) as task:
        await applied_all(bench, 95)
        assert not task.done()

    assert len(await bench.letters()) == 5


async def test_a_database_that_is_away_is_no_fault_of_the_records(bench: Bench) -> None:
    await bench.append(*range(10), key=uuid4())
    lock = sqlite3.connect(bench.database.path, isolation_level=None)
    await bench.database.write(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=10").scalar())
    lock.execute("BEGIN IMMEDIATE")
    consumer = bench.consumer()

    async def tried_often() -> bool:
        return consumer.figures()[Lane.STANDARD].retries >= 30

    async with running(consumer):
        await until(tried_often)
        assert await bench.applied() == []
        lock.execute("ROLLBACK")
        lock.close()
        await applied_all(bench, 10)

    assert await bench.letters() == []


async def test_an_urgent_report_waits_for_one_slice_of_standard_work_at_most(bench: Bench) -> None:
    async def slowly(deliveries: Sequence[Received]) -> None:
        await bench.handle(deliveries)
        if deliveries[0].envelope.lane is Lane.STANDARD:
            await asyncio.sleep(0.03)

    await bench.append(*range(2000))
    async with running(bench.consumer(slowly)):
        await applied_all(bench, 100)
        before = len(bench.calls)
        await bench.append(5000, lane=Lane.URGENT)

        async def urgent_is_applied() -> bool:
            return 5000 in await bench.applied()

        await until(urgent_is_applied)
        between = bench.calls[before : bench.calls.index([5000])]

    assert len(await bench.applied()) < 2001, "standard work was still there"
    assert len(between) <= 1


async def test_standard_work_gives_way_to_a_row_of_urgent_work_but_is_not_starved(bench: Bench) -> None:
    async def handle(deliveries: Sequence[Received]) -> None:
        await bench.handle(deliveries)
        await asyncio.sleep(0.01)

    await bench.append(*range(1000, 1200), lane=Lane.URGENT, key=uuid4())
    await bench.append(*range(400), key=uuid4())
    pace = Pace(fetch_timeout_s=0.05, urgent_records=4, standard_records=4, patience_s=0.1)
    async with running(bench.consumer(handle, pace=pace)):
        await applied_all(bench, 350)

    urgent_ends = max(at for at, call in enumerate(bench.calls) if call[0] >= 1000)
    standard_slices = sum(call[0] < 1000 for call in bench.calls[:urgent_ends])
    assert 2 <= standard_slices <= 15, "50 urgent slices of 10 ms, and one standard slice for each 100 ms of patience"


async def test_partitions_that_change_hands_lose_and_double_nothing(bench: Bench) -> None:
    keys = [uuid4() for _ in range(8)]
    await bench.log.append([bench.record(number, key=keys[number % 8]) for number in range(800)])

    async def slowly(deliveries: Sequence[Received]) -> None:
        await bench.handle(deliveries)
        await asyncio.sleep(0.01)

    pace = Pace(fetch_timeout_s=0.05, standard_records=40)
    async with running(bench.consumer(slowly, pace=pace)):
        await applied_all(bench, 50)
        async with running(bench.consumer(slowly, pace=pace)):
            await applied_all(bench, 800)
            await until(lambda: position_is(bench, 800))  # else the end itself cuts off a slice that was applied

    handed_over = [number for call in bench.calls for number in call]
    assert len(handed_over) == 800, "work that runs is ended and its position stored before a partition goes"
    applied = await bench.applied()
    assert sorted(applied) == list(range(800))
    for lane in range(8):
        own = [number for number in applied if number % 8 == lane]
        assert own == sorted(own), "an aggregate's events kept their order"


async def test_a_damaged_log_stops_the_consumer_and_is_named(bench: Bench, tmp_path: Path) -> None:
    await bench.append(*range(3), key=uuid4())
    with sqlite3.connect(tmp_path / "log" / "log.db") as plain:
        plain.execute("UPDATE records SET value = x'00' WHERE \"offset\" = 1")
    plain.close()

    consumer = bench.consumer()
    await stopped(consumer)

    assert consumer.stopped_because is not None
    assert "a record is damaged: amparo.reports.standard[" in consumer.stopped_because
    assert "offset 1" in consumer.stopped_because
    assert await bench.applied() == [0]


async def test_the_lag_tells_what_waits(bench: Bench) -> None:
    release = asyncio.Event()

    async def wait(deliveries: Sequence[Received]) -> None:
        await release.wait()
        await bench.handle(deliveries)

    await bench.append(*range(12))
    consumer = bench.consumer(wait)
    async with running(consumer):

        async def measured() -> bool:
            return consumer.lag_of(Lane.STANDARD) == 12

        await until(measured)
        assert consumer.lag_of(Lane.URGENT) == 0
        assert sum(consumer.lag().values()) == 12
        release.set()
        await applied_all(bench, 12)


def test_of_type_picks_the_events_of_one_kind(outgoing: MakeOutgoing) -> None:
    event = outgoing().event
    envelope = Envelope(id=uuid4(), type=event.TYPE, source="x", time=event.at, key=uuid4(), lane=Lane.URGENT)
    delivery = Received(envelope=envelope, event=event, record=None)

    assert of_type([delivery], ReportsErased) == [event]
    assert of_type([delivery], IncidentTriaged) == []
