"""The clients of the built-in issuer, and what each may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from amparo_common.auth.issuer.demo import CLIENT_SECRETS
from amparo_common.vocabulary.codes import Code, Role

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
#: Where the console takes the answer of a sign-in; the port is free, as it moves with the platform's offset.
CALLBACK_PATHS: Final = ("/", "/callback", "/sign-in/callback")


class Grant(Code):
    """How a client gets a token; the value on the wire is in lower case."""

    AUTHORIZATION_CODE = "AUTHORIZATION_CODE"
    PASSWORD = "PASSWORD"  # noqa: S105 - the name of a grant
    CLIENT_CREDENTIALS = "CLIENT_CREDENTIALS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client. `roles` are those of its own service account, and all that it can ever mint for itself."""

    id: str
    grants: frozenset[Grant]
    roles: frozenset[Role] = frozenset()
    secret_digest: bytes | None = None
    callback_paths: tuple[str, ...] = ()

    def proves(self, secret: str | None) -> bool:
        """Say whether `secret` is this client's; a public client has none and sends none."""
        if self.secret_digest is None:
            return not secret
        return hmac.compare_digest(_digest(secret or ""), self.secret_digest)

    def may_return_to(self, uri: str) -> bool:
        """Say whether a sign-in may answer to `uri`: http, this machine, any port, one of the exact paths."""
        if not uri.isascii() or not uri.isprintable() or "\\" in uri or " " in uri:
            return False
        try:
            parts = urlsplit(uri)
            port = parts.port
        except ValueError:
            return False
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        exact = f"http://{host}" + (f":{port}" if port is not None else "") + parts.path
        return parts.hostname in LOOPBACK and parts.path in self.callback_paths and uri == exact


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


_ROLES: Final[Mapping[str, Role]] = {
    "amparo-service": Role.SERVICE,
    "amparo-reporter-app": Role.REPORTER_APP,
    "amparo-integrator": Role.INTEGRATOR,
}


def clients(secrets: Mapping[str, str]) -> Mapping[str, Client]:
    """Return every client by id, the confidential ones with their `secrets`."""
    public = (
        Client(
            id="amparo-console",
            grants=frozenset({Grant.AUTHORIZATION_CODE}),
            callback_paths=CALLBACK_PATHS,
        ),
        Client(id="amparo-cli", grants=frozenset({Grant.PASSWORD})),
    )
    confidential = (
        Client(
            id=name,
            grants=frozenset({Grant.CLIENT_CREDENTIALS}),
            roles=frozenset({_ROLES[name]}),
            secret_digest=_digest(secrets[name]),
        )
        for name in CLIENT_SECRETS
    )
    return {client.id: client for client in (*public, *confidential)}
