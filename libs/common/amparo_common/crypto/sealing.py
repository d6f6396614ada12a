"""Sealing of sensitive parts: AES-256-GCM under the data key of one report."""

from __future__ import annotations

import hmac
import os
from typing import Final, NoReturn, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
#: The first byte of every sealed part; another layout gets another number.
_VERSION: Final = b"\x01"


class SealBrokenError(Exception):
    """Sealed bytes that the given key and context do not open. `reason` is a slug; no content, no key, no context."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a sealed part does not open: {reason}")
        self.reason = reason


class DataKey:
    """The data key of one report. Only `raw` gives its bytes: no text, log line, pickle or JSON shows them."""

    __slots__ = ("_cipher", "_raw")

    def __init__(self, raw: bytes) -> None:
        """Take a key of 32 bytes; raises ValueError at another length, without the bytes in its text."""
        if len(raw) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes, not {len(raw)}")
        self._raw = bytes(raw)
        self._cipher = AESGCM(self._raw)

    def raw(self) -> bytes:
        """Return the 32 bytes, to be wrapped or handed to a service that may have them."""
        return self._raw

    def __repr__(self) -> str:
        return "DataKey(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataKey) and hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash((DataKey, self._raw))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a data key is not pickled")


def new_data_key() -> DataKey:
    """Make a random data key."""
    return DataKey(AESGCM.generate_key(bit_length=8 * KEY_BYTES))


def seal(key: DataKey, plain: bytes, *, context: str) -> bytes:
    """Seal `plain` for one place: version byte, 12-byte nonce, ciphertext with its 16-byte tag.

    `context` (such as `narrative:REPORT_ID`) is authenticated, not stored: the opener names it again, so a sealed part
    that was moved to another report or part does not open.
    """
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + key._cipher.encrypt(nonce, plain, _associated(context))  # noqa: SLF001 - the same module


def open_sealed(key: DataKey, sealed: bytes, *, context: str) -> bytes:
    """Open what `seal` made with the same key and context; raises SealBrokenError for anything else."""
    if len(sealed) < len(_VERSION) + _NONCE_BYTES + _TAG_BYTES:
        raise SealBrokenError("too_short")
    if sealed[:1] != _VERSION:
        raise SealBrokenError("unknown_version")
    nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        return key._cipher.decrypt(nonce, ciphertext, _associated(context))  # noqa: SLF001 - the same module
    except InvalidTag:
        raise SealBrokenError("wrong_key_or_context") from None


def _associated(context: str) -> bytes:
    return b"amparo.sealed\x00" + _VERSION + context.encode()
