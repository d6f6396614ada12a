"""The table of wrapped keys: a destroyed key is gone from the disk and known to be destroyed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

from amparo_common.crypto import key_table
from amparo_common.crypto.data_keys import KeyState
from amparo_common.crypto.provider import FileKeyProvider
from amparo_common.crypto.sealing import SealBrokenError, new_data_key
from amparo_common.db.migrations import differences
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.ids import uuid7

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = await SqliteDatabase.open(tmp_path / "intake.db", service="intake")
    await database.change_schema(lambda c: key_table.create_key_tables(Operations(MigrationContext.configure(c))))
    yield database
    await database.close()


@pytest.fixture
def provider(tmp_path: Path) -> FileKeyProvider:
    return FileKeyProvider.open(tmp_path / "master.json")


async def _stored(database: SqliteDatabase, count: int) -> dict[UUID, bytes]:
    keys = {uuid7(): os.urandom(65) for _ in range(count)}
    for report_id, wrapped in keys.items():
        await database.write(lambda c, i=report_id, w=wrapped: key_table.store(c, i, w))
    return keys


async def test_stored_keys_are_loaded_and_unheard_of_ids_are_left_out(database) -> None:
    keys = await _stored(database, 3)
    assert await database.read(lambda s: key_table.load(s, [*keys, uuid7()])) == keys
    assert await database.read(lambda s: key_table.load(s, [])) == {}


async def test_a_report_has_one_key_for_ever(database) -> None:
    (report_id,) = await _stored(database, 1)
    with pytest.raises(IntegrityError):
        await database.write(lambda c: key_table.store(c, report_id, b"another"))
    await database.write(lambda c: key_table.destroy(c, [report_id]))
    with pytest.raises(IntegrityError):
        await database.write(lambda c: key_table.store(c, report_id, b"another"))


async def test_a_destroyed_key_says_destroyed_and_its_neighbours_stay(database) -> None:
    keys = await _stored(database, 5)
    gone, *rest = keys
    await database.write(lambda c: key_table.destroy(c, [gone, gone]))
    loaded = await database.read(lambda s: key_table.load(s, list(keys)))
    assert loaded == {gone: KeyState.DESTROYED} | {report_id: keys[report_id] for report_id in rest}


async def test_destroying_again_or_before_the_key_is_known_leaves_the_same_tombstone(database) -> None:
    (known,), unheard = await _stored(database, 1), uuid7()
    for _ in range(2):
        await database.write(lambda c: key_table.destroy(c, [known, unheard]))
    loaded = await database.read(lambda s: key_table.load(s, [known, unheard]))
    assert loaded == {known: KeyState.DESTROYED, unheard: KeyState.DESTROYED}
    await database.write(lambda c: key_table.destroy(c, []))


async def test_after_a_scrub_no_file_of_the_database_holds_a_destroyed_key(database, tmp_path) -> None:
    keys = await _stored(database, 400)
    gone = list(keys)[::7]
    await database.write(lambda c: key_table.destroy(c, gone))
    await database.scrub()
    on_disk = b"".join(file.read_bytes() for file in tmp_path.glob("intake.db*"))
    assert [keys[report_id] in on_disk for report_id in gone] == [False] * len(gone)
    # The search does find a key that is there.
    assert all(keys[report_id] in on_disk for report_id in keys.keys() - set(gone))


async def test_the_key_is_overwritten_in_place_even_where_the_database_does_not_wipe_freed_space(
    database, tmp_path
) -> None:
    keys = await _stored(database, 40)
    gone = list(keys)[::3]

    def without_secure_delete(connection: object) -> None:
        connection.exec_driver_sql("PRAGMA secure_delete=OFF")
        key_table.destroy(connection, gone)

    await database.write(without_secure_delete)
    await database.scrub()
    on_disk = (tmp_path / "intake.db").read_bytes()
    assert not any(keys[report_id] in on_disk for report_id in gone)


async def test_a_wrapped_key_works_for_its_report_only(database, provider) -> None:
    report_id, key = uuid7(), new_data_key()
    wrapped = key_table.wrapped_for(report_id, key, provider=provider)
    assert key_table.unwrapped_for(report_id, wrapped, provider=provider) == key
    with pytest.raises(SealBrokenError):
        key_table.unwrapped_for(uuid7(), wrapped, provider=provider)


async def test_rewrapping_goes_through_all_pages_and_leaves_tombstones_alone(database, provider) -> None:
    keys = {uuid7(): new_data_key() for _ in range(7)}
    for report_id, key in keys.items():
        wrapped = key_table.wrapped_for(report_id, key, provider=provider)
        await database.write(lambda c, i=report_id, w=wrapped: key_table.store(c, i, w))
    gone = next(iter(keys))
    await database.write(lambda c: key_table.destroy(c, [gone]))
    provider.rotate()
    seen, after = 0, None
    while (
        after := await database.write(lambda c, a=after: key_table.rewrap(c, provider, after=a, limit=3))
    ) is not None:
        seen += 1
    assert seen == 3
    loaded = await database.read(lambda s: key_table.load(s, list(keys)))
    assert loaded.pop(gone) is KeyState.DESTROYED
    assert all(provider.is_current(wrapped) for wrapped in loaded.values())
    opened = {i: key_table.unwrapped_for(i, wrapped, provider=provider) for i, wrapped in loaded.items()}
    assert opened == {report_id: key for report_id, key in keys.items() if report_id != gone}


async def test_the_migration_makes_exactly_the_declared_table_and_its_undoing_drops_it(database) -> None:
    assert await differences(database, metadata=[key_table.key_metadata]) == []
    await database.change_schema(lambda c: key_table.drop_key_tables(Operations(MigrationContext.configure(c))))
    tables = await database.read(lambda s: inspect(s.connection()).get_table_names())
    assert "data_key" not in tables
