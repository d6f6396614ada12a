"""The relay: carries a service's outbox to the log. The only publisher there is."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Final

from amparo_common import faults, outbox
from amparo_common.backoff import Backoff
from amparo_common.clock import Clock
from amparo_common.db.port import Database
from amparo_common.errors import TransientError
from amparo_common.log.port import EventLog
from amparo_common.vocabulary.codes import Lane

BATCH: Final = 500


class Relay:
    """Appends waiting records in batches, urgent first, and drops them once the log has them.

    A crash between the two publishes again; readers drop repeats by event id. Run one relay a database: a second one
    would break the order of an aggregate's events. `poll_s` is for events that other processes store; one's own ring
    the doorbell. `published` (by lane), `failures` and `healthy_at` (the last pass without a failure) are for metrics
    and readiness.
    """

    def __init__(
        self, *, service: str, database: Database, log: EventLog, clock: Clock, batch: int = BATCH, poll_s: float = 1.0
    ) -> None:
        self._service, self._database, self._log, self._clock = service, database, log, clock
        self._batch, self._poll_s = batch, poll_s
        self._bell = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._backoff = Backoff()
        self._depth = 0
        self.published: Counter[Lane] = Counter()
        self.failures = 0
        self.healthy_at: datetime | None = None
        database.after_commit(self._bell.set)

    def depth(self) -> int:
        """Return how many records waited at the last look."""
        return self._depth

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            try:
                more = await self._publish_next()
            except TransientError:
                self.failures += 1
                await asyncio.sleep(self._backoff.next_s())
                continue
            self._backoff.reset()
            self.healthy_at = self._clock.now()
            if not more:
                with suppress(TimeoutError):  # then it is time to look without having been rung for
                    # Not wait_for: on Python 3.11 it may swallow a cancellation that comes together with the bell.
                    async with asyncio.timeout(self._poll_s):
                        await self._bell.wait()

    async def drain(self) -> None:
        """Publish what waits, and return; for an orderly end. Raises TransientError when the log does not answer."""
        while await self._publish_next():
            pass

    async def _publish_next(self) -> bool:
        async with self._publishing:  # `drain` may be called while `run` is still going
            return await self._publish_batch()

    async def _publish_batch(self) -> bool:
        """Publish one batch; say whether more may wait."""
        self._bell.clear()  # before looking, so that a commit after the look rings again
        waiting = await self._database.read(lambda session: outbox.take(session, self._batch))
        full = len(waiting) == self._batch
        self._depth = await self._database.read(outbox.depth) if full else len(waiting)
        if not waiting:
            return False
        faults.point(self._service, "relay.before_append")
        await self._log.append([one.record for one in waiting])
        faults.point(self._service, "relay.after_append")
        seqs = [one.seq for one in waiting]
        await self._database.write(lambda connection: outbox.drop(connection, seqs))
        self._depth -= len(waiting)
        self.published.update(one.lane for one in waiting)
        return full
