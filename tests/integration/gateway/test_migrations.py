from __future__ import annotations

import pytest

from amparo_common.db.migrations import differences, migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.db.tables import common_metadata
from amparo_gateway.tables import projection_metadata

pytestmark = pytest.mark.anyio


async def test_the_projection_is_migrated_to_its_tables(open_projection):
    projection = await open_projection("projection")
    assert await differences(projection, metadata=[projection_metadata]) == []
    await migrate(projection, package="amparo_gateway.projection")


async def test_the_gateways_own_database_has_the_common_tables(tmp_path):
    own = await SqliteDatabase.open(tmp_path / "gateway.db", service="gateway")
    try:
        await migrate(own, package="amparo_gateway")
        assert await differences(own, metadata=[common_metadata]) == []
    finally:
        await own.close()
