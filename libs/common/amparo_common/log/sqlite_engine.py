"""An open embedded log: its lock, its writer, its readers, and where each partition ends."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

import structlog

from amparo_common.clock import Clock
from amparo_common.errors import TransientError
from amparo_common.log import sqlite_store as store
from amparo_common.log.port import NewRecord, TopicPartition
from amparo_common.log.sqlite_writer import Writer

_READERS: Final = 2
Answer = TypeVar("Answer")
_logger = structlog.get_logger(__name__)


class Engine:
    """Everything that touches the log's files. `grown` is called on the loop with the topics that got new records."""

    def __init__(self, directory: Path, *, clock: Clock, grown: Callable[[frozenset[str]], None]) -> None:
        self.directory = directory
        self._grown = grown
        self._connections: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        with ExitStack() as undo:
            self._lock = store.lock(directory)
            undo.callback(os.close, self._lock)
            connection = store.open_writer(directory)
            undo.callback(connection.close)
            witness = store.Witness(directory)
            undo.callback(witness.close)
            acknowledged, doubts = witness.read()
            try:
                self.positions, damaged = store.positions(connection)
                self.ends = store.next_offsets(connection, groups=self.positions, witness=acknowledged)
            except sqlite3.DatabaseError as error:
                raise store.DamagedLogError(f"{directory / store.DATABASE_FILE} cannot be read: {error}") from error
            for damage in (*doubts, *damaged):
                _logger.warning("log_damaged", reason=damage.why)
            witness.write(self.ends)
            for _ in range(_READERS):
                reader = store.open_reader(directory)
                undo.callback(reader.close)
                self._connections.put(reader)
            undo.pop_all()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="log-reader")
        self._writer = Writer(
            connection, witness=witness, ends=dict(self.ends), clock=clock, committed=self._on_committed
        )

    async def append(self, records: Sequence[NewRecord]) -> None:
        """Write `records`; they are synced when it returns. Raises TransientError."""
        await self._writer.write(records=[store.prepare(record) for record in records])

    async def commit(self, group: str, positions: Mapping[TopicPartition, int]) -> None:
        """Write positions of `group`; they are synced when it returns. Raises TransientError."""
        await self._writer.write(group=group, positions=positions)

    async def read(self, ask: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run `ask` over a reading connection on a reader's thread. Raises TransientError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._asked, ask)
        except sqlite3.DatabaseError as error:
            raise TransientError(f"the event log does not answer: {error}") from error

    def _asked(self, ask: Callable[[sqlite3.Connection], Answer]) -> Answer:
        connection = self._connections.get()
        try:
            return ask(connection)
        finally:
            self._connections.put(connection)

    async def close(self) -> None:
        """Finish what was brought and release the files."""
        await asyncio.to_thread(self._readers.shutdown)
        while not self._connections.empty():
            self._connections.get().close()
        # The writer closes last: SQLite then moves the write-ahead log into the file and removes it.
        await self._writer.stop()
        os.close(self._lock)

    def _on_committed(self, ends: Mapping[TopicPartition, int]) -> None:
        grown = frozenset(at.topic for at, end in ends.items() if end != self.ends[at])
        self.ends = dict(ends)
        if grown:
            self._grown(grown)
