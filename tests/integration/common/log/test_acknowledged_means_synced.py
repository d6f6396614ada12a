"""An append is acknowledged after a sync, as the kernel saw it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from amparo_common.testing.syncs import STRACE, spans, synced, why_not

APPENDING = """
import asyncio, os, sys
from pathlib import Path
from amparo_common.log.port import NewRecord
from amparo_common.log.sqlite import SqliteLog

async def main():
    log = await SqliteLog.open(Path(sys.argv[1]))
    consumer = await log.consumer("reader", topics=["amparo.audit"])
    at = next(iter(consumer.assignment()))
    for number in range(5):
        os.write(1, b"<appending>")
        await log.append([NewRecord("amparo.audit", b"k", b"v")])
        os.write(1, b"<acknowledged>")
        os.write(1, b"<committing>")
        await consumer.commit({at: number + 1})
        os.write(1, b"<committed>")
    await log.close()

asyncio.run(main())
"""


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize(("start", "end"), [("<appending>", "<acknowledged>"), ("<committing>", "<committed>")])
def test_a_sync_stands_between_the_wish_and_the_answer(tmp_path: Path, start: str, end: str) -> None:
    trace = tmp_path / "trace"
    subprocess.run(
        [*STRACE, str(trace), sys.executable, "-c", APPENDING, str(tmp_path / "log")],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    found = spans(trace.read_text(), start=start, end=end)
    assert len(found) == 5
    for lines in found:
        assert synced(lines, file="log.db-wal"), lines
