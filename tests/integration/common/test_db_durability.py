"""What was acknowledged outlives the process, and was synced before it was acknowledged."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from sqlalchemy import text
from amparo_common import faults
from amparo_common.db.sqlite import SqliteDatabase

async def main(plan):
    database = await SqliteDatabase.open(Path("notes.db"), service="intake")
    await database.write(lambda connection: connection.execute(text("CREATE TABLE note (id INTEGER PRIMARY KEY)")))
    faults.load(plan)

    async def note(number):
        statement = text("INSERT INTO note VALUES (:id)")
        await database.write(lambda connection: connection.execute(statement, {"id": number}) and None)
        os.write(1, f"stored {number}\\n".encode())

    for start in range(0, 40, 4):
        await asyncio.gather(*(note(start + number) for number in range(4)))
    await database.close()

asyncio.run(main(sys.argv[1]))
"""


def run(folder: Path, plan: str, *under: str) -> subprocess.CompletedProcess[str]:
    command = [*under, sys.executable, "-c", PROGRAM, plan]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=30)


def acknowledged(done: subprocess.CompletedProcess[str]) -> set[int]:
    return {int(number) for number in re.findall(r"stored (\d+)", done.stdout)}


def stored(folder: Path) -> set[int]:
    connection = sqlite3.connect(folder / "notes.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {number for (number,) in connection.execute("SELECT id FROM note")}
    finally:
        connection.close()


@pytest.mark.parametrize("hit", [1, 5])
@pytest.mark.parametrize("point", ["writer.before_commit", "writer.after_commit"])
def test_a_killed_process_keeps_what_it_acknowledged(tmp_path: Path, point: str, hit: int) -> None:
    done = run(tmp_path, f"intake:{point}:{hit}:kill")

    assert done.returncode == -signal.SIGKILL
    assert acknowledged(done) <= stored(tmp_path)
    unacknowledged = stored(tmp_path) - acknowledged(done)
    assert bool(unacknowledged) is (point == "writer.after_commit")


def test_each_acknowledgement_comes_after_a_sync(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    done = run(tmp_path, "", "strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,write", "-o", str(trace))
    if "ptrace" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")

    assert done.returncode == 0, done.stderr
    assert acknowledged(done) == set(range(40))
    synced, acknowledgements = False, 0
    previous = -1
    for line in trace.read_text(encoding="utf-8").splitlines():
        if re.search(r"f(data)?sync\(\d+\) += 0|f(data)?sync resumed.* = 0", line):
            synced = True
        elif found := re.search(r'write\(1, "stored (\d+)', line):
            group = int(found[1]) // 4
            assert synced or group == previous, f"{found[1]} was acknowledged without a sync before"
            synced, previous = False, group
            acknowledgements += 1
    assert acknowledgements == 40
