"""How many sockets are open at once: in all, before they have signed in, and for each principal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLimits:
    """What sockets may take; a caller beyond them is told so and closed."""

    sockets: int = 5_000
    strangers: int = 500
    sockets_per_principal: int = 50
    subscriptions_per_socket: int = 20
    init_within_s: float = 5.0
    send_within_s: float = 10.0


class FullError(Exception):
    """There is no room; the message says for whom."""


class Admission:
    """Counts sockets."""

    def __init__(self, limits: SocketLimits) -> None:
        self.limits = limits
        self._strangers = 0
        self._of: Counter[str] = Counter()

    def count(self) -> int:
        """Return how many sockets have signed in."""
        return self._of.total()

    @contextmanager
    def stranger(self) -> Iterator[None]:
        """Hold a place until the socket has signed in. Raises FullError."""
        if self._strangers >= self.limits.strangers or self.count() >= self.limits.sockets:
            raise FullError("too many sockets are open")
        self._strangers += 1
        try:
            yield
        finally:
            self._strangers -= 1

    @contextmanager
    def of(self, subject: str) -> Iterator[None]:
        """Hold a place of a principal. Raises FullError."""
        if self._of[subject] >= self.limits.sockets_per_principal:
            raise FullError("too many sockets of yours are open")
        self._of[subject] += 1
        try:
            yield
        finally:
            self._of[subject] -= 1
            if not self._of[subject]:
                del self._of[subject]
