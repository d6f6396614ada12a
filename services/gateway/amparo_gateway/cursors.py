"""Cursors: a place in a list, sealed so that it tells nothing and cannot be made up."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV


class CursorSeal:
    """Seals places, each for one list. The same place gives the same cursor, so that clients may compare them."""

    def __init__(self, key: bytes) -> None:
        """Take the 32-byte secret of the purpose `gateway.cursors`."""
        self._cipher = AESSIV(key)

    def seal(self, place: bytes, *, of: str) -> str:
        """Write the cursor of `place` in the list named `of`."""
        return base64.urlsafe_b64encode(self._cipher.encrypt(place, [of.encode()])).rstrip(b"=").decode()

    def open(self, cursor: str, *, of: str) -> bytes | None:
        """Return the place behind `cursor`; None when it was not made for the list named `of`."""
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            return self._cipher.decrypt(sealed, [of.encode()])
        except (binascii.Error, ValueError, InvalidTag):
            return None

    def __repr__(self) -> str:
        return "CursorSeal()"
