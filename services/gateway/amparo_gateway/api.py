"""The gateway's HTTP surface: one address for the graph."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from fastapi import FastAPI, Request, Response, WebSocket

from amparo_common.auth.http import bearer
from amparo_common.auth.verifier import Verifier
from amparo_common.errors import Problem
from amparo_common.telemetry import Telemetry
from amparo_common.web import json_response, service_app
from amparo_gateway.live.socket import Door
from amparo_gateway.service import Desk, Question
from amparo_gateway.settings import SERVICE

_decode: Final = msgspec.json.Decoder(Question).decode
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def create_app(
    *, desk: Desk, door: Door, verifier: Verifier, telemetry: Telemetry, readiness: Callable[[], Sequence[str]]
) -> FastAPI:
    """Make the gateway's application. Every question needs a bearer token; an array of questions is refused."""
    app = service_app(name=SERVICE, readiness=readiness, telemetry=telemetry)
    app.state.verifier = verifier

    async def graphql(request: Request) -> Response:
        principal = await bearer(request)
        question = _question(await request.body())
        return json_response(await desk.answer(question, principal=principal, trace_id=_trace_id(request)))

    # A plain route: the hot path pays for no dependency injection.
    app.add_route("/graphql", graphql, methods=["POST"], include_in_schema=False)

    @app.websocket("/graphql")
    async def live(socket: WebSocket) -> None:
        await door.take_in(socket)

    return app


def _question(body: bytes) -> Question:
    try:
        question = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # `from error` keeps the cause for the log; the decoder's words may repeat what was sent.
        raise _no_question() from error
    if question.query is None and question.document_id is None:
        raise _no_question()
    return question


def _no_question() -> Problem:
    detail = "It is a JSON object with `query` or `documentId`, and where needed `variables` and `operationName`."
    return Problem(400, "no-graphql-request", "The body is no GraphQL request.", detail=detail)


def _trace_id(request: Request) -> str:
    """Return the trace that the caller is in (W3C trace context), else a new one."""
    found = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return found[1] if found else secrets.token_hex(16)
