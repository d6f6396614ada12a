"""The projection's database, whose file can be exchanged for a fresh one while it is read and written."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self

import structlog

from amparo_common.auth.private_files import read_private, write_private
from amparo_common.db.migrations import migrate
from amparo_common.db.port import Answer, Database, ReadUnit, WriteUnit
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.errors import TransientError

_PACKAGE: Final = "amparo_gateway.projection"
_FIRST: Final = "gateway-projection.db"
#: Names the file that counts, once it is another than the first.
_POINTER: Final = "gateway-projection.current"
_NAME: Final = re.compile(r"gateway-projection(-[0-9a-f]{8})?\.db")
_LAST_READS_S: Final = 30.0
_log = structlog.get_logger()


@dataclass(eq=False)
class _Generation:
    """One file, with the reads that are under way in it."""

    name: str
    database: Database
    reading: int = 0
    unread: asyncio.Event = field(default_factory=asyncio.Event)
    #: Why it must not take over: a write that the other file took is missing in it.
    incomplete: str | None = None


class SwitchedProjection:
    """A `Database` over the file that counts.

    Between `begin` and `switch` every write goes to both files: first to the one that is read, then to the fresh one.
    The units of the projection may run in any order and twice, so the fresh file may be filled from the log meanwhile,
    and misses nothing when it takes over.
    """

    def __init__(self, directory: Path, *, service: str, current: _Generation) -> None:
        self._directory, self._service = directory, service
        self._current = current
        self._fresh: _Generation | None = None
        self._turn, self._writing, self._closed_to_writes = asyncio.Condition(), 0, False
        self._doorbells: list[Callable[[], None]] = []

    @classmethod
    async def open(cls, directory: Path, *, service: str) -> Self:
        """Open the file that counts under `directory`, or the first one, and remove what an unfinished replay left."""
        named = await asyncio.to_thread(_settled, directory)
        return cls(directory, service=service, current=await _opened(directory, named, service=service))

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return self._current.database.dialect

    async def read(self, unit: ReadUnit[Answer]) -> Answer:
        generation = self._current
        generation.reading += 1
        try:
            return await generation.database.read(unit)
        finally:
            generation.reading -= 1
            if not generation.reading:
                generation.unread.set()

    async def write(self, unit: WriteUnit[Answer]) -> Answer:
        async with self._turn:
            await self._turn.wait_for(lambda: not self._closed_to_writes)
            self._writing += 1
        try:
            answer = await self._current.database.write(unit)
            await self._write_fresh(unit)
        finally:
            async with self._turn:
                self._writing -= 1
                self._turn.notify_all()
        return answer

    async def _write_fresh(self, unit: WriteUnit[Answer]) -> None:
        if self._fresh is None or self._fresh.incomplete:
            return
        try:
            await self._fresh.database.write(unit)
        except Exception as error:  # noqa: BLE001 - the write is done where it is read; only the replay is spoilt
            self._fresh.incomplete = type(error).__name__
            _log.warning("the fresh projection missed a write", error=error, service=self._service)

    async def change_schema(self, unit: WriteUnit[Answer]) -> Answer:
        return await self._current.database.change_schema(unit)

    async def scrub(self) -> None:
        for generation in (self._current, self._fresh):
            if generation is not None:
                await generation.database.scrub()

    def after_commit(self, ring: Callable[[], None]) -> None:
        self._doorbells.append(ring)
        self._current.database.after_commit(ring)

    async def close(self) -> None:
        """Close every file; a fresh one that did not take over is removed."""
        await self.give_up()
        await self._current.database.close()

    # ------------------------------------------------------------ a fresh file

    async def begin(self) -> Database:
        """Make a fresh, empty file that takes every write from now on, and return it to be filled from the log."""
        await self.give_up()
        self._fresh = await _opened(
            self._directory, f"gateway-projection-{secrets.token_hex(4)}.db", service=self._service
        )
        return self._fresh.database

    async def give_up(self) -> None:
        """Drop the fresh file, if there is one."""
        async with self._writes_held():
            fresh, self._fresh = self._fresh, None
        if fresh is not None:
            await self._retire(fresh)

    async def switch(self) -> None:
        """Let the fresh file take over, durably, between two writes; reads go on, each in the file it began in.

        Raises TransientError, with nothing changed, when a write of meanwhile did not reach the fresh file.
        """
        async with self._writes_held():
            fresh, old = self._fresh, self._current
            if fresh is None or fresh.incomplete:
                raise TransientError("the fresh projection missed a write; ask for the replay again")
            await asyncio.to_thread(write_private, self._directory / _POINTER, fresh.name)
            self._current, self._fresh = fresh, None
            for ring in self._doorbells:
                fresh.database.after_commit(ring)
        await self._retire(old)

    @asynccontextmanager
    async def _writes_held(self) -> AsyncIterator[None]:
        async with self._turn:
            await self._turn.wait_for(lambda: not self._closed_to_writes)
            self._closed_to_writes = True
        try:
            async with self._turn:
                await self._turn.wait_for(lambda: self._writing == 0)
            yield
        finally:
            async with self._turn:
                self._closed_to_writes = False
                self._turn.notify_all()

    async def _retire(self, generation: _Generation) -> None:
        """Wait for the last reads of a file, then close and remove it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_READS_S):
                while generation.reading:
                    generation.unread.clear()
                    await generation.unread.wait()
        await generation.database.close()
        await asyncio.to_thread(_remove, self._directory, generation.name)


async def _opened(directory: Path, name: str, *, service: str) -> _Generation:
    database = await SqliteDatabase.open(directory / name, service=service)
    try:
        await migrate(database, package=_PACKAGE)
    except BaseException:
        await database.close()
        raise
    return _Generation(name, database)


def _settled(directory: Path) -> str:
    """Return the name of the file that counts, and remove those of replays that did not end."""
    named = (read_private(directory / _POINTER) or "").strip()
    name = named if _NAME.fullmatch(named) else _FIRST
    for file in directory.glob("gateway-projection*.db"):
        if file.name != name and _NAME.fullmatch(file.name):
            _remove(directory, file.name)
    return name


def _remove(directory: Path, name: str) -> None:
    for ending in ("", "-wal", "-shm"):
        (directory / f"{name}{ending}").unlink(missing_ok=True)
