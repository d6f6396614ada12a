"""Who sent how much: kept in memory for the limits only, keyed, bounded, and never with a report (safeguard SG-09)."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections import OrderedDict
from datetime import datetime
from typing import Final

from amparo_intake.domain.admission import Admission, Bucket, Limits, Rate, Seen, admit, wait_for_one

_MOST_REMEMBERED: Final = 100_000
#: An IPv6 subscriber has a whole /64; a single address in it means nothing.
_IPV6_SUBSCRIBER: Final = 64


class Sources:
    """Names sources by a keyed hash whose key lives as long as the process, so nothing can be looked up later."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def of(self, address: str | None, *, subject: str = "") -> bytes:
        """Return the opaque name of a source: an address, together with a token's subject where there is one."""
        named = f"{_network(address or '')}\0{subject}"
        return hashlib.blake2b(named.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed.packed, _IPV6_SUBSCRIBER), strict=False))
    return str(parsed)


class Submitters:
    """What each source submitted lately. When too many are remembered, those silent for longest count as new."""

    def __init__(self, limits: Limits, *, most: int = _MOST_REMEMBERED) -> None:
        self._limits, self._most = limits, most
        self._seen: OrderedDict[bytes, Seen] = OrderedDict()

    def admit(self, source: bytes, *, danger: bool, now: datetime) -> Admission:
        """Decide about one more report of `source` and remember it."""
        admission = admit(self._seen.get(source), now=now.timestamp(), danger=danger, limits=self._limits)
        self._seen[source] = admission.seen
        self._seen.move_to_end(source)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return admission


class Allowances:
    """A plain allowance for each name, for what is no report: guesses of case codes, messages of one case."""

    def __init__(self, rate: Rate, *, most: int = _MOST_REMEMBERED) -> None:
        self._rate, self._most = rate, most
        self._buckets: OrderedDict[bytes, Bucket] = OrderedDict()

    def wait_s(self, name: bytes, *, now: datetime) -> int:
        """Return 0 when `name` has something left, else in how many seconds it has."""
        bucket = self._bucket(name, now=now)
        return 0 if bucket.left >= 1 else wait_for_one(bucket, self._rate)

    def spend(self, name: bytes, *, now: datetime) -> None:
        """Take one from what `name` has left."""
        self._buckets[name] = self._bucket(name, now=now).less(1)
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)

    def _bucket(self, name: bytes, *, now: datetime) -> Bucket:
        bucket = self._buckets.get(name) or Bucket(self._rate.burst, now.timestamp())
        return bucket.refilled(self._rate, now=now.timestamp())
