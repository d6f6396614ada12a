"""When a delivery is tried again, and which outcomes end it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

#: Waits before attempts 2, 3, ...: seconds first, then minutes, hours and days, about three days in all.
WAITS: Final = (
    timedelta(seconds=2),
    timedelta(seconds=8),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=20),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=12),
    timedelta(hours=24),
    timedelta(hours=24),
)
#: Each wait is moved by up to this share, so that partners that come back are not met by everything at once.
JITTER: Final = 0.25
_GONE: Final = 410


def wait_after(attempt: int, *, chance: Callable[[], float]) -> timedelta | None:
    """Return how long to wait after the failed `attempt` (from 1); None when it was the last.

    `chance` gives a number in [0, 1).
    """
    if attempt > len(WAITS):
        return None
    return WAITS[attempt - 1] * (1 - JITTER + 2 * JITTER * chance())


def delivered(status: int | None) -> bool:
    """Say whether an HTTP status means that the partner took it."""
    return status is not None and 200 <= status < 300  # noqa: PLR2004


def permanent(status: int | None) -> bool:
    """Say whether trying again is pointless: the partner says that the address is gone for good."""
    return status == _GONE
