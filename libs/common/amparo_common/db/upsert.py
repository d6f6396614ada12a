"""Inserts that meet rows already there, in the words of the connection's own dialect."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert


def insert_if_new(connection: Connection, table: Table, *, unique: Sequence[str] = ()) -> Insert:
    """Build an insert that skips rows which stand already.

    `unique` names the columns of the conflict; without it any unique key counts. Execute it with a list of rows; with
    `.returning(...)` only the rows that were new come back, in no promised order.
    """
    return _insert(connection, table).on_conflict_do_nothing(index_elements=list(unique) or None)


def upsert(
    connection: Connection,
    table: Table,
    *,
    unique: Sequence[str],
    update: Sequence[str] | None = None,
    newer: str | None = None,
) -> Insert:
    """Build an insert that overwrites `update` (default: every other column) of a row with the same `unique` columns.

    With `newer` (a version column) the row is overwritten only by a greater value, so late repeats change nothing. On
    PostgreSQL a list of rows may not hold one key twice: keep the newest of each first.
    """
    statement = _insert(connection, table)
    names = update if update is not None else [column.name for column in table.columns if column.name not in unique]
    return statement.on_conflict_do_update(
        index_elements=list(unique),
        set_={name: statement.excluded[name] for name in names},
        where=table.c[newer] < statement.excluded[newer] if newer else None,
    )


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
