"""Circuit breakers, one a partner: after several failures in a row it is left alone for a while, then asked once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from amparo_common.clock import Clock

OPENS_AFTER: Final = 5
_FIRST_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(seconds=60)


@dataclass(slots=True)
class _Health:
    failures: int = 0
    open_until: datetime | None = None


class Breakers:
    """Knows which partners are failing. Kept in memory: a start begins with trust."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._health: dict[UUID, _Health] = {}

    def note(self, partner_id: UUID, *, healthy: bool) -> None:
        """Note how an attempt ended for the partner's health."""
        if healthy:
            self._health.pop(partner_id, None)
            return
        health = self._health.setdefault(partner_id, _Health())
        health.failures += 1
        if health.failures >= OPENS_AFTER:
            pause = min(_FIRST_PAUSE * 2 ** min(health.failures - OPENS_AFTER, 8), _LONGEST_PAUSE)
            health.open_until = self._clock.now() + pause

    def open(self) -> list[UUID]:
        """Return the partners that are left alone now."""
        now = self._clock.now()
        return [partner_id for partner_id, health in self._health.items() if _is_open(health, now)]

    def half_open(self) -> list[UUID]:
        """Return the partners whose pause is over and that are asked once before more is sent."""
        now = self._clock.now()
        tripped = ((partner_id, health) for partner_id, health in self._health.items() if health.open_until is not None)
        return [partner_id for partner_id, health in tripped if not _is_open(health, now)]


def _is_open(health: _Health, now: datetime) -> bool:
    # A clock that went back never leaves a partner alone for longer than the longest pause.
    return health.open_until is not None and now < health.open_until <= now + _LONGEST_PAUSE
