"""A real database and a real log for each test, in files that go with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations

from amparo_common import faults
from amparo_common.clock import SetClock
from amparo_common.db.common_schema import create_common_tables
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.types import ReportsErased
from amparo_common.log.sqlite import SqliteLog
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Lane

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    faults.load("")
    yield
    faults.load("")


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(tmp_path / "triage.db", service="triage")
    await opened.change_schema(
        lambda connection: create_common_tables(Operations(MigrationContext.configure(connection)))
    )
    yield opened
    await opened.close()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(tmp_path / "log")
    yield opened
    await opened.close()


@pytest.fixture
def outgoing() -> Callable[..., Outgoing]:
    def make(*, lane: Lane = Lane.STANDARD, key: UUID | None = None, number: int = 0) -> Outgoing:
        event = ReportsErased(incident_id=UUID(int=number), report_ids=(), at=NOW)
        return Outgoing(event=event, key=key or uuid4(), lane=lane)

    return make
