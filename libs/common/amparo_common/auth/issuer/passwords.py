"""Passwords, kept as scrypt hashes with their own salt and cost."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

_COST: Final = 2**14
_BLOCK: Final = 8
_MEMORY: Final = 64 * 1024 * 1024
LONGEST: Final = 256


def hashed(password: str) -> str:
    """Return `scrypt$COST$SALT$HASH` in hex."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_COST}${salt.hex()}${_derived(password, salt=salt, cost=_COST).hex()}"


def matches(password: str, kept: str | None) -> bool:
    """Say whether `password` is the one behind `kept`. Without `kept` the same work is done, for nothing."""
    _, cost, salt, digest = (kept or _NOBODY).split("$")
    derived = _derived(password[:LONGEST], salt=bytes.fromhex(salt), cost=int(cost))
    return hmac.compare_digest(derived, bytes.fromhex(digest)) and kept is not None and len(password) <= LONGEST


def _derived(password: str, *, salt: bytes, cost: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost, r=_BLOCK, p=1, maxmem=_MEMORY, dklen=32)


_NOBODY: Final = f"scrypt${_COST}${'00' * 16}${'00' * 32}"
