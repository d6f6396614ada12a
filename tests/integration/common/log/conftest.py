"""Logs to damage: written, read back, and left as a crash would leave them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from amparo_common import faults
from amparo_common.log.sqlite import SqliteLog

OpenLog = Callable[[Path], Awaitable[SqliteLog]]


@pytest.fixture
async def open_log() -> AsyncIterator[OpenLog]:
    """Open logs that are closed at the end of the test."""
    opened: list[SqliteLog] = []

    async def open_log(directory: Path) -> SqliteLog:
        opened.append(await SqliteLog.open(directory, revoke_timeout_s=0.5))
        return opened[-1]

    yield open_log
    for log in opened:
        await log.close()


@pytest.fixture
def as_a_crash_leaves_it() -> Callable[[Path, Path], Path]:
    """Copy the files of a log that is open: what a kill at this moment would leave."""

    def copied(source: Path, target: Path) -> Path:
        target.mkdir()
        for name in ("log.db", "log.db-wal", "log.ends"):
            if (source / name).exists():
                shutil.copy(source / name, target / name)
        return target

    return copied


@pytest.fixture
def plan() -> Iterator[Callable[[str], None]]:
    """Set a plan of faults for this test."""
    yield faults.load
    faults.load("")
