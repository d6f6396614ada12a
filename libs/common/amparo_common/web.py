"""What every HTTP service answers alike: probes, metrics, problems, limits on bodies, security headers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amparo_common.auth.verifier import TokenError
from amparo_common.errors import FieldError, Problem, Refused, TransientError
from amparo_common.telemetry import Telemetry

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
CLOUD_EVENT: Final = "application/cloudevents+json"
PROBLEM: Final = "application/problem+json"
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SECURITY_HEADERS: Final = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
)
_TITLES: Final = {
    400: ("bad-request", "The request could not be read."),
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not take that method."),
    413: ("body-too-large", "The body is larger than this address takes."),
    415: ("media-type", "This address takes no such media type."),
}
_log = structlog.get_logger()
_encode = msgspec.json.Encoder(enc_hook=str).encode


def service_app(
    *,
    name: str,
    readiness: Callable[[], Sequence[str]],
    telemetry: Telemetry,
    max_body_bytes: int = 256 * 1024,
    docs: bool = False,
    media_types: Mapping[str, Iterable[str]] | None = None,
    check_media_types: bool = True,
) -> FastAPI:
    """Make the application of a service with `/healthz`, `/readyz`, `/metrics` and the platform's way to fail.

    `readiness` returns why the service is not ready, nothing when it is. A body is taken as JSON only; `media_types`
    names paths that take others. Bodies of other types, encoded or larger than `max_body_bytes` are refused unread.
    `app.state.stopping` turns `/readyz` to 503; `app.state.verifier` is for `auth/http.py`.
    """
    app = FastAPI(
        title=f"Amparo {name}",
        docs_url="/docs" if docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if docs else None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers=_handlers(telemetry),
    )
    app.state.stopping = False
    taken = {path: frozenset(types) for path, types in (media_types or {}).items()}
    # The last added is the outermost.
    app.add_middleware(_BodyGate, max_bytes=max_body_bytes, media_types=taken if check_media_types else None)
    app.add_middleware(_Edge, telemetry=telemetry)
    _add_probes(app, readiness=readiness, telemetry=telemetry)
    return app


def _add_probes(app: FastAPI, *, readiness: Callable[[], Sequence[str]], telemetry: Telemetry) -> None:
    async def health(_: Request) -> Response:
        return json_response({"status": "alive"})

    async def ready(_: Request) -> Response:
        reasons = [*(["stopping"] if app.state.stopping else []), *readiness()]
        if not reasons:
            return json_response({"status": "ready"})
        problem = Problem(503, "not-ready", "This service is not ready.", extra={"reasons": reasons})
        return problem_response(problem)

    async def metrics(_: Request) -> Response:
        return Response(telemetry.prometheus(), headers={"content-type": telemetry.content_type})

    for path, endpoint in (("/healthz", health), ("/readyz", ready), ("/metrics", metrics)):
        app.add_route(path, endpoint, methods=["GET"], include_in_schema=False)


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer `body` (JSON types, msgspec structs, dataclasses) as JSON."""
    return Response(_encode(body), status_code=status, headers={"content-type": JSON, **(headers or {})})


def problem_response(problem: Problem, *, headers: Mapping[str, str] | None = None) -> Response:
    """Answer `problem` as RFC 9457 has it, with `retry-after` and `www-authenticate` where they belong."""
    sent = {"content-type": PROBLEM, **(headers or {})}
    if problem.retry_after_s is not None:
        sent["retry-after"] = str(problem.retry_after_s)
    if problem.status == 401:  # noqa: PLR2004 - RFC 9110 asks for the challenge with this status
        sent.setdefault("www-authenticate", "Bearer")
    return Response(_encode(problem.body()), status_code=problem.status, headers=sent)


# --------------------------------------------------------------------- errors


def pointer(loc: Sequence[str | int]) -> str:
    """Write pydantic's `loc` as an RFC 6901 pointer; its first part (body, query, path, header) is left out."""
    parts = [
        str(part).replace("~", "~0").replace("/", "~1") for part in loc[1:] if not str(part).startswith("function-")
    ]
    return "".join(f"/{part}" for part in parts)


#: pydantic's error types in words that never repeat what was sent (some of pydantic's own do).
_WORDS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "json_invalid": "is no valid JSON",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the form that is asked for",
    "string_unicode": "must be valid Unicode",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "value_error": "{error}",
}
_WORDS_BY_PREFIX: Final[Mapping[str, str]] = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a number",
    "bool": "must be true or false",
    "list": "must be a list",
    "tuple": "must be a list",
    "set": "must be a list",
    "dict": "must be an object",
    "model": "must be an object",
    "uuid": "must be a UUID",
    "url": "must be a web address",
    "timezone": "must be a time with its zone, as RFC 3339 has it",
    "datetime": "must be a time as RFC 3339 has it",
    "date": "must be a date",
    "ip": "must be an IP address",
}


def field_errors(errors: Sequence[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """Turn pydantic's errors into pointers and words, without the values that were sent."""
    return tuple(FieldError(pointer=_place(error), detail=_words(error)) for error in errors)


def _place(error: Mapping[str, Any]) -> str:
    return "" if error["type"] == "json_invalid" else pointer(error["loc"])


def _words(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    words = _WORDS.get(kind) or _WORDS_BY_PREFIX.get(kind.partition("_")[0], "is not valid")
    try:
        return words.format_map(error.get("ctx") or {})
    except KeyError:
        return "is not valid"


def invalid_body(errors: Sequence[FieldError]) -> Problem:
    """Make the 422 that names every wrong field."""
    return Problem(422, "invalid-body", "Some fields are missing or wrong.", errors=errors)


def refused_problem(refused: Refused) -> Problem:
    """Make the 409 that carries every refusal as `refusals: [{code, message, field}]`, for the gateway to pass on."""
    refusals = [{"code": r.code, "message": r.message, "field": r.field} for r in refused.refusals]
    return Problem(409, "refused", "A rule does not allow this now.", extra={"refusals": refusals})


_Handler = Callable[[Any, Any], Any]


def _handlers(telemetry: Telemetry) -> dict[int | type[Exception], _Handler]:
    refused_requests = telemetry.counter("amparo.requests.refused")

    def answer(problem: Problem, *, headers: Mapping[str, str] | None = None) -> Response:
        refused_requests.add(1, {"slug": problem.slug})
        return problem_response(problem, headers=headers)

    async def on_problem(_: Request, problem: Problem) -> Response:
        return answer(problem)

    async def on_refused(_: Request, refused: Refused) -> Response:
        return answer(refused_problem(refused))

    async def on_token(_: Request, error: TokenError) -> Response:
        telemetry.counter("amparo.tokens.refused").add(1, {"reason": error.reason})
        problem = Problem(401, "invalid-token", "The bearer token is not accepted.", detail=error.reason)
        return answer(problem, headers={"www-authenticate": 'Bearer error="invalid_token"'})

    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        return answer(invalid_body(field_errors(error.errors())))

    async def on_transient(request: Request, error: TransientError) -> Response:
        _log.warning("a request met something that does not answer", error=error, method=request.method)
        return answer(Problem(503, "unavailable", "This is not possible at the moment.", retry_after_s=1))

    async def on_http(_: Request, error: HTTPException) -> Response:
        slug, title = _TITLES.get(error.status_code, ("refused", "The request was refused."))
        return answer(Problem(error.status_code, slug, title), headers=error.headers)

    return {
        Problem: on_problem,
        Refused: on_refused,
        TokenError: on_token,
        RequestValidationError: on_invalid,
        TransientError: on_transient,
        HTTPException: on_http,
    }


# --------------------------------------------------------------------- middleware


class _Edge:
    """The outermost layer: security headers, the duration metric, and a 500 without content for the unforeseen."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._duration = telemetry.histogram("amparo.request.duration")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS:
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception as error:
            _log.exception("a request failed", exc_info=error, method=scope["method"], route=_route(scope))
            if status:
                raise  # the answer has begun: only cutting the connection tells the client
            problem = Problem(500, "internal", "Something went wrong on our side.")
            await problem_response(problem)(scope, receive, guarded)
        finally:
            labels = {"route": _route(scope), "method": _method(scope), "status": str(status)}
            self._duration.record(time.perf_counter() - began, labels)


def _route(scope: Scope) -> str:
    """Name the route by its template, so that the metric never holds what a client wrote into an address."""
    route, endpoint = scope.get("route"), scope.get("endpoint")
    if route is None and endpoint is not None:  # a plain route of starlette tells its endpoint only
        same = [one for one in scope["app"].routes if getattr(one, "endpoint", None) == endpoint]
        route = next((one for one in same if one.path_regex.match(scope["path"])), None)
    return str(getattr(route, "path", "other"))


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} else "other"


class _TooLargeError(HTTPException):
    """Raised inside the reading of a body, where FastAPI lets only its own exceptions pass."""

    def __init__(self) -> None:
        super().__init__(413)


class _BodyGate:
    """Refuses media, encoded and oversized bodies: by their headers before a byte is read, by count while reading."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, media_types: Mapping[str, frozenset[str]] | None) -> None:
        self._app, self._max_bytes, self._media_types = app, max_bytes, media_types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if status := self._refused(scope, headers):
            slug, title = _TITLES[status]
            await problem_response(Problem(status, slug, title))(scope, receive, _lingering(receive, send))
            return
        if "transfer-encoding" in headers:
            send = _lingering(receive, send, only_with=413)
        await self._app(scope, self._counting(receive), send)

    def _refused(self, scope: Scope, headers: Headers) -> int | None:
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._max_bytes:
            return 413
        if self._media_types is None or scope["method"] in _BODILESS:
            return None
        has_body = length not in {"", "0"} or "transfer-encoding" in headers
        media = headers.get("content-type")
        if media is None and not has_body:
            return None
        if headers.get("content-encoding", "identity") != "identity":
            return 415
        taken = self._media_types.get(scope["path"], _ONLY_JSON)
        return None if _essence(media or "") in taken else 415

    def _counting(self, receive: Receive) -> Receive:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise _TooLargeError
            return message

        return counted


def _lingering(receive: Receive, send: Send, *, only_with: int | None = None) -> Send:
    """Send the whole answer, then throw away what the client is still sending, and only then end.

    A connection that is closed while bytes arrive is reset, and the reset can overtake the answer. With `only_with`
    answers of other statuses end as they do.
    """
    status = None

    async def finish(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        body = message["type"] == "http.response.body"
        if not body or message.get("more_body") or (only_with is not None and status != only_with):
            await send(message)
            return
        await send({**message, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await _discard(receive)
        await send({"type": "http.response.body", "body": b""})

    return finish


async def _discard(receive: Receive) -> None:
    discarded = 0
    while discarded < _LINGER_BYTES:
        message = await receive()
        discarded += len(message.get("body", b""))
        if not message.get("more_body"):
            return


_LINGER_S: Final = 1.0
_LINGER_BYTES: Final = 8 * 1024 * 1024
_ONLY_JSON: Final = frozenset({JSON})


def _essence(media: str) -> str:
    """Return the type and subtype of a content type in lower case; nothing when its charset is not UTF-8."""
    essence, *parameters = [part.strip().lower() for part in media.split(";")]
    charsets = [part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")]
    return essence if all(charset in {"utf-8", "utf8"} for charset in charsets) else ""
