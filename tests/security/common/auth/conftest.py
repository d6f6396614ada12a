"""A forger of tokens and an issuer whose answers a test chooses."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc.jwk import RSAKey

from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SetClock

ISSUER = "http://127.0.0.1:8089"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def rs256(signed: str, *, key: rsa.RSAPrivateKey) -> str:
    return b64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))


@dataclass(frozen=True)
class Forger:
    """Writes tokens as the issuer would, or changed in any part."""

    key: rsa.RSAPrivateKey
    kid: str = "first"

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(NOON.timestamp())
        good = {
            "iss": ISSUER,
            "aud": "amparo",
            "azp": "amparo-cli",
            "typ": "Bearer",
            "sub": "0197c1f0-0000-7000-8000-000000000001",
            "preferred_username": "triager",
            "realm_access": {"roles": ["triager", "offline_access"]},
            "countries": ["BO", "GT"],
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in (good | changed).items() if value is not ...}

    def token(
        self, *, header: Mapping[str, Any] | None = None, key: rsa.RSAPrivateKey | None = None, **changed: Any
    ) -> str:
        return self.raw(json.dumps(self.claims(**changed)).encode(), header=header, key=key)

    def raw(
        self, payload: bytes, *, header: Mapping[str, Any] | None = None, key: rsa.RSAPrivateKey | None = None
    ) -> str:
        written = {"alg": "RS256", "typ": "JWT", "kid": self.kid} | dict(header or {})
        kept = {name: value for name, value in written.items() if value is not ...}
        signed = f"{b64(json.dumps(kept).encode())}.{b64(payload)}"
        return f"{signed}.{rs256(signed, key=key or self.key)}"


def public_jwk(key: rsa.RSAPrivateKey, *, kid: str, **changed: Any) -> dict[str, Any]:
    return {**RSAKey.import_key(key).as_dict(private=False), "kid": kid, "use": "sig", "alg": "RS256", **changed}


@dataclass
class ScriptedIssuer:
    """An ASGI application that serves discovery and keys as told, and counts what is fetched."""

    keys: list[dict[str, Any]]
    discovery: dict[str, Any] = field(default_factory=lambda: {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"})
    status: int = 200
    body: bytes | None = None
    fetches: int = 0
    asked: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.asked.append(f"{dict(scope['headers'])[b'host'].decode()}{path}")
        self.fetches += path == "/jwks"
        answer = {"keys": self.keys} if path == "/jwks" else self.discovery
        body = self.body if self.body is not None else json.dumps(answer).encode()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def other_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def forger(rsa_key: rsa.RSAPrivateKey) -> Forger:
    return Forger(rsa_key)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOON)


@pytest.fixture
def issuer(rsa_key: rsa.RSAPrivateKey) -> ScriptedIssuer:
    return ScriptedIssuer([public_jwk(rsa_key, kid="first")])


@pytest.fixture
async def http(issuer: ScriptedIssuer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(issuer), trust_env=False) as client:
        yield client


@pytest.fixture
def verifier(http: httpx2.AsyncClient, clock: SetClock) -> Verifier:
    return Verifier(ISSUER, discovery_url=f"{ISSUER}/.well-known/openid-configuration", http=http, clock=clock)


@pytest.fixture
def new_jwk() -> Any:
    return public_jwk
