"""One writer thread with group commit: the units that wait share one transaction and one sync of the disk."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine

from amparo_common import faults
from amparo_common.db.port import woken
from amparo_common.db.sqlite_errors import as_transient
from amparo_common.errors import TransientError

_MOST_UNITS: Final = 256
#: A group ends when it has worked this long, so that the first unit of it does not wait for the last.
_GROUP_S: Final = 0.02


@dataclass(slots=True)
class _Waiting:
    run: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    answer: Any = None
    error: Exception | None = None


class GroupCommitWriter:
    """Runs write units on a thread of its own, in the order of their coming."""

    def __init__(
        self,
        engine: Engine,
        *,
        service: str,
        loop: asyncio.AbstractEventLoop,
        ring: Callable[[], None],
        most_waiting: int,
    ) -> None:
        self._engine, self._service, self._loop, self._ring = engine, service, loop, ring
        self._most_waiting = most_waiting
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"{service}-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def waiting(self) -> int:
        """Return how many units wait for the writer."""
        return len(self._queue)

    def submit(self, unit: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Queue `unit`; the future resolves once it is committed. Raises TransientError when full or closed."""
        with self._changed:
            if self._closed:
                raise TransientError("the database is closed")
            if len(self._queue) >= self._most_waiting:
                raise TransientError("the database has too many waiting writes")
            waiting = _Waiting(run=unit, future=self._loop.create_future())
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """Finish the queued units and end the thread. Blocks; further units are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        try:
            with self._engine.connect() as connection:
                while group := self._next_group():
                    self._commit_group(connection, group)
        finally:
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        with self._changed:
            self._closed = True
            rest = list(self._queue)
            self._queue.clear()
        for waiting in rest:
            waiting.error = TransientError("the database is closed")
        if rest:
            self._resolve(rest, rings=False)

    def _next_group(self) -> list[_Waiting]:
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            return [self._queue.popleft() for _ in range(min(len(self._queue), _MOST_UNITS))]

    def _commit_group(self, connection: Connection, group: list[_Waiting]) -> None:
        done: list[_Waiting] = []
        rings = False
        woken(connection)  # what an undone group asked for counts no more
        try:
            with connection.begin():
                self._run_units(connection, group, done)
                rings = woken(connection)
                faults.point(self._service, "writer.before_commit")
            faults.point(self._service, "writer.after_commit")
        except Exception as error:  # noqa: BLE001 - it reaches every caller of the group
            failure = as_transient(error, writing=True)
            done = done or group  # not even begun: all of them hear of it
            for waiting in done:
                waiting.error = waiting.error or failure
        with self._changed:
            self._queue.extendleft(reversed(group[len(done) :]))
        self._resolve(done, rings=rings and any(waiting.error is None for waiting in done))

    @staticmethod
    def _run_units(connection: Connection, group: list[_Waiting], done: list[_Waiting]) -> None:
        """Run units until the group's time is over; `done` gets each as it starts."""
        driver: Any = connection.connection.driver_connection
        until = time.monotonic() + _GROUP_S
        alone = len(group) == 1  # then the transaction itself is the unit's savepoint
        for waiting in group:
            done.append(waiting)
            if not alone:
                driver.execute("SAVEPOINT unit")
            try:
                waiting.answer = waiting.run(connection)
            except Exception as error:  # noqa: BLE001 - it reaches the caller of the unit
                waiting.error = as_transient(error, writing=True)
            if not driver.in_transaction:
                # SQLite itself undoes everything after some failures (disk full, I/O): nobody of this group is stored.
                raise waiting.error or RuntimeError("a write unit ended the transaction")
            if not alone:
                driver.execute("ROLLBACK TO unit" if waiting.error else "RELEASE unit")
            elif waiting.error:
                raise waiting.error
            if time.monotonic() > until:
                return

    def _resolve(self, group: list[_Waiting], *, rings: bool) -> None:
        if not self._loop.is_closed():  # after the loop's end nobody waits any more
            self._loop.call_soon_threadsafe(self._deliver, group, rings)

    def _deliver(self, group: list[_Waiting], rings: bool) -> None:
        for waiting in group:
            if waiting.future.done():
                continue
            if waiting.error is None:
                waiting.future.set_result(waiting.answer)
            else:
                waiting.future.set_exception(waiting.error)
        if rings:
            self._ring()
