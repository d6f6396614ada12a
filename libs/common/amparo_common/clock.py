"""The time, as a port: services never ask the operating system themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time. `now` is aware and UTC; it may go back (an operator sets the machine's clock)."""

    def now(self) -> datetime: ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SetClock:
    """A clock that tests set and move."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def move(self, by: timedelta) -> None:
        """Move the clock by `by`, back as well as forth."""
        self._at += by


def rfc3339(moment: datetime) -> str:
    """Write `moment` as the contract does: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
