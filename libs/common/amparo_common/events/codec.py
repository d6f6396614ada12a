"""Encoding of events: CloudEvents 1.0 binary mode over log records."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from amparo_common.clock import rfc3339
from amparo_common.events import types
from amparo_common.events.streams import topic_of
from amparo_common.events.types import Event
from amparo_common.log.port import NewRecord, Record
from amparo_common.vocabulary.codes import Lane

CONTENT_TYPE: Final = "application/json"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The CloudEvents attributes of an event. `key` is the aggregate's id; it decides the partition."""

    id: UUID
    type: str
    source: str
    time: datetime
    key: UUID
    lane: Lane
    traceparent: str | None = None


class Received(msgspec.Struct, frozen=True):
    """An event as it came out of the log, with the record that it came in."""

    envelope: Envelope
    event: Event
    record: Record


class UndecodableError(Exception):
    """A record that is no event of this registry: poison. `reason` is a slug without content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


#: Every event type, once. Generated pages and the golden corpus read this table.
REGISTRY: Final[dict[str, type[Event]]] = {
    kind.TYPE: kind
    for kind in (
        types.ReportReceived,
        types.ReporterMessageReceived,
        types.ReportsErased,
        types.IncidentTriaged,
        types.ReportJoined,
        types.ReferralChanged,
        types.PartnerChanged,
        types.TaskChanged,
        types.AuditRecorded,
        types.AuditCheckpointSigned,
        types.RecordDeadLettered,
    )
}

_encoder = msgspec.json.Encoder(order="deterministic")
_decoders = {name: msgspec.json.Decoder(kind) for name, kind in REGISTRY.items()}


def encode(event: Event, *, envelope: Envelope) -> NewRecord:
    """Encode `event` as the record that goes to the log; the same event and envelope give the same bytes."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(envelope.id).encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_time", rfc3339(envelope.time).encode()),
        ("ce_partitionkey", str(envelope.key).encode()),
        ("ce_lane", envelope.lane.encode()),
        ("content-type", CONTENT_TYPE.encode()),
    ]
    if envelope.traceparent:
        headers.append(("ce_traceparent", envelope.traceparent.encode()))
    return NewRecord(
        topic=topic_of(event.STREAM, lane=envelope.lane),
        key=str(envelope.key).encode(),
        value=_encoder.encode(event),
        headers=tuple(headers),
    )


def decode(record: Record) -> Received:
    """Decode a record. Unknown members are let pass; raises UndecodableError, never with content in its text.

    Its causes are left out of tracebacks, for they repeat what they could not read.
    """
    headers = dict(record.headers)
    try:
        kind = headers["ce_type"].decode()
        decoder = _decoders[kind]
    except (KeyError, UnicodeDecodeError):
        raise UndecodableError("unknown_type") from None
    try:
        envelope = _envelope(kind, headers)
    except (KeyError, ValueError):
        raise UndecodableError("bad_envelope") from None
    try:
        event = decoder.decode(record.value)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        raise UndecodableError("bad_value") from None
    return Received(envelope=envelope, event=event, record=record)


def _envelope(kind: str, headers: dict[str, bytes]) -> Envelope:
    traceparent = headers.get("ce_traceparent")
    return Envelope(
        id=UUID(headers["ce_id"].decode()),
        type=kind,
        source=headers["ce_source"].decode(),
        time=datetime.fromisoformat(headers["ce_time"].decode()),
        key=UUID(headers["ce_partitionkey"].decode()),
        lane=Lane(headers["ce_lane"].decode()),
        traceparent=traceparent.decode() if traceparent else None,
    )
