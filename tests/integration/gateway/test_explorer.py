"""The composed gateway over HTTP, in a demonstration and in production: the page, the documents, the budget."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from amparo_common.auth.issuer import app as issuer_app
from amparo_common.http import service_client
from amparo_common.log.sqlite import SqliteLog
from amparo_common.runtime import serve
from amparo_common.testing.platform import free_offset
from amparo_gateway import app as gateway_app
from amparo_gateway.documents import BY_NAME, document_id
from amparo_gateway.settings import GatewaySettings

pytestmark = pytest.mark.anyio

OWN = "{ me { name } }"
KNOWN = document_id(BY_NAME["me"])


class Served:
    """A running gateway as a browser or an integrator reaches it."""

    def __init__(self, http, ports):
        self.http, self._ports, self._tokens = http, ports, {}

    def url(self, path, service="gateway"):
        return f"http://127.0.0.1:{self._ports[service]}{path}"

    async def token(self, user):
        if user not in self._tokens:
            form = {"grant_type": "password", "client_id": "amparo-cli", "username": user, "password": user}
            reply = await self.http.post(self.url("/token", "issuer"), data=form)
            self._tokens[user] = reply.json()["access_token"]
        return self._tokens[user]

    async def ask(self, user, **body):
        headers = {"authorization": f"Bearer {await self.token(user)}"}
        return await self.http.post(self.url("/graphql"), json=body, headers=headers)


async def running(stack, directory, **settings):
    chosen = GatewaySettings(data_dir=directory, port_offset=free_offset(seed=8123), **settings)
    log = await SqliteLog.open(directory / "log")
    stack.push_async_callback(log.close)
    services = [
        await stack.enter_async_context(issuer_app.compose(chosen)),
        await stack.enter_async_context(gateway_app.compose(chosen, log=log)),
    ]
    http = await stack.enter_async_context(service_client())
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(services, on_ready=ready.set_result, stop=stop))

    async def end():
        stop.set()
        await serving

    stack.push_async_callback(end)
    return Served(http, dict(await asyncio.wait_for(ready, 10)))


@pytest.fixture(scope="module")
async def demo(anyio_backend, tmp_path_factory):
    async with AsyncExitStack() as stack:
        yield await running(stack, tmp_path_factory.mktemp("demo"), graph_budget=400, graph_budget_per_second=1)


@pytest.fixture(scope="module")
async def production(anyio_backend, tmp_path_factory):
    async with AsyncExitStack() as stack:
        yield await running(stack, tmp_path_factory.mktemp("production"), environment="production")


def codes(reply):
    return [error["extensions"]["code"] for error in reply.json().get("errors", ())]


async def test_the_page_is_served_outside_production_without_a_token(demo):
    reply = await demo.http.get(demo.url("/graphql"))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'sha256-" in reply.headers["content-security-policy"]
    assert reply.headers["x-frame-options"] == "DENY"
    assert 'id="username"' in reply.text


async def test_a_question_in_the_address_is_not_answered(demo):
    headers = {"authorization": f"Bearer {await demo.token('auditor')}"}
    reply = await demo.http.get(demo.url("/graphql?query={me{name}}"), headers=headers)
    assert reply.headers["content-type"].startswith("text/html")
    assert '"data"' not in reply.text


async def test_a_demo_user_signs_in_from_the_page(demo):
    reply = await demo.http.post(demo.url("/graphql/token"), json={"username": "agent", "password": "agent"})
    assert reply.status_code == 200
    assert set(reply.json()) == {"access_token", "expires_in"}
    headers = {"authorization": f"Bearer {reply.json()['access_token']}"}
    answer = await demo.http.post(demo.url("/graphql"), json={"query": OWN}, headers=headers)
    assert answer.json() == {"data": {"me": {"name": "agent"}}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "agent", "password": "wrong"}, 401),
        ({"username": "agent"}, 400),
        ({"username": "agent", "password": "a" * 300}, 400),
        ({"username": "agent", "password": "agent", "grant_type": "client_credentials"}, 400),
        ([], 400),
    ],
)
async def test_a_wrong_sign_in_is_a_problem(demo, body, status):
    reply = await demo.http.post(demo.url("/graphql/token"), json=body)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert "access_token" not in reply.text


async def test_production_has_neither_page_nor_sign_in(production):
    for method, path in (("GET", "/graphql"), ("POST", "/graphql/token")):
        body = {"username": "agent", "password": "agent"} if method == "POST" else None
        reply = await production.http.request(method, production.url(path), json=body)
        assert reply.status_code == 404, path
        assert reply.json()["type"] == "urn:amparo:problem:not-found"


@pytest.mark.parametrize(
    ("user", "may"),
    [
        ("supervisor", True),
        ("integrator", True),
        ("agent", False),
        ("triager", False),
        ("partner", False),
        ("auditor", False),
        ("admin", False),
    ],
)
async def test_production_runs_trusted_documents_for_all_and_others_for_two_roles(production, user, may):
    own = await production.ask(user, query=OWN)
    assert own.status_code == 200
    assert codes(own) == ([] if may else ["UNTRUSTED_DOCUMENT"])
    assert own.json()["data"] == ({"me": {"name": user}} if may else None)
    known = await production.ask(user, documentId=KNOWN)
    assert known.json()["data"]["me"]["name"] == user


async def test_an_unknown_id_is_said_to_be_one(production):
    reply = await production.ask("supervisor", documentId="0" * 64)
    assert codes(reply) == ["UNKNOWN_DOCUMENT"]
    assert reply.json()["data"] is None


async def test_a_subscription_is_not_answered_over_http(demo):
    reply = await demo.ask("supervisor", query="subscription { queueChanged { removed } }")
    assert reply.status_code == 400
    assert reply.json()["type"] == "urn:amparo:problem:no-operation"


async def test_an_array_of_questions_is_refused(demo):
    headers = {"authorization": f"Bearer {await demo.token('supervisor')}"}
    reply = await demo.http.post(demo.url("/graphql"), json=[{"query": OWN}] * 2, headers=headers)
    assert reply.status_code == 400
    assert "data" not in reply.json()


async def test_who_spends_its_budget_is_told_when_to_ask_again_and_nobody_else_is(demo):
    page = "{ incidents(first: 30) { edges { node { id reference level } } } }"
    assert codes(await demo.ask("triager", query=page)) == []
    refused = await demo.ask("triager", query=page)
    (error,) = refused.json()["errors"]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert 1 <= error["extensions"]["retryAfter"] <= 400
    assert refused.json()["data"] is None
    assert codes(await demo.ask("supervisor2", query=page)) == []
