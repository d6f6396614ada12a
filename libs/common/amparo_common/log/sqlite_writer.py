"""The one thread that writes the embedded log: what callers bring in the meantime shares one synced commit."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from amparo_common import faults
from amparo_common.clock import Clock
from amparo_common.errors import TransientError
from amparo_common.log import sqlite_store as store
from amparo_common.log.port import TopicPartition
from amparo_common.log.sqlite_store import Prepared, Witness

_RECORDS_A_COMMIT: Final = 5_000

Positions = Mapping[TopicPartition, int]


class Unit(NamedTuple):
    """What one caller wants written: records, or a group's positions. Its future is done once it is synced to disk."""

    future: asyncio.Future[None]
    records: Sequence[Prepared]
    group: str
    positions: Positions


class Writer:
    """Owns the writing connection. `committed` is called on the loop with the new ends after each commit."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        witness: Witness,
        ends: dict[TopicPartition, int],
        clock: Clock,
        committed: Callable[[Mapping[TopicPartition, int]], None],
    ) -> None:
        self._connection, self._witness, self._clock, self._committed = connection, witness, clock, committed
        self._ends = ends
        self._unsure = self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    async def write(
        self, *, records: Sequence[Prepared] = (), group: str = "", positions: Positions | None = None
    ) -> None:
        """Write and return once it is synced. Raises TransientError when nothing, or an unknown part, was written."""
        if self._stopping:
            raise RuntimeError("the event log is closed")
        unit = Unit(self._loop.create_future(), records, group, positions or {})
        self._queue.put(unit)
        await unit.future

    async def stop(self) -> None:
        """Finish what was brought, move the write-ahead log into the file and close it."""
        self._stopping = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            units, open_for_more = self._gathered()
            if units:
                self._settle(units, self._attempt(units))
        self._connection.close()
        self._witness.close()

    def _gathered(self) -> tuple[list[Unit], bool]:
        unit = self._queue.get()
        units: list[Unit] = []
        size = 0
        while unit is not None:
            units.append(unit)
            size += len(unit.records)
            if size >= _RECORDS_A_COMMIT:
                return units, True
            try:
                unit = self._queue.get_nowait()
            except queue.Empty:
                return units, True
        return units, False

    def _attempt(self, units: Sequence[Unit]) -> Exception | None:
        try:
            self._commit(units)
        except TransientError as error:
            return self._undone(error)
        except (sqlite3.Error, OSError) as error:
            return self._undone(TransientError(f"the event log does not take records now: {error}"))
        except Exception as error:  # noqa: BLE001 - it goes to the callers; the thread must live on for the others
            return self._undone(error)
        return None

    def _commit(self, units: Sequence[Unit]) -> None:
        if self._unsure:
            # After an error it is not known what reached the file, so the next offsets are read from it anew.
            groups, _ = store.positions(self._connection)
            self._ends = store.next_offsets(self._connection, groups=groups, witness=self._ends)
            self._unsure = False
        ends = dict(self._ends)
        at_ms = int(self._clock.now().timestamp() * 1000)
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(store.INSERT_RECORD, _rows(units, ends=ends, at_ms=at_ms))
        self._connection.executemany(store.PUT_POSITION, _positions(units))
        faults.point("log", "log.before_commit")
        self._connection.execute("COMMIT")
        self._ends = ends
        self._witness.write(ends)
        faults.point("log", "log.after_commit")

    def _undone(self, error: Exception) -> Exception:
        self._unsure = True
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as failure:
                error.add_note(f"the rollback failed too: {failure}")
        return error

    def _settle(self, units: Sequence[Unit], error: Exception | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answer, units, error, dict(self._ends))

    def _answer(self, units: Sequence[Unit], error: Exception | None, ends: Mapping[TopicPartition, int]) -> None:
        self._committed(ends)
        for unit in units:
            if unit.future.done():
                continue
            if error is None:
                unit.future.set_result(None)
            else:
                unit.future.set_exception(error)


def _rows(
    units: Sequence[Unit], *, ends: dict[TopicPartition, int], at_ms: int
) -> list[tuple[str, int, int, bytes, bytes, bytes, int, bytes]]:
    rows = []
    for unit in units:
        for record in unit.records:
            offset = ends[record.at]
            rows.append(record.row(offset=offset, at_ms=at_ms))
            ends[record.at] = offset + 1
    return rows


def _positions(units: Sequence[Unit]) -> list[tuple[str, str, int, int, bytes]]:
    return [
        (unit.group, *at, position, store.position_checksum(unit.group, at, position))
        for unit in units
        for at, position in unit.positions.items()
    ]
