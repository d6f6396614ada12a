"""What the built-in issuer does, apart from HTTP: sign people and clients in, mint their tokens."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
import secrets
from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from joserfc import jwt

from amparo_common.auth.client_secrets import client_secrets
from amparo_common.auth.issuer.clients import Client, Grant, clients
from amparo_common.auth.issuer.demo import stable_id
from amparo_common.auth.issuer.keys import SigningKeys
from amparo_common.auth.issuer.throttle import Throttle
from amparo_common.auth.issuer.users import FileUsers
from amparo_common.auth.users import User
from amparo_common.clock import Clock

AUDIENCE: Final = "amparo"
TOKEN_LIFE: Final = timedelta(minutes=10)
CODE_LIFE: Final = timedelta(seconds=60)
_MOST_CODES: Final = 1_000
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class GrantError(Exception):
    """A token or a sign-in that is refused, with the error code of RFC 6749."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error, self.description = error, description


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A sign-in that a client asked for and that was judged: the code goes to `redirect_uri` and nowhere else."""

    client: Client
    redirect_uri: str
    challenge: str
    state: str | None = None
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class _Code:
    sign_in: SignIn
    user_id: UUID
    ends: datetime


class Issuer:
    """Mints tokens for the users and clients of one directory. It is reached over loopback only."""

    def __init__(
        self, *, url: str, keys: SigningKeys, users: FileUsers, secrets_of_clients: dict[str, str], clock: Clock
    ) -> None:
        self.url: Final = url
        self.keys: Final = keys
        self.users: Final = users
        self.clients: Final = clients(secrets_of_clients)
        self._clock, self._throttle = clock, Throttle()
        self._codes: OrderedDict[bytes, _Code] = OrderedDict()

    @classmethod
    def open(cls, directory: Path, *, url: str, demo: bool, clock: Clock) -> Issuer:
        """Open the issuer that calls itself `url`, making keys and users at the first time (blocks for a second).

        `demo` adds the demo's users and fixed client secrets. Raises ValueError when `url` is not on loopback.
        """
        if not is_loopback(urlsplit(url).hostname or ""):
            raise ValueError(f"the built-in issuer serves loopback only, not {url}")
        users = FileUsers(directory, demo=demo)
        keys = SigningKeys.open(directory / "signing-keys.json", life=TOKEN_LIFE, now=clock.now())
        return cls(
            url=url.rstrip("/"),
            keys=keys,
            users=users,
            secrets_of_clients=dict(client_secrets(directory, demo=demo)),
            clock=clock,
        )

    # ------------------------------------------------------------ sign-in

    async def check_password(self, name: str, password: str) -> User:
        """Return the user. Raises GrantError, the same for every reason, or TooManyTriesError."""
        with self._throttle.trying(name):
            user = await self.users.signed_in(name, password)
            if user is None:
                await asyncio.sleep(self._throttle.wrong(name, now=self._clock.now()))
                raise GrantError("invalid_grant", "The name or the password is wrong.")
            return user

    def judge_sign_in(self, parameters: dict[str, str]) -> SignIn:
        """Judge the parameters of an authorization request (PKCE with S256 only).

        Raises LookupError when client or redirect_uri is not known, so that nothing may be sent there; GrantError else.
        """
        client = self.clients.get(parameters.get("client_id", ""))
        uri = parameters.get("redirect_uri", "")
        if client is None or Grant.AUTHORIZATION_CODE not in client.grants or not client.may_return_to(uri):
            raise LookupError
        if parameters.get("response_type") != "code":
            raise GrantError("unsupported_response_type", "Only the code flow is offered.")
        challenge = parameters.get("code_challenge", "")
        if parameters.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
            raise GrantError("invalid_request", "PKCE with S256 is required.")
        return SignIn(
            client=client,
            redirect_uri=uri,
            challenge=challenge,
            state=parameters.get("state"),
            nonce=parameters.get("nonce"),
        )

    def grant_code(self, sign_in: SignIn, *, user: User) -> str:
        """Return a code for one exchange within 60 seconds."""
        code = secrets.token_urlsafe(32)
        self._codes[_digest(code)] = _Code(sign_in, user.id, self._clock.now() + CODE_LIFE)
        if len(self._codes) > _MOST_CODES:
            self._codes.popitem(last=False)
        return code

    # ------------------------------------------------------------ tokens

    def client(self, client_id: str, *, secret: str | None, grant: Grant) -> Client:
        """Return the client that proves itself and has `grant`. Raises GrantError."""
        client = self.clients.get(client_id)
        if client is None or not client.proves(secret):
            raise GrantError("invalid_client", "The client is not known, or its secret is wrong.")
        if grant not in client.grants:
            raise GrantError("unauthorized_client", "The client does not have this grant.")
        return client

    def redeem(self, client: Client, *, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        """Exchange a code for tokens; it is spent by the first attempt, right or wrong. Raises GrantError."""
        found = self._codes.pop(_digest(code), None)
        refused = GrantError("invalid_grant", "The code is not valid.")
        if found is None or found.ends <= self._clock.now() or found.sign_in.client.id != client.id:
            raise refused
        if found.sign_in.redirect_uri != redirect_uri or not _VERIFIER.fullmatch(verifier):
            raise refused
        made = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        user = self.users.still_there(found.user_id)
        if not hmac.compare_digest(made, found.sign_in.challenge) or user is None:
            raise refused
        return self.tokens_of_user(user, client=client, openid=True, nonce=found.sign_in.nonce)

    def tokens_of_user(
        self, user: User, *, client: Client, openid: bool = False, nonce: str | None = None
    ) -> dict[str, Any]:
        """Mint for a person: its own roles, whatever the client."""
        claims: dict[str, Any] = {
            "sub": str(user.id),
            "preferred_username": user.name,
            "realm_access": {"roles": sorted(role.lower() for role in user.roles)},
            "countries": list(user.countries),
        }
        if user.organisation is not None:
            claims["organisation"] = user.organisation
        answer = self._answer(claims, client=client)
        if openid:
            identity = {"sub": str(user.id), "preferred_username": user.name}
            answer["scope"] = "openid"
            answer["id_token"] = self._minted(
                identity | ({"nonce": nonce} if nonce else {}), typ="ID", audience=client.id, azp=client.id
            )
        return answer

    def tokens_of_client(self, client: Client) -> dict[str, Any]:
        """Mint for a client itself: its own roles, and no others."""
        claims: dict[str, Any] = {
            "sub": str(stable_id("client", client.id)),
            "preferred_username": f"service-account-{client.id}",
            "client_id": client.id,
            "realm_access": {"roles": sorted(role.lower() for role in client.roles)},
        }
        return self._answer(claims, client=client)

    def _answer(self, claims: dict[str, Any], *, client: Client) -> dict[str, Any]:
        token = self._minted(claims, typ="Bearer", audience=AUDIENCE, azp=client.id)
        return {"access_token": token, "token_type": "Bearer", "expires_in": int(TOKEN_LIFE.total_seconds())}

    def _minted(self, claims: dict[str, Any], *, typ: str, audience: str, azp: str) -> str:
        now = self._clock.now()
        key = self.keys.signing(now=now)
        issued = int(now.timestamp())
        stamped = {
            "iss": self.url,
            "aud": audience,
            "azp": azp,
            "typ": typ,
            "iat": issued,
            "exp": issued + int(TOKEN_LIFE.total_seconds()),
            "jti": str(uuid4()),
            **claims,
        }
        return jwt.encode({"alg": "RS256", "typ": "JWT", "kid": key.kid}, stamped, key.key)


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
