"""What the command line says to a running platform: sign in, report, ask the graph. All over its public addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Self

from amparo_common.http import TransportError, service_client
from amparo_common.settings import PlatformSettings

GATEWAY, INTAKE, TRIAGE, REFERRAL, ISSUER, DEMO_PARTNER = 8080, 8081, 8082, 8083, 8089, 8090
SERVICE_PORTS: Mapping[str, int] = {"gateway": GATEWAY, "intake": INTAKE, "triage": TRIAGE, "referral": REFERRAL}
CLI_CLIENT = "amparo-cli"
_RENEW_BEFORE_END_S = 30
_OK, _ACCEPTED = 200, 202
#: The walk through a long audit chain takes its time.
_OPERATION_S = 300.0


class PlatformError(Exception):
    """The platform did not answer, or said no; the text is fit for a person.

    `status` is the HTTP status of a no, None when there was no answer or the fault is elsewhere.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class PlatformClient:
    """A caller of one platform. Tokens are kept until shortly before they expire.

    `passwords` are those of users who chose one; a demo user's is its name.
    """

    settings: PlatformSettings
    passwords: Mapping[str, str] = field(default_factory=dict)
    _http: Any = field(default_factory=service_client)
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def url(self, port: int, path: str = "") -> str:
        return f"http://127.0.0.1:{self.settings.port(port)}{path}"

    async def get(self, port: int, path: str) -> tuple[int, str]:
        """Get `path` from the service on `port`; return status and text. Raises PlatformError without an answer."""
        reply = await self._send("GET", self.url(port, path))
        return reply.status_code, reply.text

    async def token(self, user: str) -> str:
        """Sign in as a user. Raises PlatformError when refused."""
        token, good_until = self._tokens.get(user, ("", 0.0))
        if monotonic() < good_until:
            return token
        password = self.passwords.get(user, user)
        form = {"grant_type": "password", "client_id": CLI_CLIENT, "username": user, "password": password}
        reply = await self._send("POST", await self._token_url(), data=form)
        if reply.status_code != _OK:
            raise PlatformError(f"the issuer does not sign {user!r} in (HTTP {reply.status_code})")
        answer = reply.json()
        self._tokens[user] = answer["access_token"], monotonic() + answer["expires_in"] - _RENEW_BEFORE_END_S
        return str(answer["access_token"])

    async def _token_url(self) -> str:
        discovery = self.settings.oidc_discovery_url or f"{self.url(ISSUER)}/.well-known/openid-configuration"
        return str((await self._send("GET", discovery)).json()["token_endpoint"])

    async def report(
        self, body: Mapping[str, Any], *, user: str | None = None, key: str | None = None
    ) -> dict[str, Any]:
        """Send a report through the public door and return its receipt. Raises PlatformError naming fields at fault."""
        headers = {"idempotency-key": key} if key else {}
        if user:
            headers["authorization"] = f"Bearer {await self.token(user)}"
        reply = await self._send("POST", self.url(INTAKE, "/v1/reports"), json=dict(body), headers=headers)
        if reply.status_code != _ACCEPTED:
            raise PlatformError(_in_words(reply.json()))
        return dict(reply.json())

    async def query(self, user: str, document: str, **variables: Any) -> dict[str, Any]:
        """Run a GraphQL document and return its data. Raises PlatformError when it answers with an error."""
        headers = {"authorization": f"Bearer {await self.token(user)}"}
        request = {"query": document, "variables": variables}
        reply = await self._send("POST", self.url(GATEWAY, "/graphql"), json=request, headers=headers)
        answer = reply.json()
        if answer.get("errors"):
            raise PlatformError("; ".join(error["message"] for error in answer["errors"]))
        if "data" not in answer:
            raise PlatformError(_in_words(answer))
        return dict(answer["data"])

    async def call(
        self, method: str, service: str, path: str, *, user: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask one service as `user` and return its JSON. Raises PlatformError when it says no."""
        headers = {"authorization": f"Bearer {await self.token(user)}"}
        parts: dict[str, Any] = {} if body is None else {"json": dict(body)}
        url = self.url_of(service, path)
        reply = await self._send(method, url, headers=headers, timeout=_OPERATION_S, **parts)
        if reply.is_error:
            raise PlatformError(f"{service}: {_said(reply)}", status=reply.status_code)
        return dict(reply.json())

    async def lines(self, service: str, path: str, *, user: str) -> AsyncIterator[bytes]:
        """Yield the body of a GET in pieces. Raises PlatformError when it says no or breaks off."""
        headers = {"authorization": f"Bearer {await self.token(user)}"}
        url = self.url_of(service, path)
        try:
            async with self._http.stream("GET", url, headers=headers, timeout=_OPERATION_S) as reply:
                if reply.is_error:
                    await reply.aread()
                    raise PlatformError(f"{service}: {_said(reply)}", status=reply.status_code)
                async for piece in reply.aiter_bytes():
                    yield piece
        except TransportError as error:
            raise PlatformError(f"{service}: the answer of {url} broke off or never came") from error

    def url_of(self, service: str, path: str = "") -> str:
        """Return the address of a service as the settings have it, on this machine or elsewhere."""
        return f"{getattr(self.settings, f'{service}_url')}{path}"

    async def _send(self, method: str, url: str, **parts: Any) -> Any:
        try:
            return await self._http.request(method, url, **parts)
        except TransportError as error:
            raise PlatformError(f"nobody answers at {url}; is the platform up? (`amparo status`)") from error


def _said(reply: Any) -> str:
    """Put a refusal into words; what is no problem document is named by its status alone."""
    if reply.headers.get("content-type", "").startswith("application/problem+json"):
        problem = reply.json()
        detail = problem.get("detail")
        return f"{_in_words(problem)} {detail or ''}".strip()
    return f"HTTP {reply.status_code}"


def _in_words(problem: Mapping[str, Any]) -> str:
    fields = "; ".join(f"{error['pointer']}: {error['detail']}" for error in problem.get("errors", ()))
    return f"{problem.get('title', 'refused')}{f' ({fields})' if fields else ''}"
