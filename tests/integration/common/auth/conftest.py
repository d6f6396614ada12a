"""A built-in issuer in a directory of its own, reached in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from amparo_common.auth.issuer.app import create_app
from amparo_common.auth.issuer.issuer import Issuer
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SetClock

URL = "http://127.0.0.1:8089"


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 11, 24, 12, tzinfo=UTC))


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with demo users and keys; hashing eight passwords once is enough."""
    directory = tmp_path_factory.mktemp("issuer")
    Issuer.open(directory, url=URL, demo=True, clock=SetClock(datetime(2026, 11, 24, 12, tzinfo=UTC)))
    return directory


@pytest.fixture
def directory(seeded: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "issuer"
    copy.mkdir(mode=0o700)
    for file in seeded.iterdir():
        (copy / file.name).touch(mode=0o600)
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


@pytest.fixture
def issuer(directory: Path, clock: SetClock) -> Issuer:
    return Issuer.open(directory, url=URL, demo=True, clock=clock)


@pytest.fixture
async def http(issuer: Issuer) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(create_app(issuer))
    async with httpx2.AsyncClient(transport=transport, base_url=URL, trust_env=False) as client:
        yield client


@pytest.fixture
def verifier(http: httpx2.AsyncClient, clock: SetClock) -> Verifier:
    return Verifier(URL, discovery_url=f"{URL}/.well-known/openid-configuration", http=http, clock=clock)
