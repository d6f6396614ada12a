"""The inbox: which events a consumer has applied, kept in the same transaction as their effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, and_, delete, or_, select

from amparo_common.db.tables import INBOX
from amparo_common.db.upsert import insert_if_new
from amparo_common.events.codec import Received
from amparo_common.log.port import Record, TopicPartition


def fresh(connection: Connection, *, consumer: str, deliveries: Sequence[Received]) -> list[Received]:
    """Mark the deliveries as applied and return those that `consumer` sees for the first time, in their order.

    Repeats inside the batch count once. One statement.
    """
    first: dict[UUID, Received] = {}
    for delivery in deliveries:
        first.setdefault(delivery.envelope.id, delivery)
    rows = [_row(consumer, event_id, delivery.record) for event_id, delivery in first.items()]
    if not rows:
        return []
    statement = insert_if_new(connection, INBOX, unique=("consumer", "event_id")).returning(INBOX.c.event_id)
    new = set(connection.execute(statement, rows).scalars())
    return [delivery for event_id, delivery in first.items() if event_id in new]


def mark(connection: Connection, event_id: UUID, *, consumer: str, record: Record) -> bool:
    """Mark one event as seen by `consumer`; False when it was already."""
    statement = insert_if_new(connection, INBOX, unique=("consumer", "event_id")).returning(INBOX.c.event_id)
    return connection.execute(statement, [_row(consumer, event_id, record)]).first() is not None


def forget(connection: Connection, event_id: UUID, *, consumer: str) -> None:
    """Let `consumer` take an event once more, for a replay."""
    connection.execute(delete(INBOX).where(INBOX.c.consumer == consumer, INBOX.c.event_id == event_id))


def _row(consumer: str, event_id: UUID, record: Record) -> dict[str, object]:
    return {
        "consumer": consumer,
        "event_id": event_id,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }


def prune(
    connection: Connection,
    *,
    consumer: str,
    positions: Mapping[TopicPartition, int],
    before: datetime,
    limit: int = 5_000,
) -> int:
    """Remove up to `limit` rows below the committed `positions` whose event was made before `before`; return how many.

    The age keeps those for which a repeat may still come (event ids are UUIDv7, so the id tells the age). Repeats that
    come later yet are stopped by the aggregates' versions.
    """
    columns = INBOX.c
    below = [
        and_(columns.topic == at.topic, columns.partition == at.partition, columns.offset < position)
        for at, position in positions.items()
    ]
    if not below:
        return 0
    oldest_kept = UUID(int=int(before.timestamp() * 1000) << 80)
    old = (
        select(columns.event_id)
        .where(columns.consumer == consumer, columns.event_id < oldest_kept, or_(*below))
        .order_by(columns.event_id)
        .limit(limit)
    )
    gone = delete(INBOX).where(columns.consumer == consumer, columns.event_id.in_(old))
    return connection.execute(gone).rowcount
