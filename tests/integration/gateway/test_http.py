"""The composed gateway on a real socket, with tokens of the real issuer."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from amparo_common.auth.issuer import app as issuer_app
from amparo_common.http import ServiceClient, service_client
from amparo_common.log.sqlite import SqliteLog
from amparo_common.runtime import serve
from amparo_common.testing.platform import free_offset
from amparo_common.vocabulary.codes import Level
from amparo_gateway import app as gateway_app
from amparo_gateway.settings import GatewaySettings

pytestmark = pytest.mark.anyio

LIST = "{ incidents(first: 5) { edges { node { reference } } } }"
PROBLEM = "application/problem+json"


@dataclass
class Served:
    """The running gateway as its users reach it."""

    http: ServiceClient
    ports: dict[str, int]
    log: SqliteLog
    tokens: dict[str, str] = field(default_factory=dict)

    def url(self, path: str, service: str = "gateway") -> str:
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    async def token(self, user: str) -> str:
        if user not in self.tokens:
            form = {"grant_type": "password", "client_id": "amparo-cli", "username": user, "password": user}
            reply = await self.http.post(self.url("/token", "issuer"), data=form)
            self.tokens[user] = reply.json()["access_token"]
        return self.tokens[user]

    async def post(self, body: Any, *, authorization: str | None = None, **headers: str) -> Any:
        sent = {"content-type": "application/json", **headers}
        if authorization is not None:
            sent["authorization"] = authorization
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(self.url("/graphql"), content=content, headers=sent)

    async def ask(self, user: str, document: str, **variables: Any) -> dict[str, Any]:
        body = {"query": document, "variables": variables}
        reply = await self.post(body, authorization=f"Bearer {await self.token(user)}")
        assert reply.status_code == 200
        return reply.json()


@pytest.fixture(scope="module")
async def served(anyio_backend, tmp_path_factory):
    directory = tmp_path_factory.mktemp("platform")
    settings = GatewaySettings(data_dir=directory, port_offset=free_offset(seed=8080))
    log = await SqliteLog.open(directory / "log")
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with (
        issuer_app.compose(settings) as issuer,
        gateway_app.compose(settings, log=log) as gateway,
        service_client() as http,
    ):
        serving = asyncio.create_task(serve([issuer, gateway], on_ready=ready.set_result, stop=stop))
        yield Served(http=http, ports=dict(await asyncio.wait_for(ready, 10)), log=log)
        stop.set()
        await serving
    await log.close()


async def test_a_triager_sees_what_came_through_the_log(served, invented):
    incident = invented.incident(level=Level.P1)
    await served.log.append([invented.record(incident, key=incident.incident_id)])
    document = "query($id: ID!) { incidentByReport(reportId: $id) { reference level } }"
    async with asyncio.timeout(5):
        while True:
            answer = await served.ask("triager", document, id=str(incident.incident_id))
            if answer["data"]["incidentByReport"]:
                break
            await asyncio.sleep(0.02)
    assert answer == {"data": {"incidentByReport": {"reference": incident.reference, "level": "P1"}}}


@pytest.mark.parametrize(
    ("user", "may"),
    [
        ("agent", True),
        ("triager", True),
        ("supervisor", True),
        ("supervisor2", True),
        ("integrator", True),
        ("partner", False),
        ("auditor", False),
        ("admin", False),
    ],
)
async def test_each_demo_user_may_what_the_table_says(served, user, may):
    answer = await served.ask(user, "{ me { name } " + LIST[2:])
    assert answer["data"]["me"] == {"name": user}
    codes = [error["extensions"]["code"] for error in answer.get("errors", ())]
    assert codes == ([] if may else ["FORBIDDEN"])


async def test_without_a_good_token_there_is_nothing_but_a_401(served):
    token = await served.token("triager")
    head, claims, signature = token.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    elevated = base64.urlsafe_b64encode(b'{"realm_access":{"roles":["admin"]}}').rstrip(b"=").decode()
    bad = [
        None,
        "",
        "Bearer",
        "Bearer garbage",
        f"Basic {base64.b64encode(b'triager:triager').decode()}",
        f"Bearer {head}.{claims}.",
        f"Bearer {unsigned}.{claims}.",
        f"Bearer {head}.{elevated}.{signature}",
        f"Bearer {token[:-4]}AAAA",
    ]
    for authorization in bad:
        reply = await served.post({"query": "{ me { name } }"}, authorization=authorization)
        assert reply.status_code == 401, authorization
        assert reply.headers["content-type"] == PROBLEM
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert reply.json()["type"].startswith("urn:amparo:problem:")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([{"query": "{ me { name } }"}] * 2, 400),
        ([], 400),
        ("{ me { name } }", 400),
        ({}, 400),
        ({"query": None}, 400),
        ({"query": 5}, 400),
        ({"query": "{ me { name } }", "variables": []}, 400),
        ({"query": ""}, 400),
        ({"query": "query A { me { name } } query B { me { name } }", "operationName": "C"}, 400),
        ({"query": "subscription { queueChanged { removed } }"}, 400),
        (b"{not json", 400),
        (b"\xff\xfe", 400),
        (b"", 400),
        (b"[" * 100_000, 400),
        (b'{"query": "' + b"x" * 300_000 + b'"}', 413),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_is_no_graphql_request_is_a_problem(served, body, status):
    reply = await served.post(body, authorization=f"Bearer {await served.token('triager')}")
    assert reply.status_code == status
    assert reply.headers["content-type"] == PROBLEM


async def test_only_json_is_taken(served):
    authorization = f"Bearer {await served.token('triager')}"
    for media in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
    ):
        body = {"query": "{ me { name } }"}
        reply = await served.post(body, authorization=authorization, **{"content-type": media})
        assert reply.status_code == 415, media


async def test_the_address_takes_questions_by_post_only(served):
    authorization = {"authorization": f"Bearer {await served.token('triager')}"}
    for method in ("PUT", "PATCH", "DELETE"):
        reply = await served.http.request(method, served.url("/graphql?query={me{name}}"), headers=authorization)
        assert reply.status_code == 405, method


async def test_a_named_operation_of_several_is_run(served):
    body = {"query": "query A { me { name } } query B { me { subject } }", "operationName": "A"}
    reply = await served.post(body, authorization=f"Bearer {await served.token('triager')}")
    assert reply.json() == {"data": {"me": {"name": "triager"}}}


async def test_probes_and_metrics_answer_without_a_token(served):
    assert (await served.http.get(served.url("/healthz"))).status_code == 200
    assert (await served.http.get(served.url("/readyz"))).status_code == 200
    metrics = (await served.http.get(served.url("/metrics"))).text
    assert "amparo_consumer_lag" in metrics
    assert 'route="/graphql"' in metrics


async def test_an_answer_is_never_kept_by_a_cache(served):
    reply = await served.post({"query": "{ me { name } }"}, authorization=f"Bearer {await served.token('agent')}")
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"
