"""How long to wait before trying again."""

from __future__ import annotations

import random
from typing import Final

_random: Final = random.SystemRandom()


class Backoff:
    """Waits that double from `first_s` to `most_s`, each with jitter between its half and its whole."""

    def __init__(self, *, first_s: float = 0.05, most_s: float = 5.0) -> None:
        self._first_s, self._most_s, self._failures = first_s, most_s, 0

    def next_s(self) -> float:
        """Count a failure and return how many seconds to wait."""
        whole = min(self._most_s, self._first_s * 2 ** min(self._failures, 30))
        self._failures += 1
        return _random.uniform(whole / 2, whole)

    def reset(self) -> None:
        """Start again from the shortest wait, after a success."""
        self._failures = 0
