"""`python -m benchmarks.graph`: CPU of a page of 50 x 10 fields and a partner, over HTTP, against a bare route (R3).

Prints figures and asserts none: times belong to a machine. `--profile` prints where the graph's time goes.
"""

from __future__ import annotations

import asyncio
import cProfile
import http.client
import json
import os
import pstats
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import uvicorn

from amparo_common.auth.issuer import app as issuer_app
from amparo_common.log.sqlite import SqliteLog
from amparo_common.runtime import run, serve
from amparo_common.settings import PORTS
from amparo_common.testing.platform import free_offset
from amparo_gateway import app as gateway_app
from amparo_gateway.settings import GatewaySettings
from benchmarks.filled import opened, store_referrals
from benchmarks.raw import page as raw_page

_ROWS, _WARM, _REQUESTS, _TURNS = 2_000, 100, 500, 3
_QUERY: Final = """{ referrals(first: 50) { edges { node {
  id reference destination status release level category createdAt dueAt version partner { name } } } } }"""
_BODY: Final = json.dumps({"query": _QUERY}).encode()


def main(arguments: Sequence[str]) -> None:
    """Measure both in turns, print the median ratio; or serve one of them, which `main` starts as a child."""
    if arguments[:1] == ["--serve"]:
        _serve(arguments[1], Path(arguments[2]), offset=int(arguments[3]), profiled="--profile" in arguments)
        return
    directory = Path(tempfile.mkdtemp(prefix="amparo-graph-"))
    try:
        asyncio.run(_fill(directory))
        turns = [_turn(directory, profiled="--profile" in arguments) for _ in range(_TURNS)]
    finally:
        shutil.rmtree(directory)
    ratios = sorted(graph / bare for graph, bare in turns)
    print(f"graph to bare: {ratios[len(ratios) // 2]:.1f} (R3: at most 6 now, 4 is the goal)")


async def _fill(directory: Path) -> None:
    database = await opened(directory / "gateway-projection.db")
    await store_referrals(database, rows=_ROWS)
    await database.close()


def _turn(directory: Path, *, profiled: bool) -> tuple[float, float]:
    graph, bare = (_milliseconds(name, directory, profiled=profiled) for name in ("gateway", "bare"))
    print(f"CPU a request: graph {graph:.2f} ms, bare {bare:.2f} ms, {graph / bare:.1f} times")
    return graph, bare


# ---------------------------------------------------------------- the measuring side


def _milliseconds(name: str, directory: Path, *, profiled: bool) -> float:
    """Return the CPU milliseconds that a server process spends on a request, its idle work taken off."""
    offset = free_offset(seed=os.getpid())
    command = [sys.executable, "-m", "benchmarks.graph", "--serve", name, str(directory), str(offset)]
    with subprocess.Popen([*command, *(["--profile"] if profiled else [])]) as process:
        try:
            ask = _asker(name, offset=offset)
            for _ in range(_WARM):
                ask()
            idle_from, idle_began = _cpu_s(process.pid), time.perf_counter()
            time.sleep(1.0)
            idle = (_cpu_s(process.pid) - idle_from) / (time.perf_counter() - idle_began)
            spent_from, began = _cpu_s(process.pid), time.perf_counter()
            for _ in range(_REQUESTS):
                ask()
            spent = _cpu_s(process.pid) - spent_from - idle * (time.perf_counter() - began)
        finally:
            process.send_signal(signal.SIGINT)
    return spent / _REQUESTS * 1000


def _cpu_s(pid: int) -> float:
    """Return the time that all threads of a process were on a CPU, in nanoseconds exactly."""
    spent = (task.joinpath("schedstat").read_text(encoding="ascii") for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(one.split()[0]) for one in spent) / 1e9


def _asker(name: str, *, offset: int) -> Callable[[], None]:
    headers = {"content-type": "application/json"}
    if name == "gateway":
        headers["authorization"] = f"Bearer {_token(offset)}"
    connection = _connected(PORTS["gateway"] + offset)

    def ask() -> None:
        connection.request("POST", "/graphql", body=_BODY, headers=headers)
        answer = json.loads(connection.getresponse().read())
        if len(answer["data"]["referrals"]["edges"]) != 50:
            raise RuntimeError(f"no page came: {answer}")

    return ask


def _connected(port: int) -> http.client.HTTPConnection:
    deadline = time.monotonic() + 20
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.connect()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            # Else the body waits for the acknowledgement of the headers.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection


def _token(offset: int) -> str:
    connection = _connected(PORTS["issuer"] + offset)
    form = {"grant_type": "password", "client_id": "amparo-cli", "username": "triager", "password": "triager"}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/token", body=urlencode(form), headers=headers)
    token: str = json.loads(connection.getresponse().read())["access_token"]
    return token


# ---------------------------------------------------------------- the serving side


def _serve(name: str, directory: Path, *, offset: int, profiled: bool) -> None:
    if name == "bare":
        app = raw_page.create_app(directory / "gateway-projection.db")
        uvicorn.run(app, port=PORTS["gateway"] + offset, log_level="error", access_log=False)
        return
    profile = cProfile.Profile()
    if profiled:
        profile.enable()
    run(_gateway(directory, offset=offset))
    profile.disable()
    if profiled:
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)


async def _gateway(directory: Path, *, offset: int) -> None:
    settings: Any = GatewaySettings(data_dir=directory, port_offset=offset)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    log = await SqliteLog.open(directory / "log")
    async with issuer_app.compose(settings) as issuer, gateway_app.compose(settings, log=log) as gateway:
        await serve([issuer, gateway], on_ready=lambda _: None, stop=stop)
    await log.close()


if __name__ == "__main__":
    main(sys.argv[1:])
