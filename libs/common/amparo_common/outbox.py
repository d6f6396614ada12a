"""The outbox: events wait here, encoded, in the same transaction as the change they tell of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.orm import Session

from amparo_common.db.port import wake
from amparo_common.db.tables import OUTBOX
from amparo_common.events.codec import Envelope, encode
from amparo_common.events.types import Event
from amparo_common.ids import uuid7
from amparo_common.log.port import NewRecord
from amparo_common.vocabulary.codes import Lane

_headers: Final = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An event to publish. `key` is its aggregate's id, `id` the event's own (made when None)."""

    event: Event
    key: UUID
    lane: Lane
    id: UUID | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of the outbox: its sequence number and the record as it will stand in the log."""

    seq: int
    lane: Lane
    record: NewRecord


def source_of(service: str) -> str:
    """Return the CloudEvents source of a service."""
    return f"urn:amparo:{service}"


def put(connection: Connection, outgoing: Sequence[Outgoing], *, service: str, now: datetime) -> None:
    """Store events for the relay, in order; one statement."""
    rows = []
    for one in outgoing:
        event_id = one.id or uuid7()
        envelope = Envelope(
            id=event_id,
            type=one.event.TYPE,
            source=source_of(service),
            time=now,
            key=one.key,
            lane=one.lane,
            traceparent=one.traceparent,
        )
        record = encode(one.event, envelope=envelope)
        rows.append(_row(record, event_id=event_id, urgent=one.lane is Lane.URGENT, now=now))
    if rows:
        connection.execute(insert(OUTBOX), rows)
        wake(connection)


def put_again(connection: Connection, record: NewRecord, *, event_id: UUID, urgent: bool, now: datetime) -> None:
    """Store a record that stood in the log before, for a replay."""
    connection.execute(insert(OUTBOX), [_row(record, event_id=event_id, urgent=urgent, now=now)])
    wake(connection)


def _row(record: NewRecord, *, event_id: UUID, urgent: bool, now: datetime) -> dict[str, object]:
    return {
        "event_id": event_id,
        "urgent": urgent,
        "topic": record.topic,
        "key": record.key,
        "headers": pack_headers(record.headers),
        "value": record.value,
        "created_at": now,
    }


def pack_headers(headers: tuple[tuple[str, bytes], ...]) -> bytes:
    """Encode the headers of a record for a column."""
    return msgspec.msgpack.encode(headers)


def unpack_headers(packed: bytes) -> tuple[tuple[str, bytes], ...]:
    """Decode what `pack_headers` made."""
    return _headers.decode(packed)


def take(source: Session | Connection, limit: int) -> list[Waiting]:
    """Return up to `limit` waiting records: urgent ones first, each lane in the order of its writing.

    There is no cursor: what is not dropped comes again, so a row that is committed late is never passed over.
    """
    waiting = _take_lane(source, urgent=True, limit=limit)
    if len(waiting) < limit:
        waiting += _take_lane(source, urgent=False, limit=limit - len(waiting))
    return waiting


def _take_lane(source: Session | Connection, *, urgent: bool, limit: int) -> list[Waiting]:
    columns, lane = OUTBOX.c, Lane.URGENT if urgent else Lane.STANDARD
    query = select(columns.seq, columns.topic, columns.key, columns.headers, columns.value)
    rows = source.execute(query.where(columns.urgent.is_(urgent)).order_by(columns.seq).limit(limit))
    return [
        Waiting(seq, lane, NewRecord(topic=topic, key=key, value=value, headers=_headers.decode(headers)))
        for seq, topic, key, headers, value in rows
    ]


def drop(connection: Connection, seqs: Sequence[int]) -> None:
    """Remove published rows; one statement."""
    if seqs:
        connection.execute(delete(OUTBOX).where(OUTBOX.c.seq.in_(seqs)))


def depth(source: Session | Connection) -> int:
    """Count the waiting records."""
    return source.execute(select(func.count()).select_from(OUTBOX)).scalar_one()
