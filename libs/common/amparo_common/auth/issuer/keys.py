"""The issuer's signing keys: RS256, published before they sign, published on until what they signed has ended."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from joserfc.jwk import RSAKey

from amparo_common.auth.private_files import read_private, write_private

BITS: Final = 2048
#: Verifiers look for new keys every five minutes, so a key is known everywhere before the first token it signs.
PUBLISHED_BEFORE: Final = timedelta(minutes=10)
ROTATED_AFTER: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key, with the moment from which it signs."""

    kid: str
    key: RSAKey
    signs_from: datetime

    def public(self) -> dict[str, Any]:
        """Return the JWK that others verify with."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": "RS256"}


class SigningKeys:
    """The keys of `file` (0600), oldest first. `life` is how long a token lives."""

    def __init__(self, keys: Sequence[SigningKey], *, file: Path, life: timedelta) -> None:
        self._keys, self._file, self._life = tuple(keys), file, life

    @classmethod
    def open(cls, file: Path, *, life: timedelta, now: datetime) -> SigningKeys:
        """Read the keys, make the first one, start the rotation of one that is 90 days old."""
        text = read_private(file)
        entries = json.loads(text)["keys"] if text else []
        keys = cls([_parsed(entry) for entry in entries], file=file, life=life)
        if not entries:
            keys.rotate(now=now, at_once=True)
        elif now - keys._keys[-1].signs_from > ROTATED_AFTER:
            keys.rotate(now=now)
        return keys

    def rotate(self, *, now: datetime, at_once: bool = False) -> SigningKey:
        """Publish a new key that signs ten minutes from now, or `at_once`; drop keys that nothing depends on."""
        key = RSAKey.generate_key(BITS, private=True, auto_kid=False)
        signs_from = now if at_once else now + PUBLISHED_BEFORE
        fresh = SigningKey(secrets.token_urlsafe(16), key, signs_from)
        kept = [old for old, successor in zip(self._keys, self._keys[1:], strict=False) if self._needed(successor, now)]
        self._keys = (*kept, *self._keys[-1:], fresh)
        write_private(self._file, json.dumps({"keys": [_written(one) for one in self._keys]}, indent=1))
        return fresh

    def _needed(self, successor: SigningKey, now: datetime) -> bool:
        return now < successor.signs_from + 2 * self._life

    def signing(self, *, now: datetime) -> SigningKey:
        """Return the newest key whose time has come; the oldest when the clock went back before all of them."""
        return next((key for key in reversed(self._keys) if key.signs_from <= now), self._keys[0])

    def public(self) -> list[dict[str, Any]]:
        """Return every published key."""
        return [key.public() for key in self._keys]


def _written(key: SigningKey) -> dict[str, Any]:
    return {"kid": key.kid, "signs_from": key.signs_from.isoformat(), "jwk": key.key.as_dict(private=True)}


def _parsed(entry: dict[str, Any]) -> SigningKey:
    key = RSAKey.import_key(entry["jwk"])
    return SigningKey(entry["kid"], key, datetime.fromisoformat(entry["signs_from"]))
