"""Who is limited, and how: token buckets as values. Limits slow misuse; they never stop a child (safeguard SG-18)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

#: After this pause a source counts as new: its next report is its first.
FORGOTTEN_AFTER_S: Final = 24 * 3600.0


class Verdict(Enum):
    """What happens to a report."""

    TAKEN = "taken"
    #: Taken, in the standard lane.
    SLOWED = "slowed"
    #: Answered 429, with guidance.
    LIMITED = "limited"


@dataclass(frozen=True, slots=True)
class Rate:
    """A steady rate with the burst that may be saved up."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The soft and the hard limit of one source."""

    soft: Rate
    hard: Rate


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a source may still send at `at` (seconds)."""

    left: float
    at: float

    def refilled(self, rate: Rate, *, now: float) -> Bucket:
        """Return the bucket at `now`; a clock that went back adds nothing and takes nothing."""
        waited = max(0.0, now - self.at)
        return Bucket(left=min(rate.burst, self.left + waited * rate.per_second), at=now)

    def less(self, amount: float) -> Bucket:
        return Bucket(left=max(0.0, self.left - amount), at=self.at)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of a source: its buckets and its last report."""

    soft: Bucket
    hard: Bucket
    last_at: float


@dataclass(frozen=True, slots=True)
class Admission:
    """The verdict, what to remember, and in how many seconds a limited source may try again."""

    verdict: Verdict
    seen: Seen
    retry_after_s: int = 0


def admit(seen: Seen | None, *, now: float, danger: bool, limits: Limits) -> Admission:
    """Decide about one report of a source that was `seen` so or never.

    A first report in 24 hours and a danger tick are always taken, the latter in its own lane too.
    """
    if seen is None or now - seen.last_at > FORGOTTEN_AFTER_S:
        fresh = Seen(Bucket(limits.soft.burst, now), Bucket(limits.hard.burst, now), now)
        return Admission(Verdict.TAKEN, _counted(fresh, now=now))
    current = Seen(seen.soft.refilled(limits.soft, now=now), seen.hard.refilled(limits.hard, now=now), seen.last_at)
    if danger or current.soft.left >= 1:
        return Admission(Verdict.TAKEN, _counted(current, now=now))
    if current.hard.left >= 1:
        return Admission(Verdict.SLOWED, _counted(current, now=now))
    return Admission(Verdict.LIMITED, current, retry_after_s=wait_for_one(current.hard, limits.hard))


def wait_for_one(bucket: Bucket, rate: Rate) -> int:
    """Return in how many whole seconds, at least one, the bucket holds one more."""
    return max(1, math.ceil((1 - bucket.left) / rate.per_second))


def _counted(seen: Seen, *, now: float) -> Seen:
    return Seen(seen.soft.less(1), seen.hard.less(1), now)
