"""How tests watch a process's syncs to disk."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

_CALLS: Final = "fsync,fdatasync,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg"
#: Follows all threads, names the files behind descriptors, and writes to the file that comes next.
STRACE: Final = ("strace", "-f", "-y", "-s", "64", "-e", f"trace={_CALLS}", "-o")
_BEGUN: Final = re.compile(r"^(\d+) +f(?:data)?sync\(\d+<(?P<file>[^>]*)>(?P<rest>.*)$")
_ENDED: Final = re.compile(r"^(\d+) +<\.\.\. f(?:data)?sync resumed>\) += 0$")


def why_not() -> str:
    """Return why syncs cannot be watched here; an empty text when they can."""
    if shutil.which("strace") is None:
        return "strace is not installed, so nobody saw that acknowledged means synced: apt-get install strace"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)  # noqa: S607 - found on the path above
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""


def spans(trace: str, *, start: str, end: str) -> list[list[str]]:
    """Return the lines of a trace from each one that holds `start` to the next that holds `end`."""
    found: list[list[str]] = []
    inside = False
    for line in trace.splitlines():
        if start in line:
            found.append([])
            inside = True
        elif inside and end in line:
            inside = False
        elif inside:
            found[-1].append(line)
    return found


def synced(lines: Sequence[str], *, file: str) -> bool:
    """Tell whether a sync of a file whose name ends in `file` began and succeeded within these lines."""
    waiting: set[str] = set()
    for line in lines:
        if (begun := _BEGUN.match(line)) and begun["file"].endswith(file):
            if re.match(r"\) += 0$", begun["rest"]):
                return True
            waiting.add(begun[1])
        elif (ended := _ENDED.match(line)) and ended[1] in waiting:
            return True
    return False
