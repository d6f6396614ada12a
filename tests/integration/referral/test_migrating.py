"""A directory that stood before people worked here: its rows are kept, and asked again of nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, text

from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.ids import uuid7
from amparo_referral.repository import directory as entries, referrals

pytestmark = pytest.mark.anyio


def run(connection: Connection, revision: str, *, down: bool = False) -> None:
    module: Any = import_module(f"amparo_referral.migrations.versions.{revision}")
    with Operations.context(MigrationContext.configure(connection)):
        module.downgrade() if down else module.upgrade()


def stored(connection: Connection) -> Any:
    partner_id, referral_id, at = uuid7(), uuid7(), datetime(2026, 11, 24, tzinfo=UTC)
    moment = at.strftime("%Y-%m-%d %H:%M:%S.%f")
    kinds = {row.name: row.type for row in connection.execute(text("PRAGMA table_info(referral)"))}
    values = {"partner_id": partner_id.bytes, "id": referral_id.bytes, "incident_id": uuid7().bytes}
    codes = {"destination": "HOTLINE", "status": "DELIVERED", "release": "AUTOMATIC", "level": "P2"}
    codes |= {"category": "GROOMING", "lawful_basis": "PUBLIC_TASK", "reference": "RF-1", "country": "GT"}
    partner = {
        "id": partner_id.bytes,
        "name": "Police",
        "destination": "HOTLINE",
        "countries": "[]",
        "languages": "[]",
        "adapter": "WEBHOOK",
        "accepts_emergency": 0,
        "changed_at": moment,
    }
    row = {name: 0 for name in kinds if not name.endswith("_at")} | values | codes
    row |= {"created_at": moment, "changed_at": moment}
    for table, given in (("partner", partner), ("referral", row)):
        names = ", ".join(f'"{name}"' for name in given)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + n for n in given)})"), given)  # noqa: S608 - names of columns
    return partner_id, referral_id


async def test_a_database_of_the_first_schema_is_taken_over_with_its_rows(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "referral.db", service="referral")
    try:
        await database.change_schema(lambda connection: run(connection, "0001_first"))
        partner_id, referral_id = await database.write(stored)
        await database.change_schema(lambda connection: run(connection, "0002_people"))
        referral = await database.read(lambda session: referrals.get(session, referral_id))
        assert referral is not None
        assert (referral.referred_by, referral.note, referral.packaged_version) == (None, None, 0)
        assert await database.read(entries.untold) == [partner_id]
        await database.change_schema(lambda connection: run(connection, "0002_people", down=True))
        await database.change_schema(lambda connection: run(connection, "0002_people"))
        assert await database.read(lambda session: referrals.get(session, referral_id)) == referral
    finally:
        await database.close()
