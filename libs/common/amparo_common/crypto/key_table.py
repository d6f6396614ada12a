"""Intake's table of wrapped data keys. A destroyed key leaves a tombstone, so its answer is never `unknown`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, MetaData
from sqlalchemy.orm import Session, registry
from sqlmodel import Field, SQLModel

from amparo_common.crypto.data_keys import Destroyed, KeyState
from amparo_common.crypto.provider import FileKeyProvider, KeyProvider
from amparo_common.crypto.sealing import DataKey
from amparo_common.db.tables import table_of
from amparo_common.db.types import LargeBinary, Uuid
from amparo_common.db.upsert import upsert

if TYPE_CHECKING:
    from alembic.operations import Operations

#: Own metadata, so that only the service that holds keys makes the table.
key_metadata: Final = MetaData()


class _HoldsKeys(SQLModel, registry=registry(metadata=key_metadata)):
    """Base of the key table."""


class KeyTable(_HoldsKeys, table=True):
    """One row a report. `wrapped` is the data key under the master key; empty once it was destroyed."""

    __tablename__: ClassVar[str] = "data_key"

    report_id: UUID = Field(primary_key=True, sa_type=Uuid)
    wrapped: bytes | None = Field(sa_type=LargeBinary)


_keys: Final = table_of(KeyTable)


def create_key_tables(op: Operations) -> None:
    """Make the table in a migration of the service that holds the keys."""
    op.create_table(
        "data_key",
        sa.Column("report_id", Uuid(), primary_key=True),
        sa.Column("wrapped", LargeBinary(), nullable=True),
    )


def drop_key_tables(op: Operations) -> None:
    """Undo `create_key_tables`; every sealed part is unreadable after it."""
    op.drop_table("data_key")


def wrapped_for(report_id: UUID, key: DataKey, *, provider: KeyProvider) -> bytes:
    """Wrap the data key of a report, bound to its id."""
    return provider.wrap(key.raw(), context=_bound_to(report_id))


def unwrapped_for(report_id: UUID, wrapped: bytes, *, provider: KeyProvider) -> DataKey:
    """Unwrap the data key of a report; raises SealBrokenError when `wrapped` is not that report's."""
    return DataKey(provider.unwrap(wrapped, context=_bound_to(report_id)))


def store(connection: Connection, report_id: UUID, wrapped: bytes) -> None:
    """Add the wrapped key of a new report. Raises IntegrityError when the report has one, a destroyed one too."""
    connection.execute(_keys.insert(), {"report_id": report_id, "wrapped": wrapped})


def load(session: Session, ids: Sequence[UUID]) -> dict[UUID, bytes | Destroyed]:
    """Return, for those of `ids` that have a row, the wrapped key or KeyState.DESTROYED; the others are unknown."""
    rows = session.execute(sa.select(_keys.c.report_id, _keys.c.wrapped).where(_keys.c.report_id.in_(ids)))
    return {report_id: KeyState.DESTROYED if wrapped is None else wrapped for report_id, wrapped in rows}


def destroy(connection: Connection, ids: Sequence[UUID]) -> None:
    """Destroy the keys of `ids` for good; each leaves a tombstone, also where no row was (a restored backup).

    The key's bytes are overwritten in their place before the row shrinks, whatever the database does with freed space.
    Earlier pages and dead rows stay in the database's journal until its `scrub`; await that once this is committed.
    """
    if not ids:
        return
    lengths = connection.execute(
        sa.select(_keys.c.report_id, sa.func.length(_keys.c.wrapped)).where(
            _keys.c.report_id.in_(ids), _keys.c.wrapped.is_not(None)
        )
    ).all()
    if lengths:
        connection.execute(
            _keys.update().where(_keys.c.report_id == sa.bindparam("of")).values(wrapped=sa.bindparam("zeros")),
            [{"of": report_id, "zeros": bytes(length)} for report_id, length in lengths],
        )
    tombstones = [{"report_id": report_id, "wrapped": None} for report_id in dict.fromkeys(ids)]
    connection.execute(upsert(connection, _keys, unique=["report_id"]), tombstones)


def rewrap(connection: Connection, provider: FileKeyProvider, *, after: UUID | None, limit: int = 500) -> UUID | None:
    """Wrap up to `limit` keys after the id `after` under the newest master key.

    Returns the last id looked at, for the next call, or None when none is left. Run after `FileKeyProvider.rotate`.
    """
    page = sa.select(_keys).order_by(_keys.c.report_id).limit(limit)
    rows = connection.execute(page if after is None else page.where(_keys.c.report_id > after)).all()
    changes = [
        {"of": report_id, "anew": provider.rewrap(wrapped, context=_bound_to(report_id))}
        for report_id, wrapped in rows
        if wrapped is not None and not provider.is_current(wrapped)
    ]
    if changes:
        connection.execute(
            _keys.update().where(_keys.c.report_id == sa.bindparam("of")).values(wrapped=sa.bindparam("anew")), changes
        )
    return rows[-1][0] if rows else None


def _bound_to(report_id: UUID) -> bytes:
    return b"data-key:" + report_id.bytes
