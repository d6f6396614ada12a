"""Slows the guessing of passwords without shutting a person out: a right password is never made to wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

_FREE_TRIES: Final = 5
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 2.0
_FORGOTTEN_AFTER: Final = timedelta(minutes=15)
_MOST_AT_ONCE: Final = 8
_MOST_NAMES: Final = 10_000


class TooManyTriesError(Exception):
    """So many sign-ins of one name are under way that another one has to wait for them."""


class Throttle:
    """Counts wrong passwords by name; the answer to a wrong one comes later and later, up to two seconds.

    At most eight tries of a name are under way at once, so the pauses bound the rate of guesses at four a second.
    """

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, datetime]] = OrderedDict()
        self._under_way: dict[str, int] = {}

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Take one of the places for tries of `name`. Raises TooManyTriesError when all are taken."""
        if self._under_way.get(name, 0) >= _MOST_AT_ONCE:
            raise TooManyTriesError
        self._under_way[name] = self._under_way.get(name, 0) + 1
        try:
            yield
        finally:
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]

    def wrong(self, name: str, *, now: datetime) -> float:
        """Count a wrong password and return how many seconds its answer has to wait."""
        count, last = self._wrong.pop(name, (0, now))
        count = 1 if now - last > _FORGOTTEN_AFTER else count + 1
        self._wrong[name] = (count, now)
        if len(self._wrong) > _MOST_NAMES:
            self._wrong.popitem(last=False)
        beyond = count - _FREE_TRIES
        return 0.0 if beyond <= 0 else min(_FIRST_PAUSE_S * 2.0 ** min(beyond - 1, 10), _LONGEST_PAUSE_S)
