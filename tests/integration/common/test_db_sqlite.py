from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from amparo_common import faults
from amparo_common.db.port import wake
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.errors import TransientError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def notes(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = await SqliteDatabase.open(tmp_path / "notes.db", service="intake")
    await database.write(
        lambda connection: connection.execute(text("CREATE TABLE note (id INTEGER PRIMARY KEY, body)"))
    )
    yield database
    await database.close()


def insert(number: int) -> Any:
    return lambda connection: connection.execute(text("INSERT INTO note (id) VALUES (:id)"), {"id": number}).rowcount


def stored(source: Connection | Session) -> list[int]:
    return list(source.execute(text("SELECT id FROM note ORDER BY id")).scalars())


def held_up(release: threading.Event) -> Any:
    """A unit during which others gather in the queue."""
    return lambda _: release.wait(5)


async def together(database: SqliteDatabase, *units: Any) -> list[Any]:
    """Run units as one group: they wait behind a unit that is let go last."""
    release = threading.Event()
    first = asyncio.ensure_future(database.write(held_up(release)))
    await asyncio.sleep(0.05)
    waiting = [asyncio.ensure_future(database.write(unit)) for unit in units]
    await asyncio.sleep(0)
    release.set()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_unit_that_fails_undoes_nothing_of_its_neighbours(notes: SqliteDatabase) -> None:
    def half_then_fail(connection: Connection) -> None:
        insert(100)(connection)
        raise ValueError("changed its mind")

    answers = await together(notes, insert(1), half_then_fail, insert(2), insert(1))

    assert answers[0] == answers[2] == 1
    assert isinstance(answers[1], ValueError)
    assert isinstance(answers[3], IntegrityError)
    assert await notes.read(stored) == [1, 2]


async def test_waiting_units_share_one_commit(notes: SqliteDatabase) -> None:
    faults.load("", count=True)

    answers = await together(notes, *(insert(number) for number in range(50)))

    assert answers == [1] * 50
    assert faults.hits()["intake:writer.before_commit"] == 2


async def test_everything_acknowledged_stands_after_reopening(tmp_path: Path, notes: SqliteDatabase) -> None:
    await asyncio.gather(*(notes.write(insert(number)) for number in range(500)))
    await notes.close()

    again = await SqliteDatabase.open(tmp_path / "notes.db", service="intake")
    assert await again.read(stored) == list(range(500))
    await again.close()


async def test_a_closed_database_refuses(notes: SqliteDatabase) -> None:
    await notes.close()

    with pytest.raises(TransientError, match="closed"):
        await notes.write(insert(1))
    with pytest.raises(TransientError, match="closed"):
        await notes.read(stored)


async def test_closing_finishes_what_was_accepted(tmp_path: Path, notes: SqliteDatabase) -> None:
    release = threading.Event()
    first = asyncio.ensure_future(notes.write(held_up(release)))
    await asyncio.sleep(0.05)
    accepted = asyncio.ensure_future(notes.write(insert(7)))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(notes.close())
    await asyncio.sleep(0.05)
    release.set()
    await asyncio.gather(first, accepted, closing)

    with sqlite3.connect(tmp_path / "notes.db") as plain:
        assert plain.execute("SELECT id FROM note").fetchall() == [(7,)]
    plain.close()


async def test_a_full_queue_refuses_at_once_instead_of_growing(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "small.db", service="intake", most_waiting_writes=2)
    release = threading.Event()
    first = asyncio.ensure_future(database.write(held_up(release)))
    await asyncio.sleep(0.05)
    waiting = [asyncio.ensure_future(database.write(lambda _: None)) for _ in range(2)]
    await asyncio.sleep(0)

    async with asyncio.timeout(0.5):
        with pytest.raises(TransientError, match="too many waiting"):
            await database.write(lambda _: None)

    release.set()
    await asyncio.gather(first, *waiting)
    await database.close()


async def test_a_read_unit_cannot_write(notes: SqliteDatabase) -> None:
    with pytest.raises(OperationalError, match="readonly"):
        await notes.read(lambda session: session.execute(text("INSERT INTO note (id) VALUES (1)")))

    assert await notes.read(stored) == []


async def test_a_read_unit_sees_one_snapshot(notes: SqliteDatabase) -> None:
    loop = asyncio.get_running_loop()

    def look_twice(session: Session) -> tuple[list[int], list[int]]:
        before = stored(session)
        asyncio.run_coroutine_threadsafe(notes.write(insert(1)), loop).result(5)
        return before, stored(session)

    assert await notes.read(look_twice) == ([], [])
    assert await notes.read(stored) == [1]


async def test_a_failure_before_the_commit_stores_nothing_and_is_transient(notes: SqliteDatabase) -> None:
    faults.load("intake:writer.before_commit:1:raise")

    with pytest.raises(TransientError):
        await notes.write(insert(1))

    assert await notes.read(stored) == []
    assert await notes.write(insert(1)) == 1


async def test_a_failure_after_the_commit_leaves_the_row_and_is_transient(notes: SqliteDatabase) -> None:
    faults.load("intake:writer.after_commit:1:raise")

    with pytest.raises(TransientError):
        await notes.write(insert(1))

    assert await notes.read(stored) == [1]


async def test_a_full_disk_is_transient_and_passes(notes: SqliteDatabase) -> None:
    pages = await notes.write(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar())
    await notes.write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}").scalar())

    def too_much(connection: Connection) -> None:
        connection.execute(text("INSERT INTO note (id, body) VALUES (9, zeroblob(1000000))"))

    with pytest.raises(TransientError, match="full"):
        await notes.write(too_much)
    assert await notes.write(insert(1)) == 1

    await notes.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=100000").scalar())
    await notes.write(too_much)
    assert await notes.read(stored) == [1, 9]


async def test_a_lock_of_another_process_is_transient_and_passes(tmp_path: Path, notes: SqliteDatabase) -> None:
    await notes.write(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=20").scalar())
    other = sqlite3.connect(tmp_path / "notes.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(TransientError, match="locked"):
        await notes.write(insert(1))

    other.execute("ROLLBACK")
    other.close()
    assert await notes.write(insert(1)) == 1


async def test_a_wrong_statement_reaches_its_caller_as_it_is(notes: SqliteDatabase) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        await notes.write(lambda connection: connection.execute(text("INSERT INTO nowhere VALUES (1)")))


async def test_a_unit_may_not_end_the_transaction_of_the_others(notes: SqliteDatabase) -> None:
    with pytest.raises(RuntimeError, match="ended the transaction"):
        await notes.write(lambda connection: connection.exec_driver_sql("ROLLBACK"))

    assert await notes.write(insert(1)) == 1


async def test_a_caller_who_leaves_does_not_stop_the_writer(notes: SqliteDatabase) -> None:
    release = threading.Event()
    first = asyncio.ensure_future(notes.write(held_up(release)))
    await asyncio.sleep(0.05)
    left = asyncio.ensure_future(notes.write(insert(1)))
    await asyncio.sleep(0)
    left.cancel()
    release.set()
    await first

    assert await notes.write(insert(2)) == 1
    assert await notes.read(stored) == [1, 2]


async def test_the_doorbell_rings_for_commits_that_asked_for_it_only(notes: SqliteDatabase) -> None:
    rung: list[list[int]] = []
    notes.after_commit(lambda: rung.append([]))

    def asks_and_fails(connection: Connection) -> float:
        wake(connection)
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        await notes.write(asks_and_fails)
    await notes.write(insert(1))
    assert rung == []

    await notes.write(wake)
    assert rung == [[]]
    await notes.write(insert(2))
    assert rung == [[]]


async def test_commits_are_synced_and_rows_wiped(tmp_path: Path, notes: SqliteDatabase) -> None:
    def settings(connection: Connection) -> dict[str, Any]:
        names = ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}

    assert await notes.write(settings) == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
    }
    assert (tmp_path / "notes.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "notes.db-wal").stat().st_mode & 0o777 == 0o600


async def test_scrubbing_leaves_nothing_of_a_deleted_row_on_disk(tmp_path: Path, notes: SqliteDatabase) -> None:
    canary = "canary-5bb7"
    await notes.write(lambda connection: connection.execute(text("INSERT INTO note VALUES (1, :b)"), {"b": canary}))
    await notes.write(lambda connection: connection.execute(text("DELETE FROM note")))
    assert any(canary.encode() in path.read_bytes() for path in tmp_path.iterdir())

    await notes.scrub()

    assert not any(canary.encode() in path.read_bytes() for path in tmp_path.iterdir())
