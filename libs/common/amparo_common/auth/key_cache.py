"""The issuer's public keys: fetched once for many callers, kept when the issuer is down or answers rubbish."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from amparo_common.clock import Clock
from amparo_common.errors import TransientError
from amparo_common.http import ServiceClient, TransportError

ALGORITHM: Final = "RS256"
COOLDOWN: Final = timedelta(seconds=30)
_HALF_LIFE_S: Final = 300.0
_TIMEOUT_S: Final = 3.0
_MOST_BYTES: Final = 256 * 1024
_FEWEST_BITS: Final = 2048
_DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+/[!-~]*")
_log = structlog.get_logger()


class RubbishError(Exception):
    """The issuer answered something that is no discovery document or holds no usable key."""


class KeyCache:
    """Public keys by `kid`. `issuer` is compared with the discovery document's, `discovery_url` is what is reached.

    `file` keeps the last good key set over a restart. `changed` is called when a key went away or became another.
    """

    def __init__(
        self,
        issuer: str,
        *,
        discovery_url: str,
        http: ServiceClient,
        clock: Clock,
        file: Path | None = None,
        fetched: Callable[[str], None] = lambda _: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._issuer, self._discovery_url, self._http, self._clock = issuer, discovery_url, http, clock
        self._file, self._fetched, self._changed = file, fetched, changed
        self._keys: Mapping[str, RSAKey] = {}
        self._jwks_uri: str | None = None
        self._fetching: asyncio.Task[bool] | None = None
        self._wasted_at: datetime | None = None
        self._failing = False
        if file is not None and file.exists():
            with suppress(RubbishError, ValueError, OSError):
                self._keys = usable_keys(json.loads(file.read_bytes()))

    @property
    def ready(self) -> bool:
        """Say whether there is any key to verify with."""
        return bool(self._keys)

    async def key(self, kid: str) -> RSAKey | None:
        """Return the key named `kid`, fetching the set when it is new; None when the issuer does not know it.

        A fetch that did not bring the key asked for starts a cooldown, in which no unknown `kid` causes another one;
        so a flood of made-up names costs one fetch a cooldown, and a real rotation is seen at once.
        Raises TransientError when the issuer does not answer, so that nobody can tell.
        """
        found = self._keys.get(kid)
        if found is None and not self._cooling():
            await self.refresh()
            found = self._keys.get(kid)
            if found is None:
                self._wasted_at = self._clock.now()
        if found is None and self._failing:
            raise TransientError("the issuer does not answer for its keys")
        return found

    def _cooling(self) -> bool:
        if self._wasted_at is None:
            return False
        since = self._clock.now() - self._wasted_at
        return timedelta(0) <= since < COOLDOWN  # a clock set back does not make it longer

    async def refresh(self) -> bool:
        """Fetch the key set, together with whoever else is waiting for it; False when the old keys were kept."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        return await asyncio.shield(self._fetching)

    async def run(self) -> None:
        """Refresh at half-life until cancelled; after a failure as soon as the cooldown is over."""
        while True:
            fresh = await self.refresh()
            await asyncio.sleep(_HALF_LIFE_S if fresh else COOLDOWN.total_seconds())

    async def _fetch(self) -> bool:
        try:
            if self._jwks_uri is None:
                self._jwks_uri = self._reached(await self._read(self._discovery_url))
            document = await self._read(self._jwks_uri)
            keys = usable_keys(document)
        except (RubbishError, TransportError, ValueError, RecursionError) as error:
            self._jwks_uri, self._failing = None, True
            self._fetched("failed")
            _log.warning("the issuer's keys could not be fetched; the old ones stay", error=error)
            return False
        self._failing = False
        self._fetched("fetched")
        self._replace(keys)
        self._store(document)
        return True

    def _replace(self, keys: Mapping[str, RSAKey]) -> None:
        gone = any(kid not in keys or keys[kid].as_dict() != key.as_dict() for kid, key in self._keys.items())
        self._keys = keys
        if gone:
            self._changed()

    def _store(self, document: Any) -> None:
        if self._file is None:
            return
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(document))
            fresh.replace(self._file)
        except OSError as error:
            _log.warning("the issuer's keys could not be kept on disk", error=error)

    def _reached(self, discovery: Any) -> str:
        """Return the address of the keys, on the host that is reached when the issuer has another name outside."""
        if not isinstance(discovery, dict) or discovery.get("issuer") != self._issuer:
            raise RubbishError("the discovery document is of another issuer")
        uri = discovery.get("jwks_uri")
        if not isinstance(uri, str) or not _ADDRESS.fullmatch(uri):
            raise RubbishError("the discovery document has no jwks_uri")
        outside, inside = self._issuer.rstrip("/"), self._discovery_url.removesuffix(_DISCOVERY_PATH)
        return inside + uri.removeprefix(outside) if uri.startswith(outside + "/") else uri

    async def _read(self, url: str) -> Any:
        body = bytearray()
        async with self._http.stream("GET", url, timeout=_TIMEOUT_S, follow_redirects=False) as response:
            if response.status_code != 200:  # noqa: PLR2004
                raise RubbishError(f"HTTP {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise RubbishError("the answer is too large")
        return json.loads(bytes(body))


def usable_keys(document: Any) -> Mapping[str, RSAKey]:
    """Return the signing keys of a JWK set by `kid`: RSA, 2048 bits or more, for RS256 or for no stated algorithm.

    Raises RubbishError when there is none, so that a broken answer never replaces good keys.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    keys = dict(filter(None, map(_usable, entries if isinstance(entries, list) else [])))
    if not keys:
        raise RubbishError("the key set holds no usable key")
    return keys


def _usable(entry: Any) -> tuple[str, RSAKey] | None:
    if not isinstance(entry, dict) or entry.get("kty") != "RSA" or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", ALGORITHM) != ALGORITHM or not entry["kid"]:
        return None
    try:
        if int.from_bytes(urlsafe_b64decode(entry["n"] + "==")).bit_length() < _FEWEST_BITS:
            return None
        key = RSAKey.import_key({part: entry[part] for part in ("kty", "n", "e")})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return entry["kid"], key
