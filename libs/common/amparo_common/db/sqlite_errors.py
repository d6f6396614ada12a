"""Which SQLite errors may pass by themselves."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

from amparo_common.errors import TransientError

#: The machine's failures (disk, locks, memory), by primary code. The others are the caller's: a wrong statement, say.
_OUTSIDE: Final = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_INTERRUPT: "interrupted",
    sqlite3.SQLITE_IOERR: "not readable or writable",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_CANTOPEN: "not to be opened",
    sqlite3.SQLITE_PROTOCOL: "locked",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_READONLY: "read-only",
}


def as_transient(error: Exception, *, writing: bool) -> Exception:
    """Return the TransientError that stands for `error`, or `error` itself when trying again cannot help.

    In a read unit SQLITE_READONLY means that the unit tried to write, which is the caller's mistake.
    """
    code = _primary_code(error)
    if code is None or code not in _OUTSIDE or (code == sqlite3.SQLITE_READONLY and not writing):
        return error
    return TransientError(f"the database is {_OUTSIDE[code]}")


def _primary_code(error: Exception) -> int | None:
    driver_error = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(driver_error, sqlite3.Error):
        return None
    code = getattr(driver_error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
