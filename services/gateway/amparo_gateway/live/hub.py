"""The hub: every committed change goes to the mailboxes of those who asked for it. Nobody waits for a reader."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, Self, TypeVar
from uuid import UUID

from amparo_gateway.live.changes import AnyChange

Value = TypeVar("Value")

#: How many changes may wait for a listener; a consumer's batch is at most half of it.
MOST_WAITING: Final = 1_000
_REMEMBERED: Final = 10_000
_SLICE_S: Final = 0.005


class TooSlowError(Exception):
    """A listener did not take its changes; what waited for it is gone."""


@dataclass(frozen=True, slots=True, eq=False)
class Sighting(Generic[Value]):
    """What a listener is shown of a change. Equal `aspect` of one change means equal `value`."""

    change: AnyChange
    aspect: Hashable
    value: Value


class Ends(Enum):
    """The answer of a sight that will see nothing any more."""

    HERE = "here"


#: Decides, change by change, what a listener may see of it; None is nothing.
Sight = Callable[[AnyChange], Sighting[Value] | Ends | None]


class Hub:
    """Passes changes on, each aggregate's in the order of its versions."""

    def __init__(self, *, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._listeners: dict[int, Listener[Any]] = {}
        #: The newest version passed on of each aggregate: two writers may come here in the other order.
        self._passed_on: OrderedDict[UUID, int] = OrderedDict()

    @property
    def listening(self) -> bool:
        """Say whether anybody listens; may be asked from any thread."""
        return bool(self._listeners)

    def count(self) -> int:
        """Return how many listen."""
        return len(self._listeners)

    def listen(self, sight: Sight[Value]) -> Listener[Value]:
        """Return a listener that gets what `sight` shows of every change from now on, until it is closed."""
        listener = Listener(self, sight, most_waiting=self._most_waiting)
        self._listeners[id(listener)] = listener
        return listener

    def leave(self, listener: Listener[Value]) -> None:
        """Pass nothing on to `listener` any more."""
        self._listeners.pop(id(listener), None)

    async def publish(self, changes: Iterable[AnyChange]) -> None:
        """Pass committed changes on. One change reaches every mailbox at once; between changes the loop may breathe."""
        pause_at = time.perf_counter() + _SLICE_S
        for change in changes:
            if self._is_news(change):
                for listener in tuple(self._listeners.values()):
                    listener.offer(change)
            if time.perf_counter() > pause_at:
                await asyncio.sleep(0)
                pause_at = time.perf_counter() + _SLICE_S

    def _is_news(self, change: AnyChange) -> bool:
        version = change.after.event.version
        if self._passed_on.get(change.key, -1) >= version:
            return False
        self._passed_on[change.key] = version
        self._passed_on.move_to_end(change.key)
        if len(self._passed_on) > _REMEMBERED:
            self._passed_on.popitem(last=False)
        return True


class Listener(AsyncIterator[Value]):
    """One mailbox. Iterating gives what was seen, in order, until `close`; raises TooSlowError when it overflowed."""

    def __init__(self, hub: Hub, sight: Sight[Value], *, most_waiting: int) -> None:
        self._hub, self._sight, self._most_waiting = hub, sight, most_waiting
        self._waiting: deque[Sighting[Value]] = deque()
        self._arrived = asyncio.Event()
        self._fault: Exception | None = None
        self._closed = False

    def offer(self, change: AnyChange) -> None:
        """Put into the mailbox what may be seen of `change`."""
        if self._fault is not None:
            return
        try:
            seen = self._sight(change)
        except Exception as error:  # noqa: BLE001 - it is raised to whoever reads this mailbox, and harms no other
            self._end_with(error)
            return
        if seen is None:
            return
        if seen is Ends.HERE:
            self.close()
        elif len(self._waiting) >= self._most_waiting:
            self._end_with(TooSlowError())
        else:
            self._waiting.append(seen)
            self._arrived.set()

    def _end_with(self, fault: Exception) -> None:
        self._fault = fault
        self._waiting.clear()
        self._arrived.set()

    async def next_sighting(self) -> Sighting[Value]:
        """Wait for what comes next; raises TooSlowError, and StopAsyncIteration once closed and empty."""
        while not self._waiting:
            if self._fault is not None:
                raise self._fault
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Take no more; what waits may still be read."""
        self._closed = True
        self._arrived.set()
        self._hub.leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Value:
        return (await self.next_sighting()).value
