"""The log belongs to one process, and a kill of that process costs nothing that was acknowledged."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from amparo_common.log.sqlite import LogInUseError, SqliteLog
from amparo_common.testing.log_records import ONLY, SINGLE, fetched, numbers

pytestmark = pytest.mark.anyio

OpenLog = Callable[[Path], Awaitable[SqliteLog]]

#: Appends numbers and says each number once it is acknowledged.
APPENDING = """
import asyncio, os, sys
from pathlib import Path
from amparo_common import faults
from amparo_common.log.port import NewRecord
from amparo_common.log.sqlite import SqliteLog

async def main():
    faults.load(sys.argv[2])
    log = await SqliteLog.open(Path(sys.argv[1]))
    print("open", flush=True)
    for number in range(int(sys.argv[3])):
        await log.append([NewRecord("amparo.audit", b"k", str(number).encode())])
        print(number, flush=True)
    if sys.argv[4] == "wait":
        sys.stdin.read()
    await log.close()

asyncio.run(main())
"""


def start_appending(directory: Path, *, plan: str = "", count: int, then: str = "end") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", APPENDING, str(directory), plan, str(count), then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_a_second_process_is_told_the_directory_and_who_owns_it(tmp_path: Path) -> None:
    with start_appending(tmp_path, count=0, then="wait") as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(LogInUseError, match=rf"in {re.escape(str(tmp_path))} is in use by process {owner.pid};"):
            await SqliteLog.open(tmp_path)
        owner.communicate("", timeout=10)
    assert owner.returncode == 0


async def test_the_same_process_does_not_open_a_log_twice(open_log: OpenLog, tmp_path: Path) -> None:
    log = await open_log(tmp_path)
    with pytest.raises(LogInUseError, match=f"process {os.getpid()}"):
        await SqliteLog.open(tmp_path)
    await log.close()
    await open_log(tmp_path)


@pytest.mark.parametrize(
    ("plan", "stored"),
    [
        ("log:log.before_commit:1:kill", 0),
        ("log:log.after_commit:1:kill", 1),
        ("log:log.before_commit:8:kill", 7),
        ("log:log.after_commit:8:kill", 8),
    ],
)
async def test_a_kill_around_the_commit_leaves_all_that_was_acknowledged(
    open_log: OpenLog, tmp_path: Path, plan: str, stored: int
) -> None:
    with start_appending(tmp_path, plan=plan, count=20) as killed:
        said, _ = killed.communicate(timeout=30)
    assert killed.returncode == -signal.SIGKILL
    acknowledged = [int(line) for line in said.split()[1:]]
    assert acknowledged == list(range(int(plan.split(":")[2]) - 1))

    log = await open_log(tmp_path)
    assert (await log.end_offsets([SINGLE]))[ONLY] == stored
    records = await fetched(await log.consumer("reader", topics=[SINGLE]), stored)
    assert numbers(records) == list(range(stored))
    assert [damage async for damage in log.verify()] == []


async def test_a_kill_at_any_moment_leaves_all_that_was_acknowledged(open_log: OpenLog, tmp_path: Path) -> None:
    stored = 0
    for moment in (3, 20, 75):
        with start_appending(tmp_path, count=100_000) as killed:
            assert killed.stdout is not None
            lines = [killed.stdout.readline() for _ in range(moment)]
            killed.kill()
            lines += killed.stdout.readlines()
        acknowledged = len([line for line in lines[1:] if line.endswith("\n")])
        log = await open_log(tmp_path)
        end = (await log.end_offsets([SINGLE]))[ONLY]
        # The one that was under way may be stored or not.
        assert end - stored - acknowledged in (0, 1)
        assert [damage async for damage in log.verify()] == []
        stored = end
        await log.close()
