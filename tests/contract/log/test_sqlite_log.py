"""SqliteLog keeps the contract of the event log, all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from amparo_common.log.sqlite import SqliteLog
from amparo_common.testing.log_contract import EventLogContract
from amparo_common.testing.log_records import OpenLog

pytestmark = pytest.mark.anyio


class TestSqliteLog(EventLogContract):
    @pytest.fixture
    async def open_log(self, tmp_path: Path) -> AsyncIterator[OpenLog]:
        opened: list[SqliteLog] = []

        async def open_log() -> SqliteLog:
            opened.append(await SqliteLog.open(tmp_path / "log"))
            return opened[-1]

        yield open_log
        for log in opened:
            await log.close()
