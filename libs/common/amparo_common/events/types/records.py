"""Audit trails and dead letters."""

from __future__ import annotations

from datetime import datetime

from amparo_common.events.streams import Stream
from amparo_common.events.types.shape import Event


class AuditRecorded(Event, frozen=True, kw_only=True):
    """A row of a service's audit chain."""

    TYPE = "org.amparo.audit.recorded.v1"
    STREAM = Stream.AUDIT

    service: str
    sequence: int
    at: datetime
    actor: str
    role: str
    action: str
    subject: str
    purpose: str | None
    allowed: bool
    hash: str


class AuditCheckpointSigned(Event, frozen=True, kw_only=True):
    """A signed head of a service's audit chain, published so that a cut-off tail shows."""

    TYPE = "org.amparo.audit.checkpoint.v1"
    STREAM = Stream.AUDIT

    service: str
    size: int
    head: str
    at: datetime
    key_id: str
    signature: str


class RecordDeadLettered(Event, frozen=True, kw_only=True):
    """A record that could not be applied. Its value stays as it came, sealed parts sealed."""

    TYPE = "org.amparo.record.dead_lettered.v1"
    STREAM = Stream.DLQ

    service: str
    group: str
    topic: str
    partition: int
    offset: int
    at: datetime
    #: A slug and the exception's type; never its text, which may repeat the value.
    reason: str
    attempt: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
