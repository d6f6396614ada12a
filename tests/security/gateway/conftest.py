"""A desk on empty databases, which every refusal leaves unread."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from amparo_common.auth.principal import Principal
from amparo_common.clock import SetClock
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.http import service_client
from amparo_common.vocabulary.codes import Role
from amparo_gateway.commands.client import Owners
from amparo_gateway.cursors import CursorSeal
from amparo_gateway.service import Desk, Question

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def caller(role: Role) -> Principal:
    name = role.lower()
    return Principal(
        subject=name, name=name, roles=frozenset({role}), countries=frozenset({"*"}), expires_at=NOON, token="t"
    )


@pytest.fixture
def triager() -> Principal:
    return caller(Role.TRIAGER)


@pytest.fixture
def supervisor() -> Principal:
    return caller(Role.SUPERVISOR)


@pytest.fixture
async def desk(tmp_path):
    """Ask as it is asked over HTTP: a caller and a body."""
    own = await SqliteDatabase.open(tmp_path / "own.db", service="gateway")
    projection = await SqliteDatabase.open(tmp_path / "projection.db", service="gateway")
    await migrate(own, package="amparo_gateway")
    await migrate(projection, package="amparo_gateway.projection")
    async with service_client() as http:
        asked = Desk(
            own=own,
            projection=projection,
            seal=CursorSeal(bytes(64)),
            owners=Owners(http=http, urls={}),
            clock=SetClock(NOON),
        )

        async def ask(principal: Principal, body: dict[str, Any]) -> dict[str, Any]:
            question = msgspec.convert(body, Question)
            return dict(await asked.answer(question, principal=principal, trace_id="0" * 31 + "1"))

        yield ask
    await own.close()
    await projection.close()
