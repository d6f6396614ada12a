"""Events as rows of the projection, a batch at a time. Which are newer than the stored ones, the statements decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, TypeVar
from uuid import UUID

from amparo_common.events.codec import Received
from amparo_common.events.types import (
    AuditRecorded,
    IncidentTriaged,
    PartnerChanged,
    ReferralChanged,
    ReportJoined,
    TaskChanged,
)
from amparo_gateway import domain

Row = Mapping[str, Any]
Key = TypeVar("Key")


@dataclass(slots=True)
class Batch:
    """The rows of one batch, at most one for each key; of several versions the newest."""

    incidents: dict[UUID, Row] = field(default_factory=dict)
    owners: dict[tuple[str, UUID], Row] = field(default_factory=dict)
    history: dict[tuple[UUID, int], Row] = field(default_factory=dict)
    reports: dict[UUID, Row] = field(default_factory=dict)
    referrals: dict[UUID, Row] = field(default_factory=dict)
    partners: dict[UUID, Row] = field(default_factory=dict)
    tasks: dict[UUID, Row] = field(default_factory=dict)
    audited: dict[tuple[str, int], Row] = field(default_factory=dict)

    def incident(self, event: IncidentTriaged, *, state: bytes) -> None:
        key = event.incident_id, event.version
        self.history.setdefault(key, {"incident_id": key[0], "version": key[1], "state": state})
        row = _incident(event, state=state)
        _keep_newest(self.incidents, event.incident_id, row)
        for owner in event.owners:
            _keep_newest(self.owners, (owner, event.incident_id), _owned(row, owner=owner))

    def joined(self, event: ReportJoined) -> None:
        row = {"id": event.report_id, "incident_id": event.incident_id, "incident_version": event.incident_version}
        _keep_newest(self.reports, event.report_id, row, version="incident_version")

    def referral(self, event: ReferralChanged, *, state: bytes) -> None:
        _keep_newest(self.referrals, event.referral_id, _referral(event, state=state))

    def partner(self, event: PartnerChanged, *, state: bytes) -> None:
        _keep_newest(self.partners, event.partner_id, _partner(event, state=state))

    def task(self, event: TaskChanged, *, state: bytes) -> None:
        _keep_newest(self.tasks, event.task_id, _task(event, state=state))

    def audit(self, event: AuditRecorded) -> None:
        key = event.service, event.sequence
        row = {name: getattr(event, name) for name in event.__struct_fields__}
        self.audited.setdefault(key, row | {"newest_place": domain.trail_place(event)})


def batch_of(deliveries: Iterable[Received]) -> Batch:
    """Sort what arrived into rows; events that the projection has no place for are let pass."""
    batch = Batch()
    for delivery in deliveries:
        match delivery.event:
            case IncidentTriaged() as event:
                batch.incident(event, state=delivery.record.value)
            case ReportJoined() as event:
                batch.joined(event)
            case ReferralChanged() as event:
                batch.referral(event, state=delivery.record.value)
            case PartnerChanged() as event:
                batch.partner(event, state=delivery.record.value)
            case TaskChanged() as event:
                batch.task(event, state=delivery.record.value)
            case AuditRecorded() as event:
                batch.audit(event)
            case _:
                pass
    return batch


def _keep_newest(rows: dict[Key, Row], key: Key, row: Row, *, version: str = "version") -> None:
    kept = rows.get(key)
    if kept is None or row[version] > kept[version]:
        rows[key] = row


def _incident(event: IncidentTriaged, *, state: bytes) -> Row:
    return {
        "id": event.incident_id,
        "version": event.version,
        "queue_place": domain.queue_place(event),
        "receipt_place": domain.receipt_place(event),
        "reference": event.reference,
        "lane": event.lane,
        "level": event.level,
        "status": event.status,
        "category": event.category,
        "country": event.country,
        "channels": domain.channel_bits(event.channels),
        "channel": event.channels[0],
        "received_at": event.received_at,
        "received_on": event.received_at.astimezone(UTC).date().isoformat(),
        "due_at": event.due_at,
        "claimed_by": event.claimed_by,
        "in_queue": domain.in_queue(event),
        "awaiting_signature": event.awaiting_signature,
        "state": state,
    }


def _owned(incident: Row, *, owner: str) -> Row:
    copied = {name: incident[name] for name in ("version", "queue_place", "receipt_place")}
    return {"owner": owner, "incident_id": incident["id"], **copied}


def _referral(event: ReferralChanged, *, state: bytes) -> Row:
    return {
        "id": event.referral_id,
        "version": event.version,
        "newest_place": domain.newest_place(event),
        "reference": event.reference,
        "incident_id": event.incident_id,
        "partner_id": event.partner_id,
        "country": event.country,
        "organisation": event.organisation if domain.partner_sees(event) else None,
        "destination": event.destination,
        "status": event.status,
        "delivered_at": event.delivered_at,
        "due_at": event.due_at,
        "state": state,
    }


def _partner(event: PartnerChanged, *, state: bytes) -> Row:
    return {
        "id": event.partner_id,
        "version": event.version,
        "name_place": domain.name_place(event),
        "countries": f" {' '.join(event.countries)} ",
        "state": state,
    }


def _task(event: TaskChanged, *, state: bytes) -> Row:
    return {
        "id": event.task_id,
        "version": event.version,
        "due_place": domain.due_place(event),
        "referral_id": event.referral_id,
        "country": event.country,
        "is_open": event.completed_at is None,
        "state": state,
    }
