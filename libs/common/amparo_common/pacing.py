"""How much a lane takes at once, and who goes first."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class SliceSize:
    """Learns how many records a slice may hold to be done within `target_s`."""

    def __init__(self, *, most: int, target_s: float, least: int = 16) -> None:
        self._most, self._least, self._target_s = most, min(least, most), target_s
        self.records = self._least

    def took(self, *, records: int, seconds: float) -> None:
        """Learn from a slice: move halfway to the size that would have met the target, at most doubling."""
        right = records * self._target_s / max(seconds, 1e-6)
        moved = (self.records + min(right, 3 * self.records)) / 2
        self.records = max(self._least, min(self._most, round(moved)))


class UrgentFirst:
    """Lets standard work wait while urgent work is in hand, each time for a bounded while, so that it never starves."""

    def __init__(self, *, patience_s: float = 0.25) -> None:
        self._patience_s = patience_s
        self._quiet = asyncio.Event()
        self._quiet.set()

    def begin(self) -> None:
        """Say that urgent work is in hand."""
        self._quiet.clear()

    def end(self) -> None:
        """Say that no urgent work is left."""
        self._quiet.set()

    async def give_way(self) -> None:
        """Wait until urgent work is done, or the patience over."""
        if not self._quiet.is_set():
            with suppress(TimeoutError):  # the patience is over: one slice now, so that standard never starves
                async with asyncio.timeout(self._patience_s):
                    await self._quiet.wait()
