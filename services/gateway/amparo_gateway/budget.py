"""What a caller may ask over time: a bucket of cost for each principal, refilled as time goes by."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

#: Callers that are remembered; one that is forgotten starts with a full bucket, as it would after a while anyway.
_MOST_CALLERS: Final = 10_000
DEFAULT_SIZE: Final = 5_000_000
DEFAULT_REFILL: Final = 500_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Budget:
    """Buckets of `size`, each refilled by `per_second`. Costs are those of `schema/limits.py`, in fields."""

    def __init__(
        self,
        *,
        size: float = DEFAULT_SIZE,
        per_second: float = DEFAULT_REFILL,
        time: Callable[[], float] = monotonic,
    ) -> None:
        self._size, self._per_second, self._time = size, per_second, time
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def charge(self, caller: str, cost: float) -> int | None:
        """Take `cost` from the bucket of `caller`; when it holds less, take nothing and return the seconds to wait."""
        bucket = self._refilled(caller)
        cost = min(cost, self._size)  # else a document that the limits allow could never run
        if bucket.left < cost:
            return max(1, math.ceil((cost - bucket.left) / self._per_second))
        bucket.left -= cost
        return None

    def fine(self, caller: str, cost: float) -> None:
        """Take `cost` from the bucket of `caller`, into debt if need be: what was refused cost time too."""
        bucket = self._refilled(caller)
        bucket.left = max(bucket.left - cost, -self._size)

    def _refilled(self, caller: str) -> _Bucket:
        now = self._time()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(self._size, now)
            if len(self._buckets) > _MOST_CALLERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(caller)
        bucket.left = min(self._size, bucket.left + (now - bucket.at) * self._per_second)
        bucket.at = now
        return bucket
