"""Consumers: read a service's lanes in batches, apply them, then move the position. Urgent never waits for standard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import structlog

from amparo_common import dead_letters, faults, inbox
from amparo_common.backoff import Backoff
from amparo_common.clock import Clock
from amparo_common.db.port import Database
from amparo_common.dead_letters import DeadLetterLimit, LimitWatch
from amparo_common.errors import TransientError
from amparo_common.events.codec import Received, UndecodableError, decode
from amparo_common.events.types import Event
from amparo_common.log.port import Consumer, CorruptRecordError, EventLog, Record, TopicPartition
from amparo_common.pacing import SliceSize, UrgentFirst
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Lane

Handler = Callable[[Sequence[Received]], Awaitable[None]]
Kind = TypeVar("Kind", bound=Event)

#: Failures around the handler, not of its records: the network, the disk, the memory.
_OUTSIDE: Final = (OSError, MemoryError)
_LIMIT: Final = DeadLetterLimit()
_INBOX_KEPT: Final = timedelta(hours=24)
_HOUSEKEEPING_S: Final = 1.0
_PRUNING_S: Final = 30.0
_DRAIN_S: Final = 5.0
_log = structlog.get_logger()


def of_type(deliveries: Iterable[Received], kind: type[Kind]) -> list[Kind]:
    """Return the events of one kind, in order."""
    return [delivery.event for delivery in deliveries if isinstance(delivery.event, kind)]


class ConsumerStopped(Exception):  # noqa: N818 - a state, not an error of this module
    """A lane must not go on. The text names why and where, without content."""


@dataclass(slots=True)
class LaneFigures:
    """What a lane did since its start, for metrics."""

    handled: int = 0
    dead_lettered: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much each lane takes. A slice is one call of the handler, one commit and one move of the position."""

    urgent_records: int = 200
    standard_records: int = 500
    slice_s: float = 0.05
    patience_s: float = 0.25
    fetch_timeout_s: float = 1.0
    retry_most_s: float = 5.0


_PACE: Final = Pace()


class BatchConsumer:
    """Reads one group's topics, one task a lane, and hands decoded batches to `handle`.

    `handle` stores everything in one `db.write` (asking `inbox.fresh` what is new) and may be called again with the
    same deliveries. A TransientError or OSError of it is tried again for ever from the same place. Any other error is
    blamed on a record: the batch is bisected, the record that fails alone becomes a dead letter, the others go on.

    `stopped_because` is set when too many records failed or the log is damaged, and readiness is to say so. The lane at
    fault stops alone, the other goes on; `run` returns once none is left. Nothing is skipped: the positions stay.
    """

    def __init__(
        self,
        *,
        service: str,
        group: str,
        topics_by_lane: Mapping[Lane, Sequence[str]],
        log: EventLog,
        database: Database,
        clock: Clock,
        handle: Handler,
        limit: DeadLetterLimit = _LIMIT,
        pace: Pace = _PACE,
    ) -> None:
        self.stopped_because: str | None = None
        urgent_first = UrgentFirst(patience_s=pace.patience_s)
        self._lanes = {
            lane: _LaneReader(
                lane,
                service=service,
                group=group,
                topics=topics,
                log=log,
                database=database,
                clock=clock,
                handle=handle,
                watch=LimitWatch(limit),
                pace=pace,
                urgent_first=urgent_first,
            )
            for lane, topics in topics_by_lane.items()
            if topics
        }

    async def run(self) -> None:
        """Consume until cancelled, or until a lane must stop."""
        self.stopped_because = None
        async with asyncio.TaskGroup() as tasks:
            for lane, reader in self._lanes.items():
                tasks.create_task(self._run_lane(reader), name=f"consumer-{lane.lower()}")

    async def _run_lane(self, reader: _LaneReader) -> None:
        try:
            await reader.run()
        except ConsumerStopped as stopped:
            self.stopped_because = "; ".join(filter(None, (self.stopped_because, str(stopped))))
            _log.error("consumer stopped", reason=self.stopped_because)

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return, for each partition read here, how many records stood after the position, at most a second ago."""
        return {at: count for reader in self._lanes.values() for at, count in reader.lag.items()}

    def positions(self) -> Mapping[TopicPartition, int]:
        """Return, for each partition read here, the offset below which everything is applied."""
        return {at: position for reader in self._lanes.values() for at, position in reader.positions.items()}

    def lag_of(self, lane: Lane) -> int:
        """Return how many records of a lane wait."""
        return sum(self._lanes[lane].lag.values()) if lane in self._lanes else 0

    def watch(self, telemetry: Telemetry) -> None:
        """Publish what waits in each lane, and the dead letters that nobody settled: one of those calls a person."""
        telemetry.gauge("amparo.consumer.lag", lambda: [(self.lag_of(lane), {"lane": lane.lower()}) for lane in Lane])
        telemetry.gauge(
            "amparo.dead_letters.waiting",
            lambda: float(max((reader.letters for reader in self._lanes.values()), default=0)),
        )

    def figures(self) -> Mapping[Lane, LaneFigures]:
        """Return what each lane did."""
        return {lane: reader.figures for lane, reader in self._lanes.items()}

    def stalled_s(self) -> float:
        """Return for how long the slowest lane has neither got nor finished anything; it grows in silence."""
        return max((time.monotonic() - reader.alive_at for reader in self._lanes.values()), default=0.0)


class _LaneReader:
    """One lane: fetch, slice, apply, move the position."""

    def __init__(
        self,
        lane: Lane,
        *,
        service: str,
        group: str,
        topics: Sequence[str],
        log: EventLog,
        database: Database,
        clock: Clock,
        handle: Handler,
        watch: LimitWatch,
        pace: Pace,
        urgent_first: UrgentFirst,
    ) -> None:
        self._urgent, self._service, self._group, self._topics = lane is Lane.URGENT, service, group, topics
        self._log, self._database, self._clock, self._handle = log, database, clock, handle
        self._watch, self._urgent_first, self._timeout_s = watch, urgent_first, pace.fetch_timeout_s
        self._most = pace.urgent_records if self._urgent else pace.standard_records
        self._size = SliceSize(most=self._most, target_s=pace.slice_s)
        self._backoff = Backoff(most_s=pace.retry_most_s)
        self._working = asyncio.Lock()
        self.positions: dict[TopicPartition, int] = {}
        self._housekeeping_at = self._pruning_at = 0.0
        self.alive_at = time.monotonic()
        self.lag: Mapping[TopicPartition, int] = {}
        self.letters = 0
        self.figures = LaneFigures()

    async def run(self) -> None:
        consumer = await self._join()
        try:
            self.positions = await self._committed(consumer)
            while True:
                try:
                    await self._turn(consumer)
                except TransientError:
                    await self._pause()
                else:
                    self._backoff.reset()
        finally:
            self._urgent_done()
            await consumer.close()

    async def _join(self) -> Consumer:
        while True:
            try:
                return await self._log.consumer(self._group, topics=self._topics, on_revoked=self._finish_slice)
            except TransientError:
                await self._pause()

    async def _committed(self, consumer: Consumer) -> dict[TopicPartition, int]:
        """Return the group's positions; what is appended meanwhile makes them lower, never higher."""
        while True:
            try:
                ends = await self._log.end_offsets(self._topics)
                lag = await consumer.lag()
            except TransientError:
                await self._pause()
            else:
                return {at: ends[at] - behind for at, behind in lag.items()}

    async def _pause(self) -> None:
        self._urgent_done()
        self.figures.retries += 1
        await asyncio.sleep(self._backoff.next_s())

    def _urgent_done(self) -> None:
        if self._urgent:
            self._urgent_first.end()

    async def _finish_slice(self, _revoked: frozenset[TopicPartition]) -> None:
        """Let the running slice end and its position be stored before partitions go to another member."""
        with suppress(TimeoutError):  # too slow: the next reader applies it again, which the inbox absorbs
            async with asyncio.timeout(_DRAIN_S), self._working:
                pass

    async def _turn(self, consumer: Consumer) -> None:
        await self._keep_house(consumer)
        records = await self._fetch(consumer)
        self.alive_at = time.monotonic()
        if records:
            if self._urgent:
                self._urgent_first.begin()
            await self._work_through(consumer, records)
        if len(records) < self._most:
            self._urgent_done()  # else more waits, and standard goes on giving way

    async def _fetch(self, consumer: Consumer) -> list[Record]:
        try:
            batch = await consumer.fetch(max_records=self._most, timeout_s=self._timeout_s)
        except CorruptRecordError as error:
            raise ConsumerStopped(f"a record is damaged: {error}") from error
        return [record for records in batch.values() for record in records]

    async def _work_through(self, consumer: Consumer, records: list[Record]) -> None:
        """Apply `records` slice by slice; when one fails, read again from the first that was not applied.

        The fetch has moved the reading place past them all: without the seek the next commit would jump over what
        failed.
        """
        done = 0
        try:
            while done < len(records):
                if not self._urgent:
                    await self._urgent_first.give_way()
                taken = records[done : done + self._size.records]
                async with self._working:
                    await self._apply_slice(consumer, taken)
                done += len(taken)
        except BaseException:
            consumer.seek(_first_offsets(records[done:]))
            raise

    async def _apply_slice(self, consumer: Consumer, taken: list[Record]) -> None:
        held = consumer.assignment()
        records = [record for record in taken if record.at in held]
        began = time.monotonic()
        await self._apply(records)
        faults.point(self._service, "consumer.before_position")
        positions = {record.at: record.offset + 1 for record in records}
        await consumer.commit(positions)
        faults.point(self._service, "consumer.after_position")
        self.positions.update(positions)
        self.alive_at = time.monotonic()
        self._size.took(records=len(taken), seconds=self.alive_at - began)

    async def _apply(self, records: list[Record]) -> None:
        deliveries: list[Received] = []
        for record in records:
            try:
                deliveries.append(decode(record))
            except UndecodableError as error:
                await self._bury(record, reason=f"undecodable:{error.reason}")
        faults.point(self._service, "consumer.before_handle")
        if deliveries:
            await self._hand_over(deliveries)

    async def _hand_over(self, deliveries: Sequence[Received]) -> None:
        try:
            await self._handle(deliveries)
        except TransientError:
            raise
        except _OUTSIDE as error:
            raise TransientError("the handler's surroundings failed") from error
        except Exception as error:  # noqa: BLE001 - whatever a record brings about, its neighbours go on
            await self._split(deliveries, error)
        else:
            self._watch.good(len(deliveries))
            self.figures.handled += len(deliveries)

    async def _split(self, deliveries: Sequence[Received], error: Exception) -> None:
        if len(deliveries) == 1:
            await self._bury(deliveries[0].record, reason=f"handler_failed:{type(error).__name__}")
            return
        middle = len(deliveries) // 2
        await self._hand_over(deliveries[:middle])
        await self._hand_over(deliveries[middle:])

    async def _bury(self, record: Record, *, reason: str) -> None:
        """Keep the record as a dead letter, unless so many fail that the fault is not the record's."""
        if (why := self._watch.bad()) is not None:
            raise ConsumerStopped(f"{why}; the last is {record.topic}[{record.partition}] {record.offset}: {reason}")
        service, group, now = self._service, self._group, self._clock.now()
        await self._database.write(
            lambda connection: dead_letters.put(
                connection, record, service=service, group=group, reason=reason, now=now
            )
        )
        self.figures.dead_lettered += 1

    async def _keep_house(self, consumer: Consumer) -> None:
        now = time.monotonic()
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + _HOUSEKEEPING_S
            self.lag = await consumer.lag()
            self.letters = await self._database.read(dead_letters.depth)
        if now >= self._pruning_at and self.positions:
            self._pruning_at = now + _PRUNING_S
            await self._prune_inbox()

    async def _prune_inbox(self) -> None:
        group, positions, before = self._group, dict(self.positions), self._clock.now() - _INBOX_KEPT
        await self._database.write(
            lambda connection: inbox.prune(connection, consumer=group, positions=positions, before=before)
        )


def _first_offsets(records: Iterable[Record]) -> dict[TopicPartition, int]:
    first: dict[TopicPartition, int] = {}
    for record in records:
        first.setdefault(record.at, record.offset)
    return first
