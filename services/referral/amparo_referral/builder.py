"""The loop that makes packages which could not be made on the way of an event."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from amparo_common.backoff import Backoff
from amparo_common.errors import TransientError
from amparo_referral.service import Desk, build_due

_LOOK_S: Final = 0.5


class Builder:
    """Makes what is wanted until it is cancelled. `keys_missing` is true while intake gives no keys."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._bell = asyncio.Event()
        self._backoff = Backoff()
        self.keys_missing = False

    def ring(self) -> None:
        """Look at once."""
        self._bell.set()

    async def run(self) -> None:
        """Build until cancelled."""
        while True:
            self._bell.clear()
            try:
                more = await build_due(self._desk)
            except TransientError:
                self.keys_missing = True
                await asyncio.sleep(self._backoff.next_s())
                continue
            self.keys_missing = False
            self._backoff.reset()
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):  # `wait_for` of 3.11 can swallow a cancellation
                        await self._bell.wait()
