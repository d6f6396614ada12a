"""A report is answered with 202 after a sync of intake's database, as the kernel saw it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from amparo_common.testing.syncs import STRACE, spans, synced, why_not

SERVING = """
import asyncio, dataclasses, sys
from pathlib import Path
from amparo_common.log.sqlite import SqliteLog
from amparo_common.runtime import serve
from amparo_intake.app import compose
from amparo_intake.settings import IntakeSettings

async def main():
    folder = Path(sys.argv[1])
    settings = IntakeSettings(data_dir=folder, oidc_issuer="http://127.0.0.1:9")
    log = await SqliteLog.open(folder)
    async with compose(settings, log=log) as service:
        said = lambda ports: (folder / "port").write_text(str(ports["intake"]))
        await serve([dataclasses.replace(service, port=0)], on_ready=said)
    await log.close()

asyncio.run(main())
"""
BODY = {"channel": "web", "language": "en", "country": "GT", "text": "Invented words."}


def port_of(folder: Path, *, running: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end and running.poll() is None:
        if (folder / "port").exists() and (said := (folder / "port").read_text()):
            return int(said)
        time.sleep(0.05)
    raise AssertionError("intake did not come up")


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_sync_stands_between_a_report_and_its_202(tmp_path: Path) -> None:
    trace, folder = tmp_path / "trace", tmp_path / "data"
    folder.mkdir()
    running = subprocess.Popen([*STRACE, str(trace), sys.executable, "-c", SERVING, str(folder)])
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port_of(folder, running=running)}", trust_env=False) as http:
            replies = [
                http.post("/v1/reports", content=json.dumps(BODY), headers={"content-type": "application/json"})
                for _ in range(3)
            ]
    finally:
        traced = re.match(r"\d+", trace.read_text())
        assert traced is not None
        os.kill(int(traced[0]), signal.SIGTERM)
        running.wait(timeout=30)
    assert [reply.status_code for reply in replies] == [202, 202, 202]
    found = spans(trace.read_text(), start="POST /v1/reports", end="HTTP/1.1 202")
    assert len(found) == 3
    for lines in found:
        assert synced(lines, file="intake.db-wal"), lines
