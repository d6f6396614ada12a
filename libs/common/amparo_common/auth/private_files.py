"""Small files that only this account may read, replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def read_private(file: Path) -> str | None:
    """Return the text of `file`; None when it is not there. Raises PermissionError when others may read it."""
    try:
        with file.open(encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if mode & 0o077:
                raise PermissionError(f"{file} may be read by others; chmod 600 it")
            return opened.read()
    except FileNotFoundError:
        return None


def write_private(file: Path, text: str) -> None:
    """Replace `file` by `text`, synced, mode 0600, in a directory of mode 0700."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
