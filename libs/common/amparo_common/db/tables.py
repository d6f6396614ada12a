"""The tables that every service has: outbox, inbox, dead letters, audit chain."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Index, MetaData, Table, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from amparo_common.db.types import BigId, LargeBinary, UtcDateTime, Uuid

common_metadata = MetaData()


class CommonTable(SQLModel, registry=registry(metadata=common_metadata)):
    """Base of the tables that every service's database holds."""


class Outbox(CommonTable, table=True):
    """An encoded event that waits for the log. `headers` is msgpack of pairs of name and bytes."""

    __tablename__: ClassVar[str] = "outbox"
    __table_args__ = (Index("outbox_lane", "urgent", "seq"),)

    seq: int | None = Field(default=None, primary_key=True, sa_type=BigId)
    event_id: UUID = Field(sa_type=Uuid)
    urgent: bool
    topic: str = Field(sa_type=Text)
    key: bytes = Field(sa_type=LargeBinary)
    headers: bytes = Field(sa_type=LargeBinary)
    value: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Inbox(CommonTable, table=True):
    """An event that a consumer has applied, with the place in the log where it stood."""

    __tablename__: ClassVar[str] = "inbox"
    __table_args__ = ({"sqlite_with_rowid": False},)

    consumer: str = Field(primary_key=True, sa_type=Text)
    event_id: UUID = Field(primary_key=True, sa_type=Uuid)
    topic: str = Field(sa_type=Text)
    partition: int
    offset: int = Field(sa_type=BigId)


class DeadLetter(CommonTable, table=True):
    """A record that this service could not apply, as it came. `state` is `waiting`, `replayed` or `discarded`.

    `reason` is why it failed; behind a line end, why somebody settled it.
    """

    __tablename__: ClassVar[str] = "dead_letter"
    __table_args__ = (Index("dead_letter_waiting", "state", "at", "id"),)

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    consumer: str = Field(sa_type=Text)
    topic: str = Field(sa_type=Text)
    partition: int
    offset: int = Field(sa_type=BigId)
    at: datetime = Field(sa_type=UtcDateTime)
    reason: str = Field(sa_type=Text)
    attempt: int
    state: str = Field(sa_type=Text)
    key: bytes = Field(sa_type=LargeBinary)
    headers: bytes = Field(sa_type=LargeBinary)
    value: bytes = Field(sa_type=LargeBinary)


class AuditRow(CommonTable, table=True):
    """One link of a service's audit chain. `hash` is SHA-256 over the hash before it and the row's canonical JSON."""

    __tablename__: ClassVar[str] = "audit_entry"
    __table_args__ = ({"sqlite_with_rowid": False},)

    service: str = Field(primary_key=True, sa_type=Text)
    sequence: int = Field(primary_key=True, sa_type=BigId, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    purpose: str | None = Field(default=None, sa_type=Text)
    allowed: bool
    hash: bytes = Field(sa_type=LargeBinary)


class AuditHead(CommonTable, table=True):
    """The end of a service's audit chain: one row, locked by whoever appends."""

    __tablename__: ClassVar[str] = "audit_head"

    service: str = Field(primary_key=True, sa_type=Text)
    size: int = Field(sa_type=BigId)
    hash: bytes = Field(sa_type=LargeBinary)


class AuditCheckpoint(CommonTable, table=True):
    """A signed head of a service's audit chain."""

    __tablename__: ClassVar[str] = "audit_checkpoint"
    __table_args__ = ({"sqlite_with_rowid": False},)

    service: str = Field(primary_key=True, sa_type=Text)
    size: int = Field(primary_key=True, sa_type=BigId, sa_column_kwargs={"autoincrement": False})
    head: bytes = Field(sa_type=LargeBinary)
    at: datetime = Field(sa_type=UtcDateTime)
    key_id: str = Field(sa_type=Text)
    signature: bytes = Field(sa_type=LargeBinary)


def table_of(model: type[SQLModel]) -> Table:
    """Return the Core table of a table class, for write units."""
    table: Table = model.__table__  # type: ignore[attr-defined]  # SQLModel does not declare it
    return table


OUTBOX = table_of(Outbox)
INBOX = table_of(Inbox)
DEAD_LETTER = table_of(DeadLetter)
AUDIT_ENTRY = table_of(AuditRow)
AUDIT_HEAD = table_of(AuditHead)
AUDIT_CHECKPOINT = table_of(AuditCheckpoint)
