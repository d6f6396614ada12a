"""The built-in issuer over HTTP, and its composition."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus, urlencode

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from amparo_common.auth.issuer import page
from amparo_common.auth.issuer.clients import Client, Grant
from amparo_common.auth.issuer.issuer import GrantError, Issuer, SignIn, is_loopback
from amparo_common.auth.issuer.throttle import TooManyTriesError
from amparo_common.clock import SystemClock
from amparo_common.errors import Problem
from amparo_common.runtime import Service
from amparo_common.settings import DISCOVERY_PATH, PORTS, PlatformSettings
from amparo_common.telemetry import Telemetry
from amparo_common.web import FORM, json_response, service_app

NAME: Final = "issuer"
_MOST_BYTES: Final = 16 * 1024
_MOST_FIELDS: Final = 20
_LONGEST_VALUE: Final = 1_024
_ASKED: Final[tuple[str, ...]] = (
    "client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
)  # fmt: skip
_PORT: Final = re.compile(r":\d+$")


@asynccontextmanager
async def compose(settings: PlatformSettings) -> AsyncIterator[Service]:
    """Open the issuer under `settings.data_dir / "issuer"`. Raises ValueError when it would be reached from outside."""
    if not is_loopback(settings.host):
        raise ValueError(f"the built-in issuer serves loopback only, not {settings.host}")
    port = settings.port(PORTS[NAME])
    issuer = await asyncio.to_thread(
        Issuer.open,
        settings.data_dir / "issuer",
        url=f"http://127.0.0.1:{port}",
        demo=settings.demo,
        clock=SystemClock(),
    )
    telemetry = Telemetry(NAME)
    try:
        yield Service(name=NAME, port=port, app=create_app(issuer, telemetry=telemetry), telemetry=telemetry)
    finally:
        telemetry.close()


def create_app(issuer: Issuer, *, telemetry: Telemetry | None = None) -> FastAPI:
    """Make the issuer's application: discovery, keys, `/token`, and the sign-in page at `/authorize`."""
    app = service_app(
        name=NAME,
        readiness=list,
        telemetry=telemetry or Telemetry(NAME),
        max_body_bytes=_MOST_BYTES,
        media_types={"/token": [FORM], "/authorize": [FORM]},
    )
    endpoints = _Endpoints(issuer)
    app.add_route(DISCOVERY_PATH, endpoints.discovery, methods=["GET"])
    app.add_route("/jwks", endpoints.jwks, methods=["GET"])
    app.add_route("/token", endpoints.token, methods=["POST"])
    app.add_route("/authorize", endpoints.ask, methods=["GET"])
    app.add_route("/authorize", endpoints.signed, methods=["POST"])
    return app


class _Endpoints:
    """The issuer's endpoints. All of them refuse a request that names another host (DNS rebinding)."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    async def discovery(self, request: Request) -> Response:
        _local(request)
        url = self._issuer.url
        return json_response(
            {
                "issuer": url,
                "authorization_endpoint": f"{url}/authorize",
                "token_endpoint": f"{url}/token",
                "jwks_uri": f"{url}/jwks",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": [grant.lower() for grant in Grant],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid"],
                "claims_supported": ["sub", "preferred_username", "realm_access", "countries", "organisation"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
                "ui_locales_supported": ["en", "es", "fr"],
            }
        )

    async def jwks(self, request: Request) -> Response:
        _local(request)
        return json_response({"keys": self._issuer.keys.public()})

    async def token(self, request: Request) -> Response:
        _local(request)
        try:
            return json_response(await self._granted(request), headers={"pragma": "no-cache"})
        except TooManyTriesError:
            return _oauth_error(429, "slow_down", "Too many attempts at once.", {"retry-after": "1"})
        except GrantError as error:
            status = 401 if error.error == "invalid_client" else 400
            challenge = {"www-authenticate": 'Basic realm="amparo"'} if status == 401 else {}  # noqa: PLR2004
            return _oauth_error(status, error.error, error.description, challenge)

    async def _granted(self, request: Request) -> dict[str, Any]:
        form = await _form(request)
        try:
            grant = Grant(form.get("grant_type", "").upper())
        except ValueError:
            raise GrantError("unsupported_grant_type", "This grant is not offered.") from None
        client = self._client(request, form, grant=grant)
        openid = "openid" in form.get("scope", "").split()
        if grant is Grant.CLIENT_CREDENTIALS:
            return self._issuer.tokens_of_client(client)
        if grant is Grant.PASSWORD:
            user = await self._issuer.check_password(_field(form, "username"), _field(form, "password"))
            return self._issuer.tokens_of_user(user, client=client, openid=openid)
        return self._issuer.redeem(
            client,
            code=_field(form, "code"),
            redirect_uri=_field(form, "redirect_uri"),
            verifier=_field(form, "code_verifier"),
        )

    def _client(self, request: Request, form: Mapping[str, str], *, grant: Grant) -> Client:
        basic = _basic(request.headers.get("authorization"))
        if basic is not None and "client_secret" in form:
            raise GrantError("invalid_request", "The client proves itself in two ways at once.")
        client_id, secret = basic or (form.get("client_id", ""), form.get("client_secret"))
        return self._issuer.client(client_id, secret=secret, grant=grant)

    async def ask(self, request: Request) -> Response:
        """Show the form for a request that was judged."""
        _local(request)
        try:
            parameters = _parameters(request.url.query)
            sign_in = self._issuer.judge_sign_in(parameters)
        except (LookupError, GrantError) as error:
            return self._not_asked(request, error, query=request.url.query)
        return _form_page(request, parameters, sign_in=sign_in)

    async def signed(self, request: Request) -> Response:
        """Take the form; the request it carries is judged again."""
        _local(request)
        parameters: dict[str, str] = {}
        try:
            form = await _form(request)
            parameters = {name: form[name] for name in _ASKED if name in form}
            sign_in = self._issuer.judge_sign_in(parameters)
        except (LookupError, GrantError) as error:
            return self._not_asked(request, error, query=urlencode(parameters))
        name = form.get("username", "").strip()
        try:
            user = await self._issuer.check_password(name, form.get("password", ""))
        except (GrantError, TooManyTriesError) as error:
            wrong = "busy" if isinstance(error, TooManyTriesError) else "wrong"
            return _form_page(request, parameters, sign_in=sign_in, name=name, wrong=wrong)
        code = self._issuer.grant_code(sign_in, user=user)
        return self._back(sign_in.redirect_uri, {"code": code}, state=sign_in.state)

    def _not_asked(self, request: Request, error: Exception, *, query: str) -> Response:
        """Tell the client what is wrong, or the person when the client's address cannot be trusted."""
        if isinstance(error, GrantError) and error.error != "invalid_form":
            parameters = _parameters(query)
            answer = {"error": error.error, "error_description": error.description}
            return self._back(parameters["redirect_uri"], answer, state=parameters.get("state"))
        language = page.language(request.headers.get("accept-language", ""))
        headers = {"content-security-policy": page.policy()}
        return HTMLResponse(page.broken_link(language=language), status_code=400, headers=headers)

    def _back(self, uri: str, answer: dict[str, str], *, state: str | None) -> Response:
        query = urlencode(answer | ({"state": state} if state is not None else {}) | {"iss": self._issuer.url})
        return Response(status_code=303, headers={"location": f"{uri}?{query}"})


def _form_page(
    request: Request, parameters: Mapping[str, str], *, sign_in: SignIn, name: str = "", wrong: str | None = None
) -> Response:
    language = page.language(request.headers.get("accept-language", ""))
    asked = {key: value for key, value in parameters.items() if key in _ASKED}
    headers = {"content-security-policy": page.policy(redirect_uri=sign_in.redirect_uri)}
    status = {None: 200, "wrong": 400, "busy": 429}[wrong]
    return HTMLResponse(page.sign_in(asked, language=language, name=name, wrong=wrong), status, headers=headers)


def _local(request: Request) -> None:
    host = _PORT.sub("", request.headers.get("host", "")).strip("[]").lower()
    if not is_loopback(host):
        raise Problem(421, "misdirected", "This issuer serves its own machine only.")


async def _form(request: Request) -> dict[str, str]:
    body = await request.body()
    try:
        return _parameters(body.decode())
    except UnicodeDecodeError:
        raise GrantError("invalid_form", "The form is not UTF-8.") from None


def _parameters(text: str) -> dict[str, str]:
    """Parse form-encoded text; a field that stands twice or is overlong is refused (RFC 6749, 3.1)."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise GrantError("invalid_form", "The request cannot be read.") from None
    parsed = dict(pairs)
    if len(parsed) != len(pairs) or any(len(value) > _LONGEST_VALUE for _, value in pairs):
        raise GrantError("invalid_form", "A field stands twice or is too long.")
    return parsed


def _field(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise GrantError("invalid_request", f"{name} is missing.")
    return form[name]


def _basic(header: str | None) -> tuple[str, str] | None:
    if header is None:
        return None
    scheme, _, credentials = header.partition(" ")
    try:
        name, colon, secret = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        name, colon, secret = "", "", ""
    if scheme.lower() != "basic" or not colon:
        raise GrantError("invalid_client", "The authorization header is no Basic one.")
    return unquote_plus(name), unquote_plus(secret)


def _oauth_error(status: int, error: str, description: str, headers: Mapping[str, str]) -> Response:
    shown = "invalid_request" if error == "invalid_form" else error
    return json_response({"error": shown, "error_description": description}, status=status, headers=headers)
