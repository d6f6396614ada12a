"""The projection read anew from the log's first record, beside the one that answers, which it then replaces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response

from amparo_common.auth.permissions import Permission
from amparo_common.clock import Clock, rfc3339
from amparo_common.db.port import Database
from amparo_common.dead_letters import DeadLetterLimit, LimitWatch
from amparo_common.errors import Problem, TransientError
from amparo_common.events.codec import Received, UndecodableError, decode
from amparo_common.log.port import CorruptRecordError, EventLog, Record
from amparo_common.log.reading import read_to_end
from amparo_common.operations.callers import Callers
from amparo_common.vocabulary.codes import Code
from amparo_common.web import json_response
from amparo_gateway import service
from amparo_gateway.consumer import TOPICS_READ
from amparo_gateway.switched_projection import SwitchedProjection

_GROUP: Final = "gateway-replay"
#: Small enough that decoding a slice does not hold up the event loop.
_SLICE: Final = 100
_PATH: Final = "/v1/projection/replay"
_log = structlog.get_logger()


class ReplayState(Code):
    """Where the newest replay stands."""

    NEVER = "NEVER"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the newest replay came. `skipped` records could not be applied; they are dead letters already."""

    state: ReplayState = ReplayState.NEVER
    by: str | None = None
    asked_at: datetime | None = None
    ended_at: datetime | None = None
    total: int = 0
    read: int = 0
    skipped: int = 0
    problem: str | None = None


class Replay:
    """Rebuilds the projection when asked, one replay at a time. What fails leaves the old projection as it is."""

    def __init__(self, *, log: EventLog, projection: SwitchedProjection, clock: Clock) -> None:
        self._log, self._projection, self._clock = log, projection, clock
        self._asked = asyncio.Event()
        self.progress = Progress()

    def ask(self, *, by: str) -> bool:
        """Begin a replay; False when one is running."""
        if self.progress.state is ReplayState.RUNNING:
            return False
        self.progress = Progress(state=ReplayState.RUNNING, by=by, asked_at=self._clock.now())
        self._asked.set()
        return True

    async def run(self) -> None:
        """Do what is asked until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._once()

    async def _once(self) -> None:
        try:
            await self._rebuild()
        except (TransientError, CorruptRecordError, _TooManySkippedError) as error:
            await self._failed(error, problem=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the old projection goes on
            await self._failed(error, problem=type(error).__name__)
        else:
            self._note(state=ReplayState.DONE, ended_at=self._clock.now())

    async def _failed(self, error: Exception, *, problem: str) -> None:
        _log.error("the replay failed; the projection stays as it was", error=error)
        await self._projection.give_up()
        self._note(state=ReplayState.FAILED, ended_at=self._clock.now(), problem=problem)

    def _note(self, **changed: Any) -> None:
        self.progress = replace(self.progress, **changed)

    async def _rebuild(self) -> None:
        fresh, watch = await self._projection.begin(), LimitWatch(DeadLetterLimit())
        # After `begin`: what is appended from here on, the running consumer writes into both.
        ends = await self._log.end_offsets(TOPICS_READ)
        self._note(total=sum(ends.values()))
        reading = read_to_end(self._log, group=_GROUP, topics=TOPICS_READ, ends=ends, max_records=_SLICE)
        async with aclosing(reading):
            async for records in reading:
                skipped = await self._apply(fresh, records, watch=watch)
                self._note(read=self.progress.read + len(records), skipped=self.progress.skipped + skipped)
        await service.mark_filled_from_the_start(fresh, now=self._clock.now())
        await self._projection.switch()

    async def _apply(self, fresh: Database, records: Sequence[Record], *, watch: LimitWatch) -> int:
        """Apply what can be applied and return how many records could not: dead letters since the consumer met them."""
        deliveries = []
        for record in records:
            try:
                deliveries.append(decode(record))
            except UndecodableError:
                _skip(watch)
        return len(records) - len(deliveries) + await self._apply_or_split(fresh, deliveries, watch=watch)

    async def _apply_or_split(self, fresh: Database, deliveries: Sequence[Received], *, watch: LimitWatch) -> int:
        if not deliveries:
            return 0
        try:
            await service.apply(fresh, deliveries)
        except (TransientError, OSError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a record brings about, its neighbours go on
            if len(deliveries) == 1:
                _log.warning("a record could not be replayed", error=error)
                _skip(watch)
                return 1
            middle = len(deliveries) // 2
            first = await self._apply_or_split(fresh, deliveries[:middle], watch=watch)
            return first + await self._apply_or_split(fresh, deliveries[middle:], watch=watch)
        watch.good(len(deliveries))
        return 0


class _TooManySkippedError(Exception):
    """So many records fail that the fault is not theirs; the text says how many."""


def _skip(watch: LimitWatch) -> None:
    if (why := watch.bad()) is not None:
        raise _TooManySkippedError(why)


def mount(app: FastAPI, *, replay: Replay, callers: Callers) -> None:
    """Add `POST` (begin) and `GET` (progress) `/v1/projection/replay` for administrators."""

    async def begin(request: Request) -> Response:
        caller = await callers.permitted(request, Permission.REPLAY_PROJECTION, action="projection.replay")
        if not replay.ask(by=caller.name):
            raise Problem(409, "already-running", "The projection is being replayed already.")
        await callers.record(caller, action="projection.replay")
        return json_response(_shown(replay.progress), status=202)

    async def progress(request: Request) -> Response:
        await callers.permitted(request, Permission.REPLAY_PROJECTION, action="projection.replay")
        return json_response(_shown(replay.progress))

    app.add_route(_PATH, begin, methods=["POST"], include_in_schema=False)
    app.add_route(_PATH, progress, methods=["GET"], include_in_schema=False)


def _shown(progress: Progress) -> dict[str, Any]:
    return {
        "state": progress.state.lower(),
        "by": progress.by,
        "asked_at": rfc3339(progress.asked_at) if progress.asked_at else None,
        "ended_at": rfc3339(progress.ended_at) if progress.ended_at else None,
        "total": progress.total,
        "read": progress.read,
        "skipped": progress.skipped,
        "problem": progress.problem,
    }
