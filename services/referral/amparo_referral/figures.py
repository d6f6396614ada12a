"""Figures about referrals that only a query gives, read now and then and shown from memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from amparo_common.clock import Clock
from amparo_common.db.port import Database
from amparo_common.errors import TransientError
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import ClockKind
from amparo_referral.repository import deliveries, incidents, referrals

_EVERY_S: Final = 2.0
_log = structlog.get_logger()


class Figures:
    """How many incidents nobody takes, how many versions are on their way, how many partners are silent too long."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self.without_route = 0
        self.waiting = 0
        self.overdue = 0
        self.awaiting_approval = 0

    def publish(self, telemetry: Telemetry) -> None:
        """Show the figures as gauges."""
        clock = {"kind": ClockKind.PARTNER_ACKNOWLEDGEMENT.value}
        telemetry.gauge("amparo.clocks.overdue", lambda: [(float(self.overdue), clock)])
        telemetry.gauge("amparo.incidents.without_route", lambda: float(self.without_route))
        telemetry.gauge(
            "amparo.queue.depth",
            lambda: [
                (float(self.waiting), {"level": "delivery"}),
                (float(self.awaiting_approval), {"level": "approval"}),
            ],
        )

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            with suppress(TransientError):  # the last figures stand until the database answers again
                await self.read()
            await asyncio.sleep(_EVERY_S)

    async def read(self) -> None:
        """Read the figures once."""
        now, before = self._clock.now(), self.without_route
        self.without_route, self.waiting, self.overdue, self.awaiting_approval = await self._database.read(
            lambda session: (
                incidents.count_without_route(session),
                deliveries.waiting(session),
                referrals.overdue(session, now=now),
                referrals.awaiting_approval(session),
            )
        )
        if self.without_route > before:
            _log.warning("incidents have no route", count=self.without_route)
