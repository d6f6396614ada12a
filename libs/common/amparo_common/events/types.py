"""Every event that Amparo's services tell each other. Change is additive: a new field has a default, an old one stays.

Clear fields hold codes, counts, times and opaque ids. What a person wrote or who a person is stands in sealed bytes,
opened only with the data key of the report that it is part of. State events carry the aggregate whole, with its version.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from amparo_common.events.streams import Stream
from amparo_common.vocabulary.codes import (
    AcknowledgementCode,
    Adapter,
    Category,
    Channel,
    ClockKind,
    ClockState,
    Destination,
    Factor,
    FactorSource,
    IncidentStatus,
    Lane,
    LawfulBasis,
    Level,
    ReferralStatus,
    Release,
    ReporterType,
    SafeContact,
)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of all events. `TYPE` is its CloudEvents type, `STREAM` where it goes."""

    TYPE: ClassVar[str]
    STREAM: ClassVar[Stream]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the values inside events."""


# ---------------------------------------------------------------- reports


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


# ---------------------------------------------------------------- incidents


class RuleFired(Part, frozen=True, kw_only=True):
    """A rule of the policy pack that fired, with the factors that fired it and what it cites."""

    id: str
    floor: Level
    factors: tuple[Factor, ...]
    guidelines: tuple[str, ...]


class FactorFinding(Part, frozen=True, kw_only=True):
    """A factor, who found it, and whether a human confirmed (True) or rejected (False) it."""

    factor: Factor
    source: FactorSource
    confirmed: bool | None = None
    #: The report that it was found in.
    report_id: UUID | None = None


class Decision(Part, frozen=True, kw_only=True):
    """How a level came about, enough to explain it months later with the pack of its day."""

    version: int
    pack: str
    pack_digest: str
    base_level: Level
    level: Level
    score: int
    rules: tuple[RuleFired, ...]
    factors: tuple[FactorFinding, ...]
    guidelines: tuple[str, ...]
    #: Reason in words by language; no personal data.
    reasons: dict[str, tuple[str, ...]]
    proposed_destinations: tuple[Destination, ...]
    human: bool
    decided_by: str | None
    decided_at: datetime
    #: True while the text of a report could not be opened yet; reading it may only raise.
    text_pending: bool = False


class ProposedLowering(Part, frozen=True, kw_only=True):
    """A lowering from P1 that waits for a second person."""

    level: Level
    category: Category
    by: str
    at: datetime


class ClockReading(Part, frozen=True, kw_only=True):
    """A service target that runs, was met, was missed or was stopped."""

    kind: ClockKind
    state: ClockState
    started_at: datetime
    due_at: datetime
    completed_at: datetime | None = None


class IncidentTriaged(Event, frozen=True, kw_only=True):
    """The whole state of an incident after a change. Aggregate: the incident; its id is that of its first report."""

    TYPE = "org.amparo.incident.triaged.v1"
    STREAM = Stream.INCIDENTS

    incident_id: UUID
    reference: str
    version: int
    changed_at: datetime
    lane: Lane
    country: str
    channels: tuple[Channel, ...]
    received_at: datetime
    level: Level
    provisional: bool
    status: IncidentStatus
    category: Category
    secondary_categories: tuple[Category, ...]
    report_count: int
    decision: Decision
    clocks: tuple[ClockReading, ...]
    due_at: datetime | None
    claimed_by: str | None
    claimed_until: datetime | None
    awaiting_signature: bool
    proposed_lowering: ProposedLowering | None
    #: Owners of sight of its reports (see ReportReceived.owner).
    owners: tuple[str, ...]
    victim_age: int | None
    victim_count: int | None
    is_test: bool
    erased: bool = False


class ReportJoined(Event, frozen=True, kw_only=True):
    """A report opened an incident or joined one. The sealed narrative is passed on as it came; the identity is not."""

    TYPE = "org.amparo.report.joined.v1"
    STREAM = Stream.INCIDENTS

    incident_id: UUID
    incident_version: int
    report_id: UUID
    lane: Lane
    at: datetime
    received_at: datetime
    channel: Channel
    language: str
    country: str
    victim_age: int | None
    victim_count: int | None
    imminent_danger: bool | None
    reporter_type: ReporterType | None
    safe_contact: SafeContact | None
    owner: str | None
    narrative: bytes


# ---------------------------------------------------------------- referrals


class WithheldField(Part, frozen=True, kw_only=True):
    """A field that the package leaves out, the safeguard that asks for it, and why in words."""

    field: str
    safeguard: str
    reason: str


class DeliveryAttempt(Part, frozen=True, kw_only=True):
    """One attempt to reach the partner. `outcome` is a slug such as `delivered`, `refused`, `timed_out`."""

    number: int
    at: datetime
    outcome: str
    status_code: int | None
    next_attempt_at: datetime | None


class PartnerAnswer(Part, frozen=True, kw_only=True):
    """An acknowledgement as stored; its note is sealed in referral's database and not carried here."""

    acknowledgement_id: UUID
    at: datetime
    code: AcknowledgementCode
    by: str
    partner_reference: str | None


class ReferralChanged(Event, frozen=True, kw_only=True):
    """The whole state of a referral after a change. Aggregate: the referral."""

    TYPE = "org.amparo.referral.changed.v1"
    STREAM = Stream.REFERRALS

    referral_id: UUID
    reference: str
    version: int
    #: Grows only with the package: what the partner sees as `data.version`.
    package_version: int
    changed_at: datetime
    incident_id: UUID
    partner_id: UUID
    partner_name: str
    organisation: str | None
    country: str
    destination: Destination
    adapter: Adapter
    status: ReferralStatus
    release: Release
    level: Level
    category: Category
    lawful_basis: LawfulBasis
    created_at: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    due_at: datetime | None
    is_test: bool
    profile: str
    withheld: tuple[WithheldField, ...]
    attempts: tuple[DeliveryAttempt, ...]
    acknowledgements: tuple[PartnerAnswer, ...]


# ---------------------------------------------------------------- audit, dead letters


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
