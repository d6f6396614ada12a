"""Tokens, verified locally against the issuer's cached keys."""

from __future__ import annotations

import hashlib
import json
import math
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError

from amparo_common.auth.key_cache import ALGORITHM, KeyCache
from amparo_common.auth.principal import Principal
from amparo_common.clock import Clock
from amparo_common.http import ServiceClient
from amparo_common.settings import CLIENTS
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Role

LONGEST_TOKEN: Final = 8 * 1024
LEEWAY: Final = timedelta(seconds=30)
_CACHED_FOR: Final = timedelta(seconds=60)
_CACHE_SIZE: Final = 10_000
_LONGEST_NAME: Final = 255
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
_HEADER_TYPES: Final = frozenset({None, "JWT", "at+jwt"})
_ROLES: Final = {role.lower(): role for role in Role if role is not Role.ANONYMOUS}


class TokenError(Exception):
    """A token that is not accepted. `reason` is a slug that names the failed check and nothing of the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Verifier:
    """Turns bearer tokens into principals, for tokens of one issuer, one audience and a list of clients.

    Verified tokens are remembered by their SHA-256 for at most 60 s and never past their end, 10 000 of them.
    `keys_file` keeps the issuer's keys over a restart; `run` (a background task) refreshes them at half-life.
    """

    def __init__(
        self,
        issuer: str,
        *,
        discovery_url: str,
        audience: str = "amparo",
        http: ServiceClient,
        clock: Clock,
        clients: Collection[str] = CLIENTS,
        keys_file: Path | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._issuer, self._audience, self._clients, self._clock = issuer, audience, frozenset(clients), clock
        self._verified: OrderedDict[bytes, tuple[Principal, datetime]] = OrderedDict()
        fetches = telemetry.counter("amparo.jwks.fetches") if telemetry else None
        self.keys: Final = KeyCache(
            issuer,
            discovery_url=discovery_url,
            http=http,
            clock=clock,
            file=keys_file,
            fetched=lambda outcome: fetches.add(1, {"outcome": outcome}) if fetches else None,
            changed=self._verified.clear,
        )

    async def run(self) -> None:
        """Keep the issuer's keys fresh until cancelled."""
        await self.keys.run()

    async def verify(self, token: str) -> Principal:
        """Return the caller that `token` speaks for.

        Raises TokenError when any check fails, TransientError while the issuer cannot be asked for an unknown key.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenError("too-long")
        if not token.isascii():
            raise TokenError("malformed")
        digest, now = hashlib.sha256(token.encode()).digest(), self._clock.now()
        known = self._verified.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        principal = self._principal(await self._signed_claims(token), now=self._clock.now(), token=token)
        self._remember(digest, principal, now=now)
        return principal

    def _remember(self, digest: bytes, principal: Principal, *, now: datetime) -> None:
        self._verified[digest] = principal, min(principal.expires_at, now + _CACHED_FOR)
        self._verified.move_to_end(digest)
        if len(self._verified) > _CACHE_SIZE:
            self._verified.popitem(last=False)

    async def _signed_claims(self, token: str) -> Mapping[str, Any]:
        kid = _kid(token)
        key = await self.keys.key(kid)
        if key is None:
            raise TokenError("unknown-key")
        try:
            return jwt.decode(token, key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise TokenError("signature") from error

    def _principal(self, claims: Mapping[str, Any], *, now: datetime, token: str) -> Principal:
        self._check_names(claims)
        expires_at = _check_times(claims, now=now)
        azp, subject = claims["azp"], _text(claims, "sub")
        if subject is None:
            raise TokenError("sub")
        name = _text(claims, "preferred_username") or subject
        roles = _roles(claims)
        if name != f"service-account-{azp}":
            roles -= {Role.SERVICE}  # a service is never a person, whatever somebody granted
        return Principal(
            subject=subject,
            name=name,
            roles=roles,
            organisation=_text(claims, "organisation"),
            countries=_countries(claims),
            azp=azp,
            expires_at=expires_at,
            token=token,
        )

    def _check_names(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self._issuer:
            raise TokenError("iss")
        if self._audience not in audiences:
            raise TokenError("aud")
        if claims.get("typ") != "Bearer":
            raise TokenError("typ")
        azp = claims.get("azp")
        if not isinstance(azp, str) or azp not in self._clients:
            raise TokenError("azp")


def _kid(token: str) -> str:
    """Read the name of the key from the header of a token that nobody verified yet."""
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - header, claims, signature
        raise TokenError("malformed")
    try:
        header = json.loads(urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, RecursionError) as error:
        raise TokenError("malformed") from error
    if not isinstance(header, dict):
        raise TokenError("malformed")
    if header.get("alg") != ALGORITHM:
        raise TokenError("alg")
    if "crit" in header or header.get("typ") not in _HEADER_TYPES:
        raise TokenError("header")
    kid = header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_NAME:
        raise TokenError("kid")
    return kid


def _check_times(claims: Mapping[str, Any], *, now: datetime) -> datetime:
    expires = _moment(claims, "exp")
    if expires is None or expires + LEEWAY <= now:
        raise TokenError("exp")
    for name in ("nbf", "iat"):
        begins = _moment(claims, name)
        if begins is not None and begins - LEEWAY > now:
            raise TokenError(name)
    return expires


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenError(name)
    if not 0 <= value <= _LATEST:
        raise TokenError(name)
    return datetime.fromtimestamp(value, UTC)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable() else None


def _roles(claims: Mapping[str, Any]) -> frozenset[Role]:
    access = claims.get("realm_access")
    names = access.get("roles") if isinstance(access, dict) else None
    held = names if isinstance(names, list) else []
    return frozenset(_ROLES[name] for name in held if isinstance(name, str) and name in _ROLES)


def _countries(claims: Mapping[str, Any]) -> frozenset[str]:
    value = claims.get("countries")
    codes = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(code for code in codes if isinstance(code, str) and code)
