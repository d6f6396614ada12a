"""One thousand listeners on one machine: `python -m benchmarks.listeners`.

Opens the sockets in this one process, on loopback, reports a child in danger some times, and prints how long the
change takes to reach every listener, from the reporter's receipt and from the first listener on, and what the sockets
cost in memory. Asserts nothing; ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from amparo_common.settings import PORTS
from amparo_common.testing.platform import RunningPlatform, free_offset
from benchmarks.figures import percentile

LISTENERS, CHANGES, AT_ONCE = 1_000, 20, 50
USERS: Final = ("triager", "supervisor", "supervisor2")
PATIENCE_S: Final = 30.0
DOCUMENT: Final = """subscription { queueChanged { removed incident {
  id reference level provisional status category country dueAt version reportCount claimedBy decision { score }
} } }"""


class Listeners:
    """Every socket, and when each of them first heard of an incident."""

    def __init__(self) -> None:
        self._heard: dict[str, list[float]] = {}
        self._reached: dict[str, asyncio.Event] = {}

    async def follow(self, socket: ClientConnection) -> None:
        """Read one socket until it is closed."""
        known = set()
        async for text in socket:
            now, message = time.perf_counter(), json.loads(text)
            if message["type"] != "next":
                raise RuntimeError(f"a listener was told {message}")
            reference = message["payload"]["data"]["queueChanged"]["incident"]["reference"]
            if reference not in known:
                known.add(reference)
                times = self._heard.setdefault(reference, [])
                times.append(now)
                if len(times) == LISTENERS:
                    self._reached.setdefault(reference, asyncio.Event()).set()

    async def times(self, reference: str) -> list[float]:
        """Wait until every listener heard of `reference`, and return when each did."""
        async with asyncio.timeout(PATIENCE_S):
            await self._reached.setdefault(reference, asyncio.Event()).wait()
        return self._heard[reference]


def main() -> None:
    """Measure and print."""
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most_files, 8_192), most_files))
    directory = Path(tempfile.mkdtemp(prefix="amparo-listeners-"))
    room = {"AMPARO_LIVE_SOCKETS_PER_PRINCIPAL": str(LISTENERS)}
    platform = RunningPlatform(directory / "data", free_offset(seed=int(time.time())), environment=room)
    platform.start()
    try:
        platform.wait_ready()
        asyncio.run(_measure(platform))
    finally:
        platform.stop()
        shutil.rmtree(directory)


async def _measure(platform: RunningPlatform) -> None:
    before = _resident_mib(platform)
    listeners = Listeners()
    async with AsyncExitStack() as stack:
        began = time.perf_counter()
        sockets: list[ClientConnection] = []
        for first in range(0, LISTENERS, AT_ONCE):
            opening = (_opened(platform, USERS[n % len(USERS)]) for n in range(first, min(first + AT_ONCE, LISTENERS)))
            sockets += await asyncio.gather(*opening)
        print(f"{len(sockets)} sockets signed in and subscribed in {time.perf_counter() - began:.2f} s")
        for socket in sockets:
            stack.push_async_callback(socket.close)
        following = [asyncio.create_task(listeners.follow(socket)) for socket in sockets]
        await asyncio.sleep(1)
        open_mib = _resident_mib(platform)
        since_receipt, since_first, whole = await _changes(platform, listeners)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    _print("from the receipt to each listener", since_receipt)
    _print("from the first listener to each", since_first)
    _print("from the first listener to the last", whole)
    each = (open_mib - before) * 1024 / LISTENERS
    print(
        f"memory of the platform: {before:.0f} MiB before, {open_mib:.0f} MiB with {LISTENERS} sockets ({each:.0f} KiB "
        f"each), {_resident_mib(platform):.0f} MiB after {CHANGES} changes"
    )


async def _opened(platform: RunningPlatform, user: str) -> ClientConnection:
    address = f"ws://127.0.0.1:{PORTS['gateway'] + platform.offset}/graphql"
    socket = await connect(address, subprotocols=["graphql-transport-ws"], compression=None)  # type: ignore[list-item]
    payload = {"Authorization": f"Bearer {platform.token(user)}"}
    await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
    if json.loads(await socket.recv())["type"] != "connection_ack":
        raise RuntimeError("the gateway did not sign a listener in")
    await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": DOCUMENT}}))
    return socket


async def _changes(platform: RunningPlatform, listeners: Listeners) -> tuple[list[float], list[float], list[float]]:
    since_receipt, since_first, whole = [], [], []
    for number in range(CHANGES):
        receipt = await asyncio.to_thread(_report, platform, number)
        received = time.perf_counter()
        times = await listeners.times(await asyncio.to_thread(_reference, platform, receipt["report_id"]))
        since_receipt += [(moment - received) * 1000 for moment in times]
        since_first += [(moment - min(times)) * 1000 for moment in times]
        whole.append((max(times) - min(times)) * 1000)
    return since_receipt, since_first, whole


def _report(platform: RunningPlatform, number: int) -> dict[str, Any]:
    body = {
        "channel": "web",
        "language": "en",
        "country": "GT",
        "text": f"An invented report, {number}, unlike the others: {number * 7919}.",
        "imminent_danger": True,
    }
    return dict(platform.post("intake", "/v1/reports", body).json())


def _reference(platform: RunningPlatform, report_id: str) -> str:
    document = "query($id: ID!) { incidentByReport(reportId: $id) { reference } }"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = platform.query("supervisor", document, id=report_id)["incidentByReport"]
        if found:
            return str(found["reference"])
        time.sleep(0.05)
    raise TimeoutError("the report was not triaged")


def _print(what: str, milliseconds: list[float]) -> None:
    p50, p95, most = percentile(milliseconds, 0.5), percentile(milliseconds, 0.95), max(milliseconds)
    print(f"{what}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, most {most:.1f} ms, n {len(milliseconds)}")


def _resident_mib(platform: RunningPlatform) -> float:
    if platform.process is None or not sys.platform.startswith("linux"):
        return 0.0
    status = Path(f"/proc/{platform.process.pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


if __name__ == "__main__":
    main()
