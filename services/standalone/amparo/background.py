"""The embedded platform in the background: start, stop, look."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from amparo.client import SERVICE_PORTS, PlatformClient, PlatformError

_LOOK_EVERY_S = 0.1
_OK = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """How one service stands. `detail` is empty when it is ready."""

    service: str
    address: str
    ready: bool
    detail: str


def pid_file(data_dir: Path) -> Path:
    return data_dir / "amparo.pid"


def running_pid(data_dir: Path) -> int | None:
    """Return the process id of the platform on this data directory; None when there is none."""
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(pid_file(data_dir).read_text(encoding="ascii"))
        os.kill(pid, 0)
        return pid
    return None


def start(data_dir: Path, *, environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
    """Start `amparo up` in a session of its own; return the process and the file that takes what it prints."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    output = data_dir / "platform.log"
    with output.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "amparo", "up"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            env=dict(environment),
        )
    return process, output


async def stop(data_dir: Path, *, patience_s: float) -> bool:
    """Ask the platform to stop and wait for its end; False when it did not end within `patience_s` seconds."""
    pid = running_pid(data_dir)
    if pid is None:
        return True
    os.kill(pid, signal.SIGTERM)
    deadline = monotonic() + patience_s
    while running_pid(data_dir) == pid:
        if monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_EVERY_S)
    return True


async def standings(client: PlatformClient) -> list[Standing]:
    """Ask every service whether it is ready."""
    return [await _standing(client, service, port) for service, port in SERVICE_PORTS.items()]


async def _standing(client: PlatformClient, service: str, port: int) -> Standing:
    try:
        status, text = await client.get(port, "/readyz")
    except PlatformError:
        return Standing(service, client.url(port), ready=False, detail="does not answer")
    return Standing(service, client.url(port), ready=status == _OK, detail="" if status == _OK else text)


async def until_ready(client: PlatformClient, process: subprocess.Popen[bytes], *, patience_s: float) -> bool:
    """Wait until every service is ready; False when the process ended or `patience_s` seconds passed."""
    deadline = monotonic() + patience_s
    while monotonic() < deadline and process.poll() is None:
        if all(standing.ready for standing in await standings(client)):
            return True
        await asyncio.sleep(_LOOK_EVERY_S)
    return False
