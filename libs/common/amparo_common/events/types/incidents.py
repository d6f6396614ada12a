"""Incidents, the decisions behind their levels, and the reports that joined them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from amparo_common.events.streams import Stream
from amparo_common.events.types.shape import Event, Part
from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    ClockKind,
    ClockState,
    Destination,
    Factor,
    FactorSource,
    IncidentStatus,
    Lane,
    Level,
    LinkKind,
    ReporterType,
    Role,
    SafeContact,
)


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


class IncidentTie(Part, frozen=True, kw_only=True):
    """A link to another incident. Why it was made is sealed in triage's database and not carried here."""

    incident_id: UUID
    reference: str
    kind: LinkKind
    by: str
    at: datetime


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
    links: tuple[IncidentTie, ...] = ()
    #: What brought this version about, as a slug (`triaged`, `claimed`, `decided`), and the role of who did it.
    change: str = "triaged"
    actor_role: Role | None = None


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
