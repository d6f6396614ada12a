"""What triage does beside its streams: reading texts that waited for their key, and noticing missed clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from amparo_common.backoff import Backoff
from amparo_common.errors import TransientError
from amparo_triage.service import Triage

_LOOK_EVERY_S: Final = 1.0


class Upkeep:
    """Two passes that run until cancelled; `database_answers` is what the last look found, False until the first."""

    def __init__(self, triage: Triage) -> None:
        self._triage = triage
        self.database_answers = False

    async def read_pending(self) -> None:
        """Try texts whose time has come, until cancelled."""
        await self._repeat(self._triage.read_pending)

    async def notice_missed_clocks(self) -> None:
        """Mark clocks whose time has come, until cancelled."""
        await self._repeat(self._triage.notice_missed_clocks)

    async def _repeat(self, once: Callable[[], Awaitable[int]]) -> None:
        backoff = Backoff()
        while True:
            try:
                done = await once()
            except TransientError:
                self.database_answers = False
                await asyncio.sleep(backoff.next_s())
                continue
            self.database_answers = True
            backoff.reset()
            if not done:
                await asyncio.sleep(_LOOK_EVERY_S)
