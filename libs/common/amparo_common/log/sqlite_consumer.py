"""One reader of the embedded log."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from amparo_common.log import sqlite_store as store
from amparo_common.log.groups import Group, Member
from amparo_common.log.port import CorruptRecordError, OnRevoked, Record, TopicPartition
from amparo_common.log.sqlite_engine import Engine
from amparo_common.log.sqlite_store import Slice


class SqliteConsumer:
    """Keeps Consumer's contract. `closed` is called once when it ends.

    Damage does not hold up the other partitions: a fetch that finds some raises at once when it has nothing else to
    return, otherwise the next fetch raises. It is found again until the reader seeks past it.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        group: Group,
        topics: Sequence[str],
        on_revoked: OnRevoked | None,
        closed: Callable[[SqliteConsumer], None],
    ) -> None:
        self._engine, self._name, self._group, self._on_closed = engine, name, group, closed
        self._member = Member(topics, on_revoked=on_revoked)
        self._turn = 0
        self._damage: CorruptRecordError | None = None
        self._closed = False

    async def join(self) -> None:
        """Enter the group."""
        await self._group.join(self._member)

    def ring(self, topics: frozenset[str]) -> None:
        """Wake a waiting fetch when one of its topics has grown."""
        if not topics.isdisjoint(self._member.topics):
            self._member.bell.set()

    async def fetch(self, *, max_records: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Keep Consumer.fetch."""
        if self._closed:
            raise RuntimeError("the consumer is closed")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not self._closed:
            self._member.bell.clear()
            self._raise_trouble()
            if batch := await self._next(max_records):
                return batch
            try:
                async with asyncio.timeout_at(deadline):
                    await self._member.bell.wait()
            except TimeoutError:
                break
        return {}

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Keep Consumer.commit. Raises ValueError for a position outside of the partition."""
        held = self._checked(positions)
        if held:
            await self._engine.commit(self._name, held)
            self._group.positions.update(held)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Keep Consumer.seek. Raises ValueError for a position outside of the partition."""
        held = self._checked(positions)
        if self._damage is not None and self._damage.at in held:
            self._damage = None
        self._member.places.update(held)

    def assignment(self) -> frozenset[TopicPartition]:
        """Keep Consumer.assignment."""
        return self._member.read

    async def lag(self) -> Mapping[TopicPartition, int]:
        """Keep Consumer.lag."""
        ends, positions = self._engine.ends, self._group.positions
        return {at: ends[at] - positions.get(at, 0) for at in self._member.read}

    async def close(self) -> None:
        """Keep Consumer.close."""
        if not self._closed:
            self.end()
            await self._group.leave(self._member)

    def end(self) -> None:
        """Stop reading; a waiting fetch returns nothing."""
        self._closed = True
        self._on_closed(self)
        self._member.bell.set()

    def _checked(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        held = {at: position for at, position in positions.items() if at in self._member.held}
        for at, position in held.items():
            end = self._engine.ends[at]
            if not 0 <= position <= end:
                raise ValueError(f"{at.topic}[{at.partition}] has offsets 0 to {end}, not {position}")
        return held

    def _raise_trouble(self) -> None:
        """Raise what an earlier fetch found behind the records that it returned, or what `on_revoked` met."""
        damage, self._damage = self._damage, None
        if damage is not None and damage.at in self._member.read:
            raise damage
        trouble, self._member.trouble = self._member.trouble, None
        if trouble is not None:
            raise trouble

    async def _next(self, max_records: int) -> dict[TopicPartition, Sequence[Record]]:
        wanted = self._wanted(max_records)
        if not wanted:
            return {}
        slices = await self._engine.read(lambda connection: _slices(connection, wanted, limit=max_records))
        batch: dict[TopicPartition, Sequence[Record]] = {}
        for at, found in slices.items():
            # The partition may have changed hands while it was read.
            if at not in self._member.read or self._member.places[at] != wanted[at][0]:
                continue
            if found.records:
                batch[at] = found.records
                self._member.places[at] = found.records[-1].offset + 1
            self._damage = self._damage or found.damage
        if not batch:
            self._raise_trouble()
        return batch

    def _wanted(self, max_records: int) -> dict[TopicPartition, tuple[int, int]]:
        """Return start and end of the partitions that have more, beginning with another one each time."""
        ends, places = self._engine.ends, self._member.places
        ready = [at for at in sorted(self._member.read) if places[at] < ends[at]]
        self._turn += 1
        turn = self._turn % len(ready) if ready else 0
        return {at: (places[at], ends[at]) for at in (ready[turn:] + ready[:turn])[:max_records]}


def _slices(
    connection: sqlite3.Connection, wanted: Mapping[TopicPartition, tuple[int, int]], *, limit: int
) -> dict[TopicPartition, Slice]:
    """Read a fair share of each partition; what one leaves over goes to those after it."""
    slices: dict[TopicPartition, Slice] = {}
    left = limit
    for number, (at, (start, end)) in enumerate(wanted.items()):
        share = -(-left // (len(wanted) - number))
        slices[at] = store.read(connection, at, start=start, end=end, limit=share)
        left -= len(slices[at].records)
    return slices
