"""What intake does beside requests: asking whether its database answers, and forgetting in time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from amparo_common.db.port import Database
from amparo_common.errors import TransientError
from amparo_intake import repository
from amparo_intake.preservation import Preservation
from amparo_intake.service import Intake

_LOOK_EVERY_S: Final = 1.0
_ANSWER_WITHIN_S: Final = 5.0
_PURGE_EVERY: Final = 60


class Upkeep:
    """`database_answers` is what the last look found; False until the first."""

    def __init__(self, intake: Intake, *, preservation: Preservation, database: Database) -> None:
        self._intake, self._preservation, self._database = intake, preservation, database
        self.database_answers = False

    async def run(self) -> None:
        """Look, scrub and purge until cancelled."""
        looks = 0
        while True:
            self.database_answers = await self._look()
            if self._preservation.scrub_is_due:
                await self._preservation.scrub()
            if self.database_answers and looks % _PURGE_EVERY == 0:
                await self._purge()
            looks += 1
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                return await self._database.read(repository.answers)
        except (TransientError, TimeoutError):
            return False

    async def _purge(self) -> None:
        more = 1
        with suppress(TransientError):  # the next round goes on
            while more:
                more = await self._intake.purge_receipts()
