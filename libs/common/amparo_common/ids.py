"""Identifiers: UUIDv7, readable references, case codes."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from uuid import UUID

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_lock = threading.Lock()
_last: tuple[int, int] = (0, 0)


def uuid7(*, at_ms: int | None = None) -> UUID:
    """Make a UUIDv7 (RFC 9562, 5.7): greater than every earlier one of this process, also when the clock goes back.

    `at_ms` is for tests and replays; the counter then still keeps the order of calls.
    """
    global _last  # noqa: PLW0603 - one counter a process is what makes the order total
    with _lock:
        now, (last, counter) = at_ms if at_ms is not None else time.time_ns() // 1_000_000, _last
        if now > last:
            last, counter = now, int.from_bytes(os.urandom(4)) >> 2
        else:
            counter += 1 + (os.urandom(1)[0] & 0x0F)
            if counter >> 42:
                last, counter = last + 1, 0
        _last = (last, counter)
    return UUID(int=_uuid7_bits(at_ms=last, counter=counter))


def _uuid7_bits(*, at_ms: int, counter: int) -> int:
    high, low = counter >> 30, counter & 0x3FFFFFFF
    noise = int.from_bytes(os.urandom(4))
    return at_ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low << 32 | noise


def reference(prefix: str, *, of: UUID) -> str:
    """Give the readable, opaque reference of an aggregate, such as `AM-7Q4K-2MXD`.

    Crockford base 32 (no I, L, O, U) of 40 bits of SHA-256, so it is stable and tells neither time nor order.
    """
    number = int.from_bytes(hashlib.sha256(prefix.encode() + of.bytes).digest()[:5])
    code = "".join(_ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))
    return f"{prefix}-{code[:4]}-{code[4:]}"


def case_code() -> str:
    """Make a random case code of 16 digits, grouped as a reporter reads it out: `4821 7730 1195 6642`."""
    digits = f"{secrets.randbelow(10**16):016d}"
    return " ".join(digits[start : start + 4] for start in range(0, 16, 4))


def case_code_digits(code: str) -> str | None:
    """Return the 16 digits of a case code as people type it, spaces and hyphens aside; None when it is none."""
    digits = code.replace(" ", "").replace("-", "").replace("\u00a0", "")
    return digits if len(digits) == 16 and digits.isascii() and digits.isdigit() else None  # noqa: PLR2004
