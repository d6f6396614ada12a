"""Every service answers probes, refuses bodies and fails alike; judged over a real socket where the server matters."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import anyio.to_thread
import httpx2
import pytest
from fastapi import Depends, FastAPI, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict, Field

from amparo_common.auth.http import bearer, optional_bearer, require
from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.auth.verifier import TokenError
from amparo_common.errors import FieldError, Problem, Refusal, Refused, TransientError
from amparo_common.runtime import Service, serve
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Role
from amparo_common.web import CLOUD_EVENT, JSON, field_errors, json_response, pointer, service_app

pytestmark = pytest.mark.anyio

SECRET = "what-a-child-wrote"
LIMIT = 10_000


class Victim(BaseModel):
    model_config = ConfigDict(extra="forbid")
    age: int | None = Field(default=None, ge=0, le=120)


class Report(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channel: Literal["web", "app"]
    text: str = Field(min_length=1, max_length=20)
    victim: Victim | None = None
    urls: list[str] = []
    moment: datetime | None = None


class _Verifier:
    """Knows two tokens; keeps the contract of the real one."""

    async def verify(self, token: str) -> Principal:
        if token not in {"agent", "admin"}:
            raise TokenError("signature")
        return Principal(
            subject="1",
            name=token,
            roles=frozenset({Role(token.upper())}),
            expires_at=datetime(2026, 11, 24, tzinfo=UTC),
            token=token,
        )


FAILURES: dict[str, Exception] = {
    "problem": Problem(
        409, "conflict", "Taken.", errors=[FieldError("/a", "is taken")], retry_after_s=3, extra={"b": 1}
    ),
    "refused": Refused(Refusal("NOT_CLAIMED", "Claim it first.", "id"), Refusal("STALE", "It changed.")),
    "transient": TransientError(SECRET),
    "unforeseen": ValueError(SECRET),
    "assertion": AssertionError(SECRET),
}


async def raw(request: Request) -> Response:
    return json_response({"size": len(await request.body())})


def build(telemetry: Telemetry, reasons: list[str], **options: Any) -> FastAPI:
    app = service_app(
        name="intake",
        readiness=lambda: reasons,
        telemetry=telemetry,
        max_body_bytes=LIMIT,
        media_types={"/events": [JSON, CLOUD_EVENT]},
        **options,
    )
    app.state.verifier = _Verifier()
    app.add_route("/events", raw, methods=["POST"])
    app.add_route("/raw", raw, methods=["POST"])

    @app.post("/reports")
    async def reports(report: Report) -> dict[str, str]:
        return {"channel": report.channel}

    @app.get("/fail/{how}")
    async def fail(how: str) -> None:
        raise FAILURES[how]

    @app.get("/me")
    async def me(principal: Annotated[Principal, Depends(bearer)]) -> dict[str, str]:
        return {"name": principal.name}

    @app.get("/maybe")
    async def maybe(principal: Annotated[Principal, Depends(optional_bearer)]) -> dict[str, str]:
        return {"name": principal.name}

    @app.get("/partners")
    async def partners(principal: Annotated[Principal, Depends(require(Permission.MANAGE_PARTNERS))]) -> dict[str, str]:
        return {"name": principal.name}

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(4403)

    return app


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry("intake")
    yield made
    made.close()


@pytest.fixture
def reasons() -> list[str]:
    return []


@pytest.fixture
def app(telemetry: Telemetry, reasons: list[str]) -> FastAPI:
    return build(telemetry, reasons)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://amparo.example.com") as made:
        yield made


def problem(reply: httpx2.Response, *, status: int, slug: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = reply.json()
    assert (body["status"], body["type"]) == (status, f"urn:amparo:problem:{slug}")
    assert body["title"]
    return body


# ------------------------------------------------------------------ probes


async def test_probes_answer(client: httpx2.AsyncClient, reasons: list[str], app: FastAPI) -> None:
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200
    reasons.append("the consumer stopped: too many dead letters")
    body = problem(await client.get("/readyz"), status=503, slug="not-ready")
    assert body["reasons"] == reasons
    app.state.stopping = True
    assert "stopping" in (await client.get("/readyz")).json()["reasons"]
    assert (await client.get("/healthz")).status_code == 200


async def test_metrics_name_routes_by_their_template(client: httpx2.AsyncClient) -> None:
    await client.get(f"/fail/{SECRET}")
    await client.get(f"/{SECRET}")
    await client.post("/raw", json={})
    reply = await client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    assert 'method="GET",route="/fail/{how}",status="500"' in reply.text
    assert 'method="GET",route="other",status="404"' in reply.text
    assert 'method="POST",route="/raw",status="200"' in reply.text
    assert SECRET not in reply.text


# ------------------------------------------------------------------ problems


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("POST", "/nowhere", 404, "not-found"),
        ("GET", "/reports/", 404, "not-found"),
        ("GET", "/reports", 405, "method-not-allowed"),
        ("DELETE", "/healthz", 405, "method-not-allowed"),
        ("OPTIONS", "/reports", 405, "method-not-allowed"),
        ("BREW", "/reports", 405, "method-not-allowed"),
        ("GET", "/docs", 404, "not-found"),
        ("GET", "/openapi.json", 404, "not-found"),
    ],
)
async def test_what_is_not_there_is_a_problem(
    method: str, path: str, status: int, slug: str, client: httpx2.AsyncClient
) -> None:
    problem(await client.request(method, path), status=status, slug=slug)


async def test_a_wrong_method_names_the_right_ones(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/reports")).headers["allow"] == "POST"
    assert (await client.head("/nowhere")).status_code == 404


async def test_a_problem_is_written_whole(client: httpx2.AsyncClient) -> None:
    reply = await client.get("/fail/problem")
    body = problem(reply, status=409, slug="conflict")
    assert body["errors"] == [{"pointer": "/a", "detail": "is taken"}]
    assert body["b"] == 1
    assert reply.headers["retry-after"] == "3"


async def test_refusals_of_a_rule_are_data(client: httpx2.AsyncClient) -> None:
    body = problem(await client.get("/fail/refused"), status=409, slug="refused")
    assert body["refusals"] == [
        {"code": "NOT_CLAIMED", "message": "Claim it first.", "field": "id"},
        {"code": "STALE", "message": "It changed.", "field": None},
    ]


async def test_what_may_work_in_a_moment_says_so(client: httpx2.AsyncClient) -> None:
    reply = await client.get("/fail/transient")
    problem(reply, status=503, slug="unavailable")
    assert reply.headers["retry-after"] == "1"


@pytest.mark.parametrize("how", ["unforeseen", "assertion", "transient"])
async def test_an_exception_never_shows_its_words(
    how: str, client: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = await client.get(f"/fail/{how}")
    assert reply.status_code in {500, 503}
    assert SECRET not in reply.text
    assert len(reply.json()) == 3


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/fail/unforeseen", "/me"])
async def test_every_answer_carries_the_security_headers(path: str, client: httpx2.AsyncClient) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


# ------------------------------------------------------------------ fields

GOOD = {"channel": "web", "text": "short"}
WRONG: dict[str, tuple[Any, list[str]]] = {
    "missing": ({}, ["/channel", "/text"]),
    "null": (GOOD | {"text": None}, ["/text"]),
    "unknown code": (GOOD | {"channel": SECRET}, ["/channel"]),
    "unknown field": (GOOD | {"a/b~c": SECRET}, ["/a~1b~0c"]),
    "nested": (GOOD | {"victim": {"age": -1, "name": SECRET}}, ["/victim/age", "/victim/name"]),
    "a word for a number": (GOOD | {"victim": {"age": SECRET}}, ["/victim/age"]),
    "a list for an object": (GOOD | {"victim": [SECRET]}, ["/victim"]),
    "an entry of a list": (GOOD | {"urls": ["a", 7]}, ["/urls/1"]),
    "text for a list": (GOOD | {"urls": SECRET}, ["/urls"]),
    "too long": (GOOD | {"text": SECRET * 3}, ["/text"]),
    "no moment": (GOOD | {"moment": SECRET}, ["/moment"]),
    "body a list": ([SECRET], [""]),
    "body a word": (SECRET, [""]),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_field_is_pointed_at_without_its_value(name: str, client: httpx2.AsyncClient) -> None:
    body, pointers = WRONG[name]
    reply = await client.post("/reports", json=body)
    found = problem(reply, status=422, slug="invalid-body")
    assert [error["pointer"] for error in found["errors"]] == pointers
    assert all(error["detail"] for error in found["errors"])
    assert SECRET not in reply.text


@pytest.mark.parametrize("body", [b"", b'{"channel":"we', b"\xff\xfe", b"[" * 3000, b'{"text":' + b"9" * 5000 + b"}"])
async def test_a_body_that_is_no_json_is_a_problem(body: bytes, client: httpx2.AsyncClient) -> None:
    reply = await client.post("/reports", content=body, headers={"content-type": JSON})
    assert reply.status_code in {400, 422}
    assert reply.headers["content-type"] == "application/problem+json"


def test_pointers_leave_out_where_a_field_was() -> None:
    assert pointer(("body", "victim", "age")) == "/victim/age"
    assert pointer(("query", "language")) == "/language"
    assert pointer(("body",)) == ""


def test_an_unknown_kind_of_error_says_nothing_of_the_value() -> None:
    (error,) = field_errors([{"type": "brand_new", "loc": ("body", "a"), "msg": SECRET, "input": SECRET, "ctx": {}}])
    assert (error.pointer, error.detail) == ("/a", "is not valid")


# ------------------------------------------------------------------ bodies


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "multipart/form-data; boundary=edge"},
        {"content-type": "image/png"},
        {"content-type": "video/mp4"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json-patch+json"},
        {"content-type": ""},
        {"content-type": JSON, "content-encoding": "gzip"},
        {},
    ],
)
async def test_another_media_type_is_refused_unread(headers: dict[str, str], app: FastAPI) -> None:
    read, sent = [], []

    async def receive() -> dict[str, Any]:
        read.append(len(sent))
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    raw_headers = [(name.encode(), value.encode()) for name, value in ({"content-length": "1"} | headers).items()]
    scope = {"type": "http", "method": "POST", "path": "/raw", "headers": raw_headers, "query_string": b""}
    await app(scope, receive, send)
    assert sent[0]["status"] == 415
    assert json.loads(sent[1]["body"])["type"] == "urn:amparo:problem:media-type"
    assert not [answered for answered in read if answered < 2], "the body was read before the answer"


@pytest.mark.parametrize(
    ("path", "media", "status"),
    [
        ("/raw", "application/json", 200),
        ("/raw", "Application/JSON; charset=UTF-8", 200),
        ("/raw", CLOUD_EVENT, 415),
        ("/events", CLOUD_EVENT, 200),
        ("/events", "application/json", 200),
        ("/events", "text/html", 415),
    ],
)
async def test_a_route_takes_what_it_says(path: str, media: str, status: int, client: httpx2.AsyncClient) -> None:
    assert (await client.post(path, content=b"{}", headers={"content-type": media})).status_code == status


async def test_a_post_without_a_body_needs_no_type(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/raw")).status_code == 200


async def test_the_check_of_media_types_can_be_left_out(telemetry: Telemetry) -> None:
    app = build(telemetry, [], check_media_types=False)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://amparo.example.com") as client:
        assert (await client.post("/raw", content=b"x", headers={"content-type": "image/png"})).status_code == 200


# ------------------------------------------------------------------ callers


async def test_without_a_token_one_is_asked_for(client: httpx2.AsyncClient) -> None:
    reply = await client.get("/me")
    problem(reply, status=401, slug="unauthenticated")
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer bad", "Bearer", "Bearer ", "Basic YTph", "agent", "Token agent"])
@pytest.mark.parametrize("path", ["/me", "/maybe", "/partners"])
async def test_a_bad_token_is_refused_even_where_none_is_needed(
    path: str, header: str, client: httpx2.AsyncClient
) -> None:
    reply = await client.get(path, headers={"authorization": header})
    problem(reply, status=401, slug="invalid-token")
    assert reply.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_two_tokens_are_none(client: httpx2.AsyncClient) -> None:
    reply = await client.get("/me", headers=[("authorization", "Bearer agent"), ("authorization", "Bearer admin")])
    assert reply.status_code == 401


async def test_a_good_token_names_the_caller(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/me", headers={"authorization": "bearer agent"})).json() == {"name": "agent"}
    assert (await client.get("/maybe")).json() == {"name": "anonymous"}


async def test_a_role_without_the_permission_is_forbidden(client: httpx2.AsyncClient) -> None:
    reply = await client.get("/partners", headers={"authorization": "Bearer agent"})
    problem(reply, status=403, slug="forbidden")
    assert (await client.get("/partners", headers={"authorization": "Bearer admin"})).json() == {"name": "admin"}


# ------------------------------------------------------------------ over a socket


@pytest.fixture
async def port(app: FastAPI) -> AsyncIterator[int]:
    ports: dict[str, int] = {}
    stop, up = anyio.Event(), anyio.Event()

    def ready(found: Any) -> None:
        ports.update(found)
        up.set()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: serve([Service(name="intake", port=0, app=app)], on_ready=ready, stop=stop))
        await up.wait()
        yield ports["intake"]
        stop.set()


def sent(port: int, body: Any, *, chunked: bool = False, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/raw", body=body, headers=headers, encode_chunked=chunked)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_over_the_limit_gets_its_answer_while_it_is_still_sent(
    chunked: bool, close: bool, port: int
) -> None:
    def parts() -> Iterator[bytes]:
        yield from (b"a" * 50_000 for _ in range(40))

    headers = {"content-type": JSON} | ({"connection": "close"} if close else {})
    body = parts() if chunked else b"a" * 6_000_000
    more = {"transfer-encoding": "chunked"} if chunked else {}
    status, answer = await anyio.to_thread.run_sync(lambda: sent(port, body, chunked=chunked, **headers, **more))
    assert status == 413
    assert json.loads(answer)["type"] == "urn:amparo:problem:body-too-large"


async def test_a_body_at_the_limit_is_taken(port: int) -> None:
    headers = {"content-type": JSON}
    status, _ = await anyio.to_thread.run_sync(lambda: sent(port, b"a" * LIMIT, **headers))
    assert status == 200
    status, _ = await anyio.to_thread.run_sync(lambda: sent(port, b"a" * (LIMIT + 1), **headers))
    assert status == 413


async def test_the_server_does_not_name_itself(port: int) -> None:
    async with httpx2.AsyncClient() as client:
        reply = await client.get(f"http://127.0.0.1:{port}/healthz")
    assert "server" not in reply.headers
