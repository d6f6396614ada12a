"""Gathering: what many requests bring while a commit is under way goes into the next one together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

from amparo_common.errors import TransientError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: So many together keep a commit short enough that nobody waits for the others.
_MOST_TOGETHER: Final = 128
#: Urgent items still find room when the queue is full for the others.
_ROOM_FOR_URGENT: Final = 2
_log = structlog.get_logger()


class CrowdedError(TransientError):
    """Too much waits to be stored; nothing of this was. Try again in a moment."""

    def __init__(self) -> None:
        super().__init__("too much waits to be stored")


@dataclass(slots=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    future: asyncio.Future[Answer]


class Gathering(Generic[Item, Answer]):
    """A bounded queue before `store`, which is called with all that waits and answers in that order.

    When storing several together fails, each is stored alone, so that one cannot fail the others. Who stops waiting
    does not stop the storing. For use in one event loop.
    """

    def __init__(self, store: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, most_waiting: int) -> None:
        self._store, self._most_waiting = store, most_waiting
        self._urgent: deque[_Waiting[Item, Answer]] = deque()
        self._standard: deque[_Waiting[Item, Answer]] = deque()
        self._working: asyncio.Task[None] | None = None

    def waiting(self) -> int:
        """Return how many items wait."""
        return len(self._urgent) + len(self._standard)

    async def put(self, item: Item, *, urgent: bool) -> Answer:
        """Store `item` and return its answer. Raises CrowdedError when the queue is full, or what `store` raises."""
        if self.waiting() >= self._most_waiting * (_ROOM_FOR_URGENT if urgent else 1):
            raise CrowdedError
        waiting = _Waiting[Item, Answer](item, asyncio.get_running_loop().create_future())
        (self._urgent if urgent else self._standard).append(waiting)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name="gathering")
        return await waiting.future

    async def close(self) -> None:
        """Wait until all that waits is stored."""
        while self._working is not None and not self._working.done():
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        while together := self._next():
            try:
                answers = await self._store([waiting.item for waiting in together])
            except TransientError as error:
                _fail(together, error)
            except Exception as error:  # noqa: BLE001 - it must reach those who wait, and no one else
                await self._one_by_one(together, error)
            else:
                for waiting, answer in zip(together, answers, strict=True):
                    _resolve(waiting, answer)

    def _next(self) -> list[_Waiting[Item, Answer]]:
        together: list[_Waiting[Item, Answer]] = []
        for queue in (self._urgent, self._standard):
            while queue and len(together) < _MOST_TOGETHER:
                together.append(queue.popleft())
        return together

    async def _one_by_one(self, together: Sequence[_Waiting[Item, Answer]], error: Exception) -> None:
        if len(together) == 1:
            _fail(together, error)
            return
        _log.warning("a gathered batch failed and is stored one by one", error=error, count=len(together))
        for waiting in together:
            try:
                (answer,) = await self._store([waiting.item])
            except Exception as alone:  # noqa: BLE001 - as above
                _fail([waiting], alone)
            else:
                _resolve(waiting, answer)


def _resolve(waiting: _Waiting[Item, Answer], answer: Answer) -> None:
    if not waiting.future.done():
        waiting.future.set_result(answer)


def _fail(together: Sequence[_Waiting[Item, Answer]], error: Exception) -> None:
    for waiting in together:
        if not waiting.future.done():
            waiting.future.set_exception(error)
