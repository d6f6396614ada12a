"""Every statement that writes the projection; a batch costs at most one statement a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Table, column, delete, select, table as table_clause

from amparo_common.db.upsert import insert_if_new, upsert
from amparo_gateway import tables
from amparo_gateway.projection.rows import Batch, Row

_TABLES: Final = tables.projection_metadata.tables
_THE_ROW: Final = 1
#: Where Alembic notes which migration made the tables.
_REVISION: Final = table_clause("alembic_version", column("version_num")).c.version_num


def apply(connection: Connection, batch: Batch) -> None:
    """Store what `batch` knows better. Any order, any number of times: the tables end with the same bytes."""
    _keep_newest(connection, _TABLES["incident"], batch.incidents.values())
    _keep_newest(connection, _TABLES["incident_owner"], batch.owners.values())
    _keep_newest(connection, _TABLES["referral"], batch.referrals.values())
    _keep_newest(connection, _TABLES["partner"], batch.partners.values())
    _keep_newest(connection, _TABLES["task"], batch.tasks.values())
    _keep_newest(connection, _TABLES["report"], batch.reports.values(), newer="incident_version")
    _keep_all(connection, _TABLES["incident_history"], batch.history.values())
    _keep_all(connection, _TABLES["audited"], batch.audited.values())


def stored_before(connection: Connection, batch: Batch) -> Mapping[UUID, bytes]:
    """Return the states, as they stand, of the incidents and referrals that `batch` brings."""
    found: dict[UUID, bytes] = {}
    for name, rows in (("incident", batch.incidents), ("referral", batch.referrals)):
        if rows:
            columns = _TABLES[name].c
            query = select(columns.id, columns.state).where(columns.id.in_(list(rows)))
            found.update((row.id, row.state) for row in connection.execute(query))
    return found


def _keep_newest(connection: Connection, table: Table, rows: Iterable[Row], *, newer: str = "version") -> None:
    if ordered := _in_key_order(table, rows):
        keys = [column.name for column in table.primary_key]
        connection.execute(upsert(connection, table, unique=keys, newer=newer), ordered)


def _keep_all(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    if ordered := _in_key_order(table, rows):
        connection.execute(insert_if_new(connection, table), ordered)


def _in_key_order(table: Table, rows: Iterable[Row]) -> Sequence[Row]:
    """Two gateways that write the same rows in one order wait for each other instead of deadlocking."""
    names = [column.name for column in table.primary_key]
    return sorted(rows, key=lambda row: [row[name] for name in names])


def filled_from_the_start(connection: Connection) -> bool:
    """Say whether the log was rewound for the tables as they are now."""
    filled = _TABLES["filled_from"].c.revision
    return connection.execute(select(filled).where(filled == _REVISION)).first() is not None


def mark_filled_from_the_start(connection: Connection, *, now: datetime) -> None:
    """Note that the log was rewound, so that the next start goes on where this one ends."""
    table = _TABLES["filled_from"]
    row = {"id": _THE_ROW, "revision": connection.execute(select(_REVISION)).scalar_one(), "at": now}
    connection.execute(upsert(connection, table, unique=["id"]), [row])


def empty(connection: Connection) -> None:
    """Delete every row of the projection."""
    for table in _TABLES.values():
        connection.execute(delete(table))
