"""How tests watch a process's syncs to disk."""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

#: Follows all threads and writes to the file that comes next; `-s` keeps what is written readable.
STRACE: Final = ("strace", "-f", "-s", "64", "-e", "trace=fsync,fdatasync,write,sendto,recvfrom", "-o")


def why_not() -> str:
    """Return why syncs cannot be watched here; an empty text when they can."""
    if shutil.which("strace") is None:
        return "strace is not installed, so nobody saw that acknowledged means synced: apt-get install strace"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)  # noqa: S607
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""
