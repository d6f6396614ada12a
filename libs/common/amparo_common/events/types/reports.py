"""Reports and what reporters write."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from amparo_common.events.streams import Stream
from amparo_common.events.types.shape import Event
from amparo_common.vocabulary.codes import Category, Channel, Factor, Lane, ReporterType, SafeContact


class ReportReceived(Event, frozen=True, kw_only=True):
    """A report was stored. Aggregate: the report, version 1. Sealed under its own data key."""

    TYPE = "org.amparo.report.received.v1"
    STREAM = Stream.REPORTS

    report_id: UUID
    received_at: datetime
    lane: Lane
    channel: Channel
    language: str
    country: str
    category: Category | None
    factors: tuple[Factor, ...]
    victim_age: int | None
    victim_count: int | None
    imminent_danger: bool | None
    reporter_type: ReporterType | None
    safe_contact: SafeContact | None
    #: Who owns sight of it: `agent:SUBJECT`, `integrator:KEY`; None for the public.
    owner: str | None
    #: True when an authenticated partner sent it.
    trusted_source: bool
    is_test: bool
    #: Sealed JSON of `amparo_common.crypto.parts.Narrative`.
    narrative: bytes
    #: Sealed JSON of `amparo_common.crypto.parts.Identity`; None when nothing of it was given. Only intake opens it.
    identity: bytes | None


class ReporterMessageReceived(Event, frozen=True, kw_only=True):
    """A reporter wrote by case code. Sealed under the data key of the report."""

    TYPE = "org.amparo.report.message_received.v1"
    STREAM = Stream.REPORTS

    report_id: UUID
    message_id: UUID
    at: datetime
    language: str
    #: Sealed JSON of `amparo_common.crypto.parts.Message`.
    message: bytes


class ReportsErased(Event, frozen=True, kw_only=True):
    """The data keys of these reports were destroyed; every sealed copy of theirs is unreadable for good."""

    TYPE = "org.amparo.reports.erased.v1"
    STREAM = Stream.REPORTS

    incident_id: UUID
    report_ids: tuple[UUID, ...]
    at: datetime
