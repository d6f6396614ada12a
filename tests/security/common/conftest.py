"""What the guarded client meets: scripted DNS, partners that answer raw bytes, and a watch on every socket."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import httpcore2
import pytest

_watching: list[list[tuple[Any, ...]]] = []


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _watching:
        _watching[-1].append(arguments[1])


sys.addaudithook(_see)


@pytest.fixture
def connections() -> Iterator[list[tuple[Any, ...]]]:
    """Every address that a socket of this process was connected to, or tried, during the test."""
    _watching.append([])
    yield _watching[-1]
    _watching.pop()


@dataclass
class Dns:
    """Answers each question with the next list of addresses; the last one again when there is no next."""

    answers: list[Sequence[str]] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if not self.answers:
            raise OSError("no such name")
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Nat(httpcore2.AnyIOBackend):
    """Stands for the way out: a public address leads to a server on loopback, others to nowhere."""

    def __init__(self, ways: dict[str, int]) -> None:
        self.ways, self.asked = ways, []

    async def connect_tcp(self, host: str, port: int, *rest: Any) -> httpcore2.AsyncNetworkStream:
        self.asked.append((host, port))
        if host not in self.ways:
            raise httpcore2.ConnectError("no way")
        return await super().connect_tcp("127.0.0.1", self.ways[host], *rest)


OK = b"HTTP/1.1 204 No Content\r\n\r\n"
Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Partner:
    """A partner's server: what it was sent, whole requests, and how many connections came."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


Serving = Callable[..., AbstractAsyncContextManager[Partner]]


@pytest.fixture
def serving() -> Serving:
    @contextlib.asynccontextmanager
    async def serve(answer: bytes | Answering = OK, *, tls: Any = None) -> AsyncIterator[Partner]:
        partner, tasks = Partner(port=0), set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())
            partner.connections += 1
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                    partner.requests.append(head + await reader.readexactly(length))
                    if isinstance(answer, bytes):
                        writer.write(answer)
                        await writer.drain()
                    else:
                        await answer(writer)
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
        partner.port = server.sockets[0].getsockname()[1]
        try:
            yield partner
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return serve


@pytest.fixture
def dns() -> Dns:
    return Dns()


@pytest.fixture
def nat() -> type[Nat]:
    return Nat
