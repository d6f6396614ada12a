"""What triage does beside its streams: read texts that waited for their key, notice missed clocks, free claims."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from amparo_common.backoff import Backoff
from amparo_common.errors import TransientError
from amparo_triage.service import Triage

_LOOK_EVERY_S: Final = 1.0


class Upkeep:
    """Three passes that run until cancelled; `database_answers` is what the last look found, False until the first."""

    def __init__(self, triage: Triage) -> None:
        self._triage = triage
        self.database_answers = False

    @property
    def passes(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """Return every pass, to be run side by side."""
        return self.read_pending, self.notice_missed_clocks, self.free_lapsed_claims

    async def read_pending(self) -> None:
        """Try texts whose time has come, until cancelled."""
        await self._repeat(self._triage.read_pending)

    async def notice_missed_clocks(self) -> None:
        """Mark clocks whose time has come, until cancelled."""
        await self._repeat(self._triage.notice_missed_clocks)

    async def free_lapsed_claims(self) -> None:
        """Take away claims whose lease ran out, until cancelled."""
        await self._repeat(self._triage.free_lapsed_claims)

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
