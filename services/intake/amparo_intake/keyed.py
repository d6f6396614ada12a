"""Intake's secrets, derived from its master key: keyed hashes of codes and keys, and the seal of kept receipts."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from amparo_common.crypto.provider import KeyProvider
from amparo_common.crypto.sealing import DataKey, open_sealed, seal
from amparo_common.ids import case_code_digits
from amparo_common.vocabulary.codes import Lane

_RECEIPT: Final = "receipt"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a reporter gets for a stored report. The case code is shown once and kept by the reporter alone."""

    report_id: UUID
    case_code: str
    lane: Lane
    received_at: datetime

    def __repr__(self) -> str:
        return f"Receipt({self.report_id})"


class IntakeSecrets:
    """Keyed hashes that are the same over restarts and tell nothing without the master key."""

    def __init__(self, provider: KeyProvider) -> None:
        self.provider: Final = provider
        self._case_codes = provider.derive("intake.case-code")
        self._keys = provider.derive("intake.idempotency-key")
        self._bodies = provider.derive("intake.idempotency-body")
        self._receipts = DataKey(provider.derive("intake.receipt"))

    def case_hash(self, code: str) -> bytes | None:
        """Return the keyed hash of a case code as people type it; None when it is no case code."""
        digits = case_code_digits(code)
        return hmac.digest(self._case_codes, digits.encode(), "sha256") if digits else None

    def key_hash(self, key: str, *, caller: str) -> bytes:
        """Return the keyed hash of an idempotency key; the keys of one caller are apart from those of another."""
        return hmac.digest(self._keys, f"{caller}\0{key}".encode(), "sha256")

    def body_hash(self, body: bytes) -> bytes:
        """Return the keyed hash of a request's body."""
        return hmac.digest(self._bodies, body, "sha256")

    def seal_receipt(self, receipt: Receipt, *, key_hash: bytes) -> bytes:
        """Seal a receipt for the request that it answers."""
        return seal(self._receipts, msgspec.json.encode(receipt), context=_context(key_hash))

    def open_receipt(self, sealed: bytes, *, key_hash: bytes) -> Receipt:
        """Open what `seal_receipt` made; raises SealBrokenError."""
        return msgspec.json.decode(open_sealed(self._receipts, sealed, context=_context(key_hash)), type=Receipt)

    def __repr__(self) -> str:
        return "IntakeSecrets(hidden)"


def _context(key_hash: bytes) -> str:
    return f"{_RECEIPT}:{key_hash.hex()}"
