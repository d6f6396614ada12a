"""The audit chain of a service: each row's hash covers the row and the hash before it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from sqlalchemy import Connection, insert, select

from amparo_common import outbox
from amparo_common.clock import rfc3339
from amparo_common.db.tables import AUDIT_ENTRY, AUDIT_HEAD
from amparo_common.db.upsert import insert_if_new
from amparo_common.events.types import AuditRecorded
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Lane

#: The hash before the first row.
GENESIS: Final = bytes(32)
_canonical: Final = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What somebody did, or was denied. Ids and codes only: `subject` is an opaque id, `actor` the token's subject."""

    actor: str
    role: str
    action: str
    subject: str
    allowed: bool
    purpose: str | None = None


def record(connection: Connection, entries: Sequence[AuditEntry], *, service: str, now: datetime) -> None:
    """Append `entries` to the chain of `service` and put one `AuditRecorded` each into the outbox, in order.

    `now` is kept in milliseconds. The head's row is locked until the transaction ends, so a chain grows by one
    transaction at a time.
    """
    if not entries:
        return
    at = to_milliseconds(now)
    size, head = lock_head(connection, service)
    rows = []
    for sequence, entry in enumerate(entries, start=size + 1):
        row = _row(entry, service=service, sequence=sequence, at=at)
        head = row["hash"] = link(head, row)
        rows.append(row)
    connection.execute(insert(AUDIT_ENTRY), rows)
    _move_head(connection, service, size=size + len(rows), head=head)
    outbox.put(connection, [_outgoing(row) for row in rows], service=service, now=now)


def to_milliseconds(moment: datetime) -> datetime:
    """Cut a moment to what the canonical form carries."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def link(previous: bytes, row: Mapping[str, Any]) -> bytes:
    """Return SHA-256 over `previous` and the canonical JSON of the row's own members."""
    return hashlib.sha256(previous + canonical(row)).digest()


def canonical(row: Mapping[str, Any]) -> bytes:
    """Write a row's members, its hash aside, as JSON with sorted names, no spaces, and UTC milliseconds."""
    return _canonical.encode(
        {
            "service": row["service"],
            "sequence": row["sequence"],
            "at": rfc3339(row["at"]),
            "actor": row["actor"],
            "role": row["role"],
            "action": row["action"],
            "subject": row["subject"],
            "purpose": row["purpose"],
            "allowed": row["allowed"],
        }
    )


def lock_head(connection: Connection, service: str) -> tuple[int, bytes]:
    """Return size and hash of the chain's head, locked until the transaction ends; made when there is none."""
    query = select(AUDIT_HEAD.c.size, AUDIT_HEAD.c.hash).where(AUDIT_HEAD.c.service == service).with_for_update()
    found = connection.execute(query).one_or_none()
    if found is None:
        first = {"service": service, "size": 0, "hash": GENESIS}
        connection.execute(insert_if_new(connection, AUDIT_HEAD, unique=("service",)), [first])
        found = connection.execute(query).one()
    return found.size, found.hash


def _move_head(connection: Connection, service: str, *, size: int, head: bytes) -> None:
    moved = AUDIT_HEAD.update().where(AUDIT_HEAD.c.service == service).values(size=size, hash=head)
    connection.execute(moved)


def _row(entry: AuditEntry, *, service: str, sequence: int, at: datetime) -> dict[str, Any]:
    return {
        "service": service,
        "sequence": sequence,
        "at": at,
        "actor": entry.actor,
        "role": entry.role,
        "action": entry.action,
        "subject": entry.subject,
        "purpose": entry.purpose,
        "allowed": entry.allowed,
    }


def stream_key(service: str) -> UUID:
    """Return the aggregate id of a service's chain."""
    return uuid5(NAMESPACE_URL, f"urn:amparo:{service}:audit")


def _outgoing(row: dict[str, Any]) -> Outgoing:
    event = AuditRecorded(**{**row, "hash": row["hash"].hex()})
    return Outgoing(event=event, key=stream_key(row["service"]), lane=Lane.STANDARD)
