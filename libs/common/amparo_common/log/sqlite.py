"""The event log on SQLite: durable, synced before it acknowledges, for one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from amparo_common.clock import Clock, SystemClock
from amparo_common.log.groups import Group
from amparo_common.log.port import Consumer, NewRecord, OnRevoked, TopicPartition, check_topics
from amparo_common.log.sqlite_consumer import SqliteConsumer
from amparo_common.log.sqlite_engine import Engine
from amparo_common.log.sqlite_store import Damage, DamagedLogError, LogInUseError
from amparo_common.log.sqlite_verify import damaged_places

__all__ = ["Damage", "DamagedLogError", "LogInUseError", "SqliteLog"]


class SqliteLog:
    """Keeps EventLog's contract in the files of one directory, which belongs to this process while it is open."""

    def __init__(self, directory: Path, *, clock: Clock, revoke_timeout_s: float) -> None:
        self._revoke_timeout_s = revoke_timeout_s
        self._groups: dict[str, Group] = {}
        self._consumers: set[SqliteConsumer] = set()
        self._closed = False
        self._engine = Engine(directory, clock=clock, grown=self._ring)

    @classmethod
    async def open(cls, directory: Path, *, clock: Clock | None = None, revoke_timeout_s: float = 10.0) -> SqliteLog:
        """Open the log of `directory`, making it when there is none.

        Raises LogInUseError when another process (or this one) has it open, DamagedLogError when its file is no log.
        `revoke_timeout_s` bounds how long a change of hands waits for `on_revoked`.
        """
        return cls(directory, clock=clock or SystemClock(), revoke_timeout_s=revoke_timeout_s)

    async def append(self, records: Sequence[NewRecord]) -> None:
        """Keep EventLog.append."""
        check_topics(record.topic for record in records)
        self._check_open()
        if records:
            await self._engine.append(records)

    async def consumer(self, group: str, *, topics: Sequence[str], on_revoked: OnRevoked | None = None) -> Consumer:
        """Keep EventLog.consumer."""
        check_topics(topics)
        self._check_open()
        if group not in self._groups:
            stored = self._engine.positions.get(group, {})
            self._groups[group] = Group(stored, revoke_timeout_s=self._revoke_timeout_s)
        consumer = SqliteConsumer(
            self._engine,
            name=group,
            group=self._groups[group],
            topics=topics,
            on_revoked=on_revoked,
            closed=self._consumers.discard,
        )
        self._consumers.add(consumer)
        try:
            await consumer.join()
        except BaseException:
            self._consumers.discard(consumer)
            raise
        return consumer

    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        """Keep EventLog.end_offsets."""
        check_topics(topics)
        return {at: end for at, end in self._engine.ends.items() if at.topic in topics}

    async def verify(self) -> AsyncIterator[Damage]:
        """Read the whole log and yield every damaged place; nothing when all is as it was written."""
        self._check_open()
        scan = damaged_places(self._engine.directory, ends=dict(self._engine.ends))
        try:
            while (damage := await asyncio.to_thread(next, scan, None)) is not None:
                yield damage
        finally:
            scan.close()

    async def close(self) -> None:
        """Keep EventLog.close. Waits for what was appended."""
        if self._closed:
            return
        self._closed = True
        for consumer in tuple(self._consumers):
            consumer.end()
        await self._engine.close()

    def _ring(self, topics: frozenset[str]) -> None:
        for consumer in self._consumers:
            consumer.ring(topics)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"the event log in {self._engine.directory} is closed")
