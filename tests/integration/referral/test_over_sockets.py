"""Over real sockets: the guarded client, a partner of its own, and the demo partner that answers."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from amparo.demo_partner import DemoPartner, create_app as partner_app
from amparo_common import webhooks
from amparo_common.auth.verifier import TokenError
from amparo_common.clock import SystemClock
from amparo_common.http import GuardedClient, service_client
from amparo_common.runtime import Service, serve
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Adapter, ReferralStatus
from amparo_referral import demo
from amparo_referral.adapters.webhook import WebhookAdapter
from amparo_referral.api import create_app
from amparo_referral.delivery import Sender
from amparo_referral.repository import directory as entries
from amparo_referral.tables import ATTEMPT

pytestmark = pytest.mark.anyio


class NoTokens:
    async def verify(self, token: str) -> Any:
        raise TokenError("unknown")


class Receiver:
    """A partner's webhook that answers what it is told, then 204."""

    def __init__(self, statuses: list[int], *, delay_s: float = 0) -> None:
        self.statuses, self.delay_s = statuses, delay_s
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.port = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")[1:]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append((headers, body))
            status = self.statuses.pop(0) if self.statuses else 204
            await asyncio.sleep(self.delay_s)
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{self.port}/amparo"
        finally:
            server.close()
            await server.wait_closed()


@asynccontextmanager
async def sending(world: Any, *, allow: list[tuple[str, int]]) -> AsyncIterator[None]:
    """Run the delivery loop with the guarded client on the machine's own clock."""
    clock = SystemClock()
    world.desk.clock = world.clock = clock
    async with GuardedClient(allow) as client:
        adapter = WebhookAdapter(client, clock=clock, timeout_s=5)
        sender = Sender(world.desk, adapters={Adapter.WEBHOOK: adapter}, telemetry=world.telemetry, chance=lambda: 0.0)
        world.desk.ring_sender = sender.ring
        running = asyncio.create_task(sender.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(probe: Callable[[], Any], *, seconds: float = 10) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := probe()):
            await asyncio.sleep(0.005)
        return found


@pytest.mark.slow
async def test_a_partner_that_answers_500_twice_gets_the_same_signed_message_until_it_takes_it(world: Any) -> None:
    receiver = Receiver([500, 500])
    async with receiver.listening() as address, sending(world, allow=[("127.0.0.1", receiver.port)]):
        await world.routed(address=address)
        canary = "Marzipan Canary"
        case, referral = await world.open(text=f"Told by {canary}")
        await until(lambda: len(receiver.requests) == 3, seconds=30)
        while (await world.of(case))[0].status is not ReferralStatus.DELIVERED:
            await asyncio.sleep(0.01)
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert len({body for _, body in receiver.requests}) == 1
    for headers, body in receiver.requests:
        webhooks.verify([webhooks.secret_bytes(world.secret)], headers=headers, body=body, now=world.clock.now())
        assert headers["content-type"] == "application/cloudevents+json"
    event = json.loads(receiver.requests[0][1])
    assert event["id"] == receiver.requests[0][0]["webhook-id"]
    assert event | {"data": None, "time": None, "id": None} == {
        "specversion": "1.0",
        "id": None,
        "type": "org.amparo.referral.sent.v1",
        "source": "urn:amparo:referral",
        "subject": referral.reference,
        "time": None,
        "datacontenttype": "application/json",
        "data": None,
    }
    assert [row["status_code"] for row in await world.rows(ATTEMPT)] == [500, 500, 204]


async def test_a_partner_that_hangs_up_or_redirects_has_not_taken_it(world: Any) -> None:
    receiver = Receiver([302])
    async with receiver.listening() as address, sending(world, allow=[("127.0.0.1", receiver.port)]):
        await world.routed(address=address)
        await world.open()
        await until(lambda: receiver.requests)
        while not (attempts := await world.rows(ATTEMPT)):
            await asyncio.sleep(0.01)
    assert [(row["outcome"], row["status_code"]) for row in attempts] == [("redirected", 302)]


async def test_an_address_inside_our_own_network_is_never_reached(world: Any) -> None:
    receiver = Receiver([])
    async with receiver.listening() as address, sending(world, allow=[]):
        await world.routed(address=address)
        await world.open()
        async with asyncio.timeout(5):
            while not (attempts := await world.rows(ATTEMPT)):
                await asyncio.sleep(0.01)
    assert receiver.requests == []
    assert attempts[0]["outcome"] == "address_refused"


async def test_a_slow_partner_does_not_hold_up_another_over_sockets(world: Any) -> None:
    slow, quick = Receiver([], delay_s=1.5), Receiver([])
    async with AsyncExitStack() as stack:
        slow_at = await stack.enter_async_context(slow.listening())
        quick_at = await stack.enter_async_context(quick.listening())
        await stack.enter_async_context(sending(world, allow=[("127.0.0.1", slow.port), ("127.0.0.1", quick.port)]))
        held_up = await world.partner("Slow", address=slow_at)
        await world.route(held_up, country="GT", priority=1)
        await world.routed("Quick", address=quick_at)
        for _ in range(6):
            await world.open(country="GT")
        began = time.perf_counter()
        await world.open(country="IS")
        await until(lambda: quick.requests)
        assert time.perf_counter() - began < 1.0


# ---------------------------------------------------------------- with the demo partner


@asynccontextmanager
async def with_demo_partner(world: Any, directory: Path, *, port: int = 0) -> AsyncIterator[DemoPartner]:
    """Run referral's HTTP side (on `port`) and the demo partner on free ports, with the demo's seed."""
    secrets = {one.path: webhooks.secret_bytes(demo.secret_of(one, provider=world.provider)) for one in demo.PARTNERS}
    stop, ports = asyncio.Event(), asyncio.get_running_loop().create_future()
    telemetry = Telemetry("demo_partner")
    async with service_client() as http:
        partner = DemoPartner(directory=directory, secrets=secrets, http=http, clock=SystemClock())
        app = create_app(world.desk, verifier=NoTokens(), telemetry=world.telemetry, readiness=lambda: ())
        services = [
            Service(name="referral", port=port, app=app),
            Service(
                name="demo_partner",
                port=0,
                app=partner_app(partner, desks=secrets, telemetry=telemetry),
                tasks=(partner.run,),
            ),
        ]
        serving = asyncio.create_task(serve(services, on_ready=ports.set_result, stop=stop))
        at = await ports
        world.desk.acknowledge_url = f"http://127.0.0.1:{at['referral']}/v1/acknowledgements"
        pair = ("127.0.0.1", at["demo_partner"])
        await demo.seed(world.desk, pair=pair)
        try:
            async with sending(world, allow=[pair]):
                yield partner
        finally:
            stop.set()
            await serving
            telemetry.close()


async def test_the_demo_partner_checks_takes_once_and_answers(world: Any, tmp_path: Path) -> None:
    async with with_demo_partner(world, tmp_path) as partner:
        case, _ = await world.open()
        began = time.perf_counter()
        while (await world.of(case))[0].status is not ReferralStatus.ACKNOWLEDGED:
            assert time.perf_counter() - began < 5
            await asyncio.sleep(0.002)
        await until(lambda: all(one["answered"] for one in partner.received()))
        took = []
        for _ in range(20):
            began = time.perf_counter()
            case, _ = await world.open()
            while (await world.of(case))[0].status is not ReferralStatus.ACKNOWLEDGED:
                await asyncio.sleep(0.001)
            took.append(time.perf_counter() - began)
        if os.environ.get("AMPARO_SHOW_FIGURES"):
            print(f"event to acknowledgement: median {sorted(took)[10] * 1000:.1f} ms")
    assert sorted(took)[10] < 0.5
    (first, *_) = partner.received()
    assert (first["count"], first["version"], first["desk"]) == (1, 1, "urgent")
    lines = (tmp_path / "demo-partner.jsonl").read_text().splitlines()
    assert len(lines) == 21
    assert json.loads(lines[0])["referral_reference"] == first["referral_reference"]


async def test_the_demo_partner_goes_on_answering_after_a_restart_and_cuts_off_a_torn_line(
    world: Any, tmp_path: Path
) -> None:
    async with with_demo_partner(world, tmp_path):
        case, _ = await world.open()
        while (await world.of(case))[0].status is not ReferralStatus.ACKNOWLEDGED:
            await asyncio.sleep(0.005)
    port = int(world.desk.acknowledge_url.split(":")[2].split("/")[0])
    (tmp_path / "demo-partner-answers.jsonl").unlink()
    with (tmp_path / "demo-partner.jsonl").open("ab") as file:
        file.write(b'{"webhook_id": "torn')
    async with with_demo_partner(world, tmp_path, port=port) as partner:
        await until(lambda: all(one["answered"] for one in partner.received()))
        other, _ = await world.open()
        while (await world.of(other))[0].status is not ReferralStatus.ACKNOWLEDGED:
            await asyncio.sleep(0.005)
    assert len((await world.told())[-1].acknowledgements) == 1
    assert len((tmp_path / "demo-partner.jsonl").read_text().splitlines()) == 2


async def test_the_demo_seed_is_the_same_at_every_start(world: Any) -> None:
    for _ in range(2):
        await demo.seed(world.desk, pair=("127.0.0.1", 8090))
    summaries = await world.database.read(entries.partners)
    assert [one.entry.organisation for one in summaries] == ["demo-hotline"] * 2
    assert {one.entry.id for one in summaries} == {partner.id for partner in demo.PARTNERS}
    assert all(route.priority == 100 and route.country == "*" for one in summaries for route in one.routes)
    assert {len(one.routes) for one in summaries} == {len(demo.DESTINATIONS)}
