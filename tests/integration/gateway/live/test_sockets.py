"""The protocol, its ends, and what a socket may hold."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from amparo_common.vocabulary.codes import Role
from amparo_gateway.budget import Budget
from amparo_gateway.documents import BY_NAME, document_id
from amparo_gateway.live.admission import SocketLimits

pytestmark = pytest.mark.anyio

QUEUE = "subscription { queueChanged { removed incident { reference } } }"
LONG = "subscription { queueChanged { incident { decision { reasons } } } }"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "no-bearer-token"),
        ({}, "no-bearer-token"),
        ({"Authorization": ""}, "no-bearer-token"),
        ({"Authorization": 7}, "no-bearer-token"),
        ({"Authorization": "Basic dHJpYWdlcjp0cmlhZ2Vy"}, "no-bearer-token"),
        ({"Authorization": "Bearer not-a-token"}, "malformed"),
        ({"token": "Bearer token-0"}, "no-bearer-token"),
    ],
)
async def test_without_a_good_token_the_socket_is_closed(live, caller, payload, reason):
    live.tokens.of(caller(Role.TRIAGER))
    async with live.client() as client:
        await client.send("connection_init", **({"payload": payload} if payload is not None else {}))
        code, words = await client.closed()
    assert code == 4401
    assert words.endswith(reason)


async def test_the_tokens_name_is_read_in_any_capitals(live, caller):
    token = live.tokens.of(caller(Role.TRIAGER))
    async with live.client() as client:
        await client.send("connection_init", payload={"authorization": f"bearer {token}"})
        assert await client.receive() == {"type": "connection_ack"}


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMIN, Role.SERVICE, Role.REPORTER_APP])
async def test_a_role_with_nothing_to_listen_to_is_sent_away(live, caller, role):
    async with live.client() as client:
        token = live.tokens.of(caller(role))
        await client.send("connection_init", payload={"Authorization": f"Bearer {token}"})
        assert (await client.closed())[0] == 4403


async def test_the_socket_ends_with_its_token(live, caller, gateway):
    principal = caller(Role.TRIAGER, expires_at=gateway.clock.now() + timedelta(seconds=0.3))
    async with live.client(principal) as client:
        await client.subscribe(QUEUE)
        await live.listeners(1)
        assert await client.closed() == (4401, "the token has expired")
    await live.listeners(0)


async def test_who_says_nothing_is_closed(live_with):
    live = await live_with(limits=SocketLimits(init_within_s=0.1))
    async with live.client() as client:
        assert (await client.closed())[0] == 4408


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"type": "subscribe", "id": "1", "payload": {"query": QUEUE}}, 4401),
        ({"type": "ping"}, 4401),
        ({"type": "start", "id": "1", "payload": {"query": QUEUE}}, 4400),
    ],
    ids=["subscribe first", "ping first", "the older protocol's word"],
)
async def test_nothing_comes_before_signing_in(live, sent, code):
    async with live.client() as client:
        await client.socket.send(json.dumps(sent))
        assert (await client.closed())[0] == code


@pytest.mark.parametrize("spoken", [None, ["graphql-ws"], ["soap"]])
async def test_only_one_protocol_is_spoken(live, spoken):
    async with connect(f"ws://127.0.0.1:{live.port}/graphql", subprotocols=spoken) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd.code == 4406


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": 1, "payload": {"query": "{a}"}}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "next", "id": "1", "payload": {}}',
        "[" * 5_000,
    ],
)
async def test_what_is_no_message_closes_the_socket(live, caller, text):
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.socket.send(text)
        assert (await client.closed())[0] == 4400


async def test_bytes_are_no_message(live, caller):
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.socket.send(b'{"type": "ping"}')
        assert (await client.closed())[0] == 4400


async def test_a_message_larger_than_any_real_one_is_not_read(live, caller):
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.socket.send(json.dumps({"type": "ping", "payload": {"a": "a" * 70_000}}))
        assert (await client.closed())[0] == 1009


async def test_signing_in_twice_and_an_id_in_use_close_the_socket(live, caller):
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.send("connection_init", payload={})
        assert (await client.closed())[0] == 4429
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(QUEUE)
        await client.subscribe(QUEUE)
        assert (await client.closed())[0] == 4409


async def test_a_ping_is_answered_and_a_pong_is_let_pass(live, caller):
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.send("pong")
        await client.send("ping")
        assert await client.receive() == {"type": "pong"}


async def test_an_id_is_free_again_once_its_subscription_ended(live, invented, caller):
    async with live.client(caller(Role.TRIAGER)) as client:
        for _ in range(3):
            await client.subscribe(QUEUE)
            await live.listeners(1)
            await client.send("complete", id="1")
            await live.listeners(0)
        await client.send("complete", id="never begun")
        await live.learn(invented.incident())
        assert await client.nothing()


async def test_a_socket_takes_so_many_subscriptions_and_no_more(live_with, caller):
    live = await live_with(limits=SocketLimits(subscriptions_per_socket=2))
    async with live.client(caller(Role.TRIAGER)) as client:
        for name in ("1", "2", "3"):
            await client.subscribe(QUEUE, name=name)
        message = await client.receive()
        assert (message["type"], message["id"]) == ("error", "3")
        assert message["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
        assert live.hub.count() == 2


async def test_a_principal_has_so_many_sockets_and_no_more(live_with, caller):
    live = await live_with(limits=SocketLimits(sockets_per_principal=1))
    async with live.client(caller(Role.TRIAGER)), live.client(caller(Role.SUPERVISOR)), live.client() as third:
        token = live.tokens.of(caller(Role.TRIAGER))
        await third.send("connection_init", payload={"Authorization": f"Bearer {token}"})
        assert await third.closed() == (4429, "too many sockets of yours are open")
    async with live.client(caller(Role.TRIAGER)):
        assert live.admission.count() == 1


async def test_strangers_have_so_many_sockets_and_no_more(live_with):
    live = await live_with(limits=SocketLimits(strangers=1))
    async with live.client(), live.client() as second:
        assert (await second.closed())[0] == 4429


async def test_a_listener_that_does_not_read_is_closed_and_holds_no_memory(live_with, invented, caller):
    live = await live_with(most_waiting=10)
    async with live.client(caller(Role.TRIAGER)) as slow, live.client(caller(Role.SUPERVISOR)) as quick:
        for client in (slow, quick):
            await client.subscribe(LONG)
        await live.listeners(2)
        # One batch of more changes than may wait, between which nobody can read.
        await live.learn(*(invented.incident() for _ in range(11)))
        code, words = await slow.closed()
        assert code == 1013
        assert "read the list anew" in words
        await live.listeners(0)


async def test_a_client_that_stops_reading_its_socket_is_cut_off(live_with, invented, caller):
    live = await live_with(limits=SocketLimits(send_within_s=0.2))
    decision = invented.incident().decision
    wordy = msgspec.structs.replace(decision, reasons={"en": ("a long reason " * 4_000,)})
    aliases = " ".join(f"a{n}: decision {{ reasons }}" for n in range(50))
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(f"subscription {{ queueChanged {{ incident {{ {aliases} }} }} }}")
        await live.listeners(1)
        client.socket.transport.pause_reading()
        async with asyncio.timeout(20):
            while live.hub.count():
                await live.learn(invented.incident(decision=wordy))
                await asyncio.sleep(0.01)
        client.socket.transport.abort()
    await live.empty()


async def test_a_client_that_leaves_leaves_nothing_behind(live, caller):
    for _ in range(3):
        async with live.client(caller(Role.TRIAGER)) as client:
            await client.subscribe(QUEUE)
            await live.listeners(1)
        await live.listeners(0)
    await live.empty()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("subscription { queueChanged { removed } } " + " ".join(f"# {n}\n" for n in range(2_600)), "LIMIT_EXCEEDED"),
        ("subscription { queueChanged { " + " ".join(f"a{n}: removed" for n in range(90)) + " } }", "LIMIT_EXCEEDED"),
        ("subscription { __schema { types { name } } }", None),
        ("subscription { queueChanged { removed } referralReceived { id } }", None),
        ("subscription { queueChanged { narrative } }", None),
        ("subscription {", None),
        ("{ me { name } }", "INVALID"),
        ("mutation { claimNextIncident(input: {}) { errors { code } } }", "INVALID"),
        ("subscription($l: [Lane!]) { queueChanged(lanes: [NOWHERE]) { removed } }", None),
    ],
)
async def test_documents_are_held_to_the_limits_of_http_and_only_listen(live, caller, document, code):
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(document)
        message = await client.receive()
        assert message["type"] == "error"
        assert message["payload"][0].get("extensions", {}).get("code") == code
        await client.send("ping")
        assert await client.receive() == {"type": "pong"}
    assert live.hub.count() == 0


async def test_subscribing_costs_the_callers_budget(live_with, caller):
    live = await live_with(budget=Budget(size=250, per_second=0.001))
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(QUEUE, name="1")
        await live.listeners(1)
        for number in range(2, 6):
            await client.subscribe(QUEUE, name=str(number))
        message = await client.receive()
    assert message["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert message["payload"][0]["extensions"]["retryAfter"] > 0


async def test_a_trusted_document_is_subscribed_to_by_its_id(live_with, invented, caller):
    live = await live_with(production=True)
    known = document_id(BY_NAME["queue-changed"])
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(QUEUE, name="own")
        refusal = await client.receive()
        assert refusal["payload"][0]["extensions"]["code"] == "UNTRUSTED_DOCUMENT"
        await client.send("subscribe", id="known", payload={"documentId": known})
        await live.listeners(1)
        incident = invented.incident()
        await live.learn(incident)
        assert (await client.next(name="known"))["queueChanged"]["incident"]["reference"] == incident.reference
