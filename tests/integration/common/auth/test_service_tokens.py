"""A service's own token is renewed before it ends, by one request for all who wait."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from amparo_common.auth.client_secrets import client_secrets
from amparo_common.auth.service_tokens import ServiceTokens
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SetClock
from amparo_common.errors import TransientError
from amparo_common.settings import PlatformSettings
from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio

URL = "http://127.0.0.1:8089"


class _Counted(httpx2.AsyncBaseTransport):
    """Counts requests on their way, and answers itself while the issuer is down."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.count, self.down = inner, 0, False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.count += 1
        await asyncio.sleep(0)
        return httpx2.Response(503) if self.down else await self.inner.handle_async_request(request)


@pytest.fixture
def way(http: httpx2.AsyncClient) -> _Counted:
    http._transport = _Counted(http._transport)
    return http._transport


@pytest.fixture
def tokens(http: httpx2.AsyncClient, way: _Counted, clock: SetClock) -> ServiceTokens:
    return ServiceTokens(
        f"{URL}/token", client_id="amparo-service", client_secret="amparo-service-demo", http=http, clock=clock
    )


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_many_who_wait_share_one_request(tokens: ServiceTokens, way: _Counted, verifier: Verifier) -> None:
    found = set(await asyncio.gather(*(tokens.current() for _ in range(50))))
    assert (len(found), way.count) == (1, 1)
    assert (await verifier.verify(found.pop())).roles == {Role.SERVICE}


async def test_the_token_is_renewed_at_half_of_its_life_without_a_wait(
    tokens: ServiceTokens, way: _Counted, clock: SetClock
) -> None:
    first = await tokens.current()
    clock.move(timedelta(minutes=4, seconds=59))
    assert await tokens.current() == first
    assert way.count == 1
    clock.move(timedelta(seconds=2))
    assert await tokens.current() == first
    await settled()
    assert await tokens.current() != first
    assert way.count == 2


async def test_while_the_issuer_is_down_the_old_token_serves_to_its_end(
    tokens: ServiceTokens, way: _Counted, clock: SetClock
) -> None:
    first = await tokens.current()
    way.down = True
    clock.move(timedelta(minutes=6))
    for _ in range(20):
        assert await tokens.current() == first
        await settled()
    assert way.count == 2
    clock.move(timedelta(minutes=5))
    with pytest.raises(TransientError):
        await tokens.current()
    way.down = False
    assert await tokens.current() != first


async def test_one_who_gives_up_does_not_take_it_from_the_others(tokens: ServiceTokens) -> None:
    hasty, patient = asyncio.create_task(tokens.current()), asyncio.create_task(tokens.current())
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient


@pytest.mark.parametrize("demo", [True, False])
async def test_an_embedded_service_finds_the_issuers_secret(
    demo: bool, http: httpx2.AsyncClient, clock: SetClock, tmp_path: Path
) -> None:
    settings = PlatformSettings(data_dir=tmp_path, demo=demo, oidc_token_url=f"{URL}/token")
    tokens = ServiceTokens.of(settings, http=http, clock=clock)
    expected = client_secrets(tmp_path / "issuer", demo=demo)["amparo-service"]
    assert tokens._form["client_secret"] == expected
    assert (expected == "amparo-service-demo") is demo
