"""The cost of a sync on the disk under the data directory: what every durable step pays at least."""

from __future__ import annotations

import os
import time
from pathlib import Path


def fsync_seconds(directory: Path, *, rounds: int = 200) -> list[float]:
    """Append 4 KiB and fdatasync, `rounds` times; return the seconds of each."""
    file, block, spent = directory / "fsync-probe", b"\0" * 4096, []
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(rounds):
            os.write(descriptor, block)
            started = time.perf_counter()
            os.fdatasync(descriptor)
            spent.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        file.unlink()
    return spent
