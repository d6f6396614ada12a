"""The database of one service in one SQLite file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.orm import Session

from amparo_common.db.port import Answer, ReadUnit, WriteUnit
from amparo_common.db.sqlite_errors import as_transient
from amparo_common.db.writer import GroupCommitWriter
from amparo_common.errors import TransientError

_PRAGMAS: Final = (
    "PRAGMA busy_timeout=5000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA journal_size_limit=67108864",
)


class SqliteDatabase:
    """A `Database` in one file: WAL, synced commits, one writer thread, a few readers. One process at a time."""

    def __init__(self, *, engine: Engine, read_engine: Engine, writer: GroupCommitWriter, readers: int) -> None:
        self.engine = engine
        self.path = Path(str(engine.url.database))
        self._read_engine, self._writer = read_engine, writer
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix=f"{engine.url.database}-reader")
        self._doorbells: list[Callable[[], None]] = []
        self._closed = False

    @classmethod
    async def open(
        cls, path: Path, *, service: str, readers: int = 2, most_waiting_writes: int = 2048
    ) -> SqliteDatabase:
        """Open or create the file at `path`, readable by its owner only, and start the writer of `service`.

        Raises TransientError when the file cannot be opened now.
        """
        engine, read_engine = await asyncio.to_thread(_engines, path, readers=readers)
        doorbells: list[Callable[[], None]] = []
        writer = GroupCommitWriter(
            engine,
            service=service,
            loop=asyncio.get_running_loop(),
            ring=lambda: _ring(doorbells),
            most_waiting=most_waiting_writes,
        )
        database = cls(engine=engine, read_engine=read_engine, writer=writer, readers=readers)
        database._doorbells = doorbells
        writer.start()
        return database

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return "sqlite"

    async def write(self, unit: WriteUnit[Answer]) -> Answer:
        answer: Answer = await self._writer.submit(unit)
        return answer

    async def read(self, unit: ReadUnit[Answer]) -> Answer:
        if self._closed:
            raise TransientError("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, unit)

    def _read(self, unit: ReadUnit[Answer]) -> Answer:
        try:
            with Session(self._read_engine, autoflush=False) as session:
                return unit(session)
        except Exception as error:
            failure = as_transient(error, writing=False)
            if failure is error:
                raise
            raise failure from error

    def after_commit(self, ring: Callable[[], None]) -> None:
        self._doorbells.append(ring)

    async def change_schema(self, unit: WriteUnit[Answer]) -> Answer:
        """Run `unit` in one transaction of its own with foreign keys checked at its end instead of row by row.

        Batch migrations rebuild tables; with foreign keys on, dropping the old one would delete rows that refer to it.
        """
        return await asyncio.to_thread(self._change_schema, unit)

    def _change_schema(self, unit: WriteUnit[Answer]) -> Answer:
        with self.engine.connect() as connection:
            _driver(connection).execute("PRAGMA foreign_keys=OFF")
            with connection.begin():
                answer = unit(connection)
                if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                    raise RuntimeError(f"the migration leaves {len(broken)} broken references, first in {broken[0][0]}")
        return answer

    async def scrub(self) -> None:
        """Fold the write-ahead log into the file and cut it, so that no earlier version of a row stays on disk."""
        await asyncio.to_thread(self._scrub)

    def _scrub(self) -> None:
        with self.engine.connect() as connection:
            busy, _, _ = _driver(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise TransientError("the database has readers on earlier versions")

    def waiting_writes(self) -> int:
        """Return how many write units wait for the writer."""
        return self._writer.waiting()

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.shutdown)
        self._read_engine.dispose()
        self.engine.dispose()


def _ring(doorbells: list[Callable[[], None]]) -> None:
    for ring in doorbells:
        ring()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _engines(path: Path, *, readers: int) -> tuple[Engine, Engine]:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    url = f"sqlite:///{path}"
    # The driver begins nothing by itself (isolation_level None): each engine says BEGIN in its own way.
    options: dict[str, Any] = {"connect_args": {"isolation_level": None, "check_same_thread": False}}
    engine = create_engine(url, poolclass=NullPool, **options)
    read_engine = create_engine(url, poolclass=QueuePool, pool_size=readers, max_overflow=0, **options)
    _prepare(engine, begin="BEGIN IMMEDIATE", pragmas=_PRAGMAS)
    _prepare(read_engine, begin="BEGIN", pragmas=(*_PRAGMAS, "PRAGMA query_only=ON"))
    try:
        engine.connect().close()
    except Exception as error:
        failure = as_transient(error, writing=True)
        if failure is error:
            raise
        raise failure from error
    return engine, read_engine


def _prepare(engine: Engine, *, begin: str, pragmas: tuple[str, ...]) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(driver: Any, _record: Any) -> None:
        for pragma in pragmas:
            driver.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
