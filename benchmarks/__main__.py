"""`make bench`: how long a report takes, from start to acknowledgement, beside the cost of a sync on the same disk.

Prints figures and asserts none: times belong to a machine.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from amparo_common.testing.platform import RunningPlatform, free_offset, wait_for
from benchmarks.decisions import decision_microseconds
from benchmarks.figures import histogram, percentile
from benchmarks.raw.disk import fsync_seconds

IDLE_REPORTS, BURST = 120, 500
_TRAVELLED = """
  query($id: ID!) { incidentByReport(reportId: $id) {
    receivedAt referrals(first: 1) { edges { node { acknowledgedAt } } }
  } }
"""


def main() -> None:
    """Measure and print."""
    directory = Path(tempfile.mkdtemp(prefix="amparo-bench-"))
    platform = RunningPlatform(directory / "data", free_offset(seed=int(time.time())))
    try:
        sync = fsync_seconds(directory)
        _print("fdatasync of 4 KiB", [seconds * 1000 for seconds in sync])
        _starts(platform)
        _idle(platform, sync_ms=percentile(sync, 0.5) * 1000)
        _burst(platform)
        print(f"memory {_resident_mib(platform):.0f} MiB resident after the burst")
        _decisions()
    finally:
        platform.stop()
        shutil.rmtree(directory)


def _print(what: str, milliseconds: list[float]) -> None:
    p50, p99 = percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
    print(f"{what}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, n {len(milliseconds)}")


def _starts(platform: RunningPlatform) -> None:
    for name in ("first start", "second start"):
        started = time.perf_counter()
        platform.start()
        platform.wait_ready()
        print(f"{name}: ready in {time.perf_counter() - started:.2f} s")
        if name == "first start":
            platform.stop()


def _idle(platform: RunningPlatform, *, sync_ms: float) -> None:
    receipts, spent = [], []
    for number in range(IDLE_REPORTS):
        started = time.perf_counter()
        receipts.append(platform.post("intake", "/v1/reports", _report(number)).json()["report_id"])
        spent.append((time.perf_counter() - started) * 1000)
        time.sleep(0.1)
    _print("idle report to 202", spent)
    whole = [wait_for("an acknowledgement", _acknowledged(platform, receipt), seconds=20) for receipt in receipts]
    _print("idle report to acknowledgement", whole)
    print(f"  p50 is {percentile(whole, 0.5) / sync_ms:.1f} syncs of this disk")
    print(histogram(whole))


def _report(number: int) -> dict[str, Any]:
    text = f"A man she only knows from a game asks my daughter to keep their chats secret. Note {number}."
    return {"channel": "web", "language": "en", "country": "GH", "text": text, "category": "GROOMING"}


def _acknowledged(platform: RunningPlatform, report_id: str) -> Callable[[], float | None]:
    def probe() -> float | None:
        incident = platform.query("triager", _TRAVELLED, id=report_id)["incidentByReport"]
        edges = incident["referrals"]["edges"] if incident else []
        if not edges or not edges[0]["node"]["acknowledgedAt"]:
            return None
        answered = datetime.fromisoformat(edges[0]["node"]["acknowledgedAt"])
        return (answered - datetime.fromisoformat(incident["receivedAt"])).total_seconds() * 1000

    return probe


def _burst(platform: RunningPlatform) -> None:
    def send(number: int) -> tuple[int, str]:
        reply = platform.post("intake", "/v1/reports", _report(1000 + number))
        return reply.status, reply.json().get("report_id", "")

    _loop_lag(platform)  # a reading starts anew after each look: leave out what came before the burst
    started = time.perf_counter()
    with ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(send, range(BURST)))
    spent = time.perf_counter() - started
    taken = [report_id for status, report_id in replies if status == 202]
    print(f"burst: {BURST} reports at once, {len(taken)} taken, {BURST / spent:.0f} a second")
    print(f"  longest delay of the event loop while they came: {_loop_lag(platform) * 1000:.0f} ms")
    for report_id in taken:
        wait_for("an acknowledgement", _acknowledged(platform, report_id), seconds=60)
    print(f"  all acknowledged by the partner after {time.perf_counter() - started:.1f} s")


def _loop_lag(platform: RunningPlatform) -> float:
    """Return the longest delay since the last look, in seconds; all services share the loop and the reading."""
    lines = platform.send("GET", "gateway", "/metrics").body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("amparo_loop_lag_seconds"))


def _resident_mib(platform: RunningPlatform) -> float:
    if platform.process is None:
        return 0.0
    status = Path(f"/proc/{platform.process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def _decisions() -> None:
    spent = decision_microseconds(rounds=2000)
    print(f"a decision, facts known: p50 {percentile(spent, 0.5):.0f} µs, p99 {percentile(spent, 0.99):.0f} µs")


if __name__ == "__main__":
    sys.exit(main())
