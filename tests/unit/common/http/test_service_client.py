"""The client between services: nothing from the environment, no redirects."""

from __future__ import annotations

import asyncio

import pytest

from amparo_common.http import TransportError, service_client

pytestmark = pytest.mark.anyio


async def test_neither_proxies_nor_redirects_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with server, service_client() as client:
        reply = await client.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x")
    assert reply.status_code == 302
    assert len(seen) == 1


async def test_an_answer_that_does_not_come_is_a_transport_error() -> None:
    async with service_client() as client:
        with pytest.raises(TransportError):
            await client.get("http://127.0.0.1:9/")
