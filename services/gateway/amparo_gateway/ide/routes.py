"""The page's addresses: `GET /graphql` outside production, and where the demo's users sign in from it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from amparo_common.errors import Problem, TransientError
from amparo_common.http import ServiceClient, TransportError
from amparo_common.web import json_response
from amparo_gateway.ide import page

_CLIENT: Final = "amparo-cli"


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A demo user's name and password."""

    username: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Explorer:
    """Serves the page; `token_url` is where the demo's users sign in, None outside a demo."""

    def __init__(self, *, http: ServiceClient, token_url: str | None) -> None:
        self._http, self._token_url = http, token_url
        self._page = page(with_sign_in=token_url is not None)

    def mount(self, app: FastAPI) -> None:
        """Add the addresses to `app`."""
        app.add_route("/graphql", self.show, methods=["GET"], include_in_schema=False)
        if self._token_url is not None:
            app.add_route("/graphql/token", self.sign_in, methods=["POST"], include_in_schema=False)

    async def show(self, _: Request) -> Response:
        """Answer the page; a question in the address is not looked at."""
        return HTMLResponse(self._page.html, headers={"content-security-policy": self._page.policy})

    async def sign_in(self, request: Request) -> Response:
        """Pass a name and a password on to the issuer, from which the browser keeps this page apart."""
        try:
            given = msgspec.json.decode(await request.body(), type=SignIn)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(400, "no-sign-in", "The body is no sign-in: `username` and `password`, in JSON.") from error
        form = {"grant_type": "password", "client_id": _CLIENT, "username": given.username, "password": given.password}
        try:
            reply = await self._http.post(str(self._token_url), data=form)
        except TransportError as error:
            raise TransientError("the issuer does not answer") from error
        if reply.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise Problem(429, "slow-down", "Too many attempts at once.", retry_after_s=1)
        if reply.status_code != HTTPStatus.OK:
            raise Problem(401, "not-signed-in", "The name or the password is wrong.")
        answer = reply.json()
        return json_response({name: answer[name] for name in ("access_token", "expires_in")})


def mount_nothing(app: FastAPI) -> None:
    """Let `GET /graphql` answer as an address that does not exist, as it is to be in production."""

    async def absent(_: Request) -> Response:
        raise Problem(404, "not-found", "There is nothing at this address.")

    app.add_route("/graphql", absent, methods=["GET"], include_in_schema=False)
