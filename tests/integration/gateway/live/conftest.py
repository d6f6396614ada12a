"""A gateway's socket on loopback, fed with invented events; tokens are known by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from amparo_common.auth.principal import Principal
from amparo_common.auth.verifier import TokenError
from amparo_common.events.types import Event
from amparo_common.runtime import Service, serve
from amparo_gateway import service
from amparo_gateway.budget import Budget
from amparo_gateway.cursors import CursorSeal
from amparo_gateway.documents.trust import Trust
from amparo_gateway.live.admission import Admission, SocketLimits
from amparo_gateway.live.hub import Hub
from amparo_gateway.live.socket import Door
from amparo_gateway.live.streams import Streams
from amparo_gateway.service import Desk


@dataclass
class KnownTokens:
    """Keeps the verifier's contract for tokens that a test made up."""

    principals: dict[str, Principal] = field(default_factory=dict)

    def of(self, principal: Principal) -> str:
        token = f"token-{len(self.principals)}"
        self.principals[token] = principal
        return token

    async def verify(self, token: str) -> Principal:
        if token not in self.principals:
            raise TokenError("malformed")
        return self.principals[token]


@dataclass
class Client:
    """A client of graphql-transport-ws."""

    socket: ClientConnection

    async def send(self, kind: str, **members: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **members}))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return json.loads(await self.socket.recv())

    async def nothing(self, *, seconds: float = 0.15) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.socket.recv()
        except TimeoutError:
            return True
        return False

    async def closed(self) -> tuple[int, str]:
        """Wait until the server closes and return its code and words."""
        async with asyncio.timeout(5):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        return int(self.socket.close_code or 0), str(self.socket.close_reason)

    async def subscribe(self, query: str, *, name: str = "1", **variables: Any) -> None:
        await self.send("subscribe", id=name, payload={"query": query, "variables": variables})

    async def next(self, *, name: str = "1") -> dict[str, Any]:
        message = await self.receive()
        assert (message["type"], message["id"]) == ("next", name), message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]


@dataclass
class Live:
    """A running socket, its hub, and the projection behind."""

    gateway: Any
    hub: Hub
    tokens: KnownTokens
    admission: Admission
    port: int = 0

    async def learn(self, *events: Event) -> None:
        await service.apply(self.gateway.projection, self.gateway.invented.received(*events), hub=self.hub)

    @asynccontextmanager
    async def client(self, principal: Principal | None = None) -> AsyncIterator[Client]:
        """Connect, and sign in when a principal is given."""
        address = f"ws://127.0.0.1:{self.port}/graphql"
        async with connect(address, subprotocols=["graphql-transport-ws"], compression=None) as socket:
            client = Client(socket)
            if principal is not None:
                await client.send("connection_init", payload={"Authorization": f"Bearer {self.tokens.of(principal)}"})
                assert await client.receive() == {"type": "connection_ack"}
            yield client

    async def empty(self) -> None:
        """Wait until no socket has a place."""
        async with asyncio.timeout(5):
            while self.admission.count():
                await asyncio.sleep(0.005)

    async def listeners(self, count: int) -> None:
        """Wait until so many listen."""
        async with asyncio.timeout(5):
            while self.hub.count() != count:
                await asyncio.sleep(0.005)


@pytest.fixture
async def live_with(gateway: Any) -> AsyncIterator[Callable[..., Any]]:
    """Start a socket with limits of one's own; stopped at the end."""
    stop, running = asyncio.Event(), []

    async def start(
        *,
        limits: SocketLimits | None = None,
        most_waiting: int = 1_000,
        budget: Budget | None = None,
        production: bool = False,
    ) -> Live:
        hub, tokens = Hub(most_waiting=most_waiting), KnownTokens()
        desk = Desk(
            own=gateway.own,
            projection=gateway.projection,
            seal=CursorSeal(bytes(64)),
            owners=gateway.owners,
            clock=gateway.clock,
            hub=hub,
            budget=budget,
            trust=Trust(production=production),
        )
        admission = Admission(limits or SocketLimits())
        door = Door(streams=Streams(desk), verifier=tokens, admission=admission, clock=gateway.clock)
        app = FastAPI()

        @app.websocket("/graphql")
        async def taken(socket: WebSocket) -> None:
            await door.take_in(socket)

        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        serving = serve([Service(name="gateway", port=0, app=app)], on_ready=ready.set_result, stop=stop)
        running.append(asyncio.create_task(serving))
        ports = await asyncio.wait_for(ready, 10)
        return Live(gateway, hub, tokens, admission, ports["gateway"])

    yield start
    stop.set()
    await asyncio.gather(*running)


@pytest.fixture
async def live(live_with: Callable[..., Any]) -> Live:
    return await live_with()
