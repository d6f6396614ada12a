"""Looking the embedded platform over: each check says what it saw and what to do about it."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from amparo.background import running_pid, standings
from amparo.client import PlatformClient
from amparo_common.settings import PORTS, PlatformSettings

_OLDEST_PYTHON = (3, 11)
_OLDEST_SQLITE = (3, 35, 0)
_LEAST_FREE_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw. `advice` says what to do when it is not well."""

    name: str
    well: bool
    seen: str
    advice: str = ""


async def look_over(settings: PlatformSettings) -> list[Finding]:
    """Run every check; those of the running platform only where one runs on this data directory."""
    findings = [finding for check in _CHECKS for finding in check(settings)]
    if running_pid(settings.data_dir) is None:
        return [*findings, *_ports_free(settings)]
    async with PlatformClient(settings) as client:
        for standing in await standings(client):
            seen = "ready" if standing.ready else standing.detail
            advice = f"see {settings.data_dir / 'platform.log'}"
            findings.append(Finding(f"{standing.service} at {standing.address}", standing.ready, seen, advice))
    return findings


def _interpreter(_: PlatformSettings) -> Iterator[Finding]:
    seen = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= _OLDEST_PYTHON, seen, "Amparo needs Python 3.11 or newer")
    yield Finding(
        "SQLite",
        sqlite3.sqlite_version_info >= _OLDEST_SQLITE,
        sqlite3.sqlite_version,
        "Amparo needs SQLite 3.35 or newer (RETURNING)",
    )


def _data_directory(settings: PlatformSettings) -> Iterator[Finding]:
    directory = settings.data_dir.absolute()
    there = next(parent for parent in (directory, *directory.parents) if parent.exists())
    yield Finding("data directory", _writable(there), str(directory), "give this user the right to write there")
    free = shutil.disk_usage(there).free
    yield Finding(
        "free space", free >= _LEAST_FREE_BYTES, f"{free // 2**20} MiB", "make room: a full disk stops intake"
    )
    if directory.exists():
        mode = stat.S_IMODE(directory.stat().st_mode)
        yield Finding("privacy of the data", not mode & 0o077, f"mode {mode:o}", f"chmod 700 {directory}")


def _writable(directory: Path) -> bool:
    probe = directory / ".amparo-doctor"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def _key_files(settings: PlatformSettings) -> Iterator[Finding]:
    for file in sorted(settings.data_dir.rglob("*.key*")) + sorted(settings.data_dir.rglob("*keys*.json")):
        mode = stat.S_IMODE(file.stat().st_mode)
        yield Finding(f"key file {file.name}", not mode & 0o077, f"mode {mode:o}", f"chmod 600 {file}")


def _databases(settings: PlatformSettings) -> Iterator[Finding]:
    for file in sorted(settings.data_dir.glob("*.db")):
        yield Finding(f"database {file.name}", *_checked(file))


def _checked(file: Path) -> tuple[bool, str, str]:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        said = type(error).__name__
    return said == "ok", str(said), "restore it from a backup; the log refills the gateway's projection"


def _ports_free(settings: PlatformSettings) -> Iterator[Finding]:
    for name, base in PORTS.items():
        port = settings.port(base)
        free = _free(port)
        advice = "another program listens there; set AMPARO_PORT_OFFSET"
        yield Finding(f"port {port} ({name})", free, "free" if free else "taken", advice)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_CHECKS: tuple[Callable[[PlatformSettings], Iterator[Finding]], ...] = (
    _interpreter,
    _data_directory,
    _key_files,
    _databases,
)
