"""The incident: its whole state, what follows from it, and the event that tells of it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from amparo_common.events.types import (
    ClockReading,
    Decision,
    FactorFinding,
    IncidentTie,
    IncidentTriaged,
    ProposedLowering,
)
from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    ClockKind,
    ClockState,
    Factor,
    IncidentStatus,
    Level,
    Role,
)
from amparo_common.vocabulary.sets import lane_of
from amparo_triage.domain import clocks as clockwork
from amparo_triage.domain.facts import held
from amparo_triage.domain.judgement import RECURRENCE, CategorySighting, HumanDecision, Proposal, Sighting


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of an incident. Lists are bounded by the vocabulary, not by the number of reports."""

    id: UUID
    reference: str
    version: int
    changed_at: datetime
    country: str
    received_at: datetime
    channels: tuple[Channel, ...]
    #: Categories that somebody ticked, and those that only a text proposes; in the order they came.
    ticked: tuple[Category, ...]
    read: tuple[Category, ...]
    findings: tuple[FactorFinding, ...]
    #: Factors that every report carries: only these may move an incident back inside its level.
    shared: tuple[Factor, ...]
    report_count: int
    erased_count: int = 0
    pending_count: int = 0
    owners: tuple[str, ...]
    victim_age: int | None
    victim_count: int | None
    is_test: bool
    level: Level = Level.P4
    decision: Decision | None = None
    clocks: tuple[ClockReading, ...] = ()
    status: IncidentStatus = IncidentStatus.OPEN
    provisional: bool = True
    joinable: bool = True
    claimed_by: str | None = None
    claimed_until: datetime | None = None
    #: The last version that changed level, category, factors, claim or human decision: what a human must have seen.
    conflict_version: int = 0
    sightings: tuple[Sighting, ...] = ()
    categories_seen: tuple[CategorySighting, ...] = ()
    human: HumanDecision | None = None
    proposal: Proposal | None = None
    #: The version at which a person closed it, while it is closed.
    closed_version: int | None = None
    referral_went: bool = False
    links: tuple[IncidentTie, ...] = ()
    #: What brought this version about, and the role of who did it.
    change: str = "triaged"
    actor_role: Role | None = None

    @property
    def closed(self) -> bool:
        """Say whether it is closed, so that nothing joins it and no clock runs."""
        return self.status is IncidentStatus.CLOSED

    @property
    def takes_reports(self) -> bool:
        """Say whether another report may join it."""
        return self.joinable and not self.closed

    @property
    def in_queue(self) -> bool:
        """Say whether a human still has to look."""
        return not self.closed and (self.provisional or self.proposal is not None)

    @property
    def proposed_lowering(self) -> ProposedLowering | None:
        """Return what waits for a second person, as the event shows it."""
        if self.proposal is None:
            return None
        wanted = self.proposal.judgement
        return ProposedLowering(level=wanted.level, category=wanted.category, by=self.proposal.by, at=self.proposal.at)

    @property
    def categories(self) -> tuple[Category, ...]:
        """Return the categories, primary first: ticked before read; the two that say "nothing yet" only when alone."""
        found = tuple(dict.fromkeys((*self.ticked, *(c for c in self.read if c is not Category.OUT_OF_SCOPE))))
        if found:
            return found
        return (Category.OUT_OF_SCOPE,) if Category.OUT_OF_SCOPE in self.read else (Category.INSUFFICIENT_INFO,)

    @property
    def erased(self) -> bool:
        """Say whether no report of it can be read any more."""
        return self.erased_count >= self.report_count


def event_of(incident: Incident) -> IncidentTriaged:
    """Return the event that carries this state."""
    primary, *others = incident.categories
    if incident.decision is None:
        raise ValueError("an incident is decided before it is told of")
    return IncidentTriaged(
        incident_id=incident.id,
        reference=incident.reference,
        version=incident.version,
        changed_at=incident.changed_at,
        lane=lane_of(incident.level),
        country=incident.country,
        channels=incident.channels,
        received_at=incident.received_at,
        level=incident.level,
        provisional=incident.provisional,
        status=incident.status,
        category=primary,
        secondary_categories=tuple(others),
        report_count=incident.report_count,
        decision=incident.decision,
        clocks=incident.clocks,
        due_at=clockwork.due_at(incident.clocks),
        claimed_by=incident.claimed_by,
        claimed_until=incident.claimed_until,
        awaiting_signature=incident.proposed_lowering is not None,
        proposed_lowering=incident.proposed_lowering,
        owners=incident.owners,
        victim_age=incident.victim_age,
        victim_count=incident.victim_count,
        is_test=incident.is_test,
        erased=incident.erased,
        links=incident.links,
        change=incident.change,
        actor_role=incident.actor_role,
    )


def advanced(
    after: Incident, *, before: Incident | None, change: str, now: datetime, role: Role | None = None
) -> Incident:
    """Make `after` the next version, with the status that follows from it."""
    version = 1 if before is None else before.version + 1
    same = before is not None and _human_ground(before) == _human_ground(after)
    return replace(
        after,
        version=version,
        conflict_version=before.conflict_version if before and same else version,
        changed_at=now,
        status=_status(after),
        change=change,
        actor_role=role,
    )


def put_away(incident: Incident, *, now: datetime) -> Incident:
    """Close an incident: clocks stop, and the claim and what waited for a signature end with it."""
    return replace(
        incident,
        status=IncidentStatus.CLOSED,
        closed_version=incident.version + 1,
        clocks=clockwork.stopped(incident.clocks, at=now),
        claimed_by=None,
        claimed_until=None,
        proposal=None,
    )


def _status(incident: Incident) -> IncidentStatus:
    if incident.closed:
        return IncidentStatus.CLOSED
    if not incident.provisional:
        return IncidentStatus.REFERRED if _was_referred(incident) else IncidentStatus.DECIDED
    return IncidentStatus.OPEN if incident.claimed_by is None else IncidentStatus.IN_REVIEW


def _was_referred(incident: Incident) -> bool:
    # States stored before `referral_went` was kept tell it by their clock.
    first = (clock for clock in incident.clocks if clock.kind is ClockKind.FIRST_REFERRAL)
    return incident.referral_went or any(
        clock.completed_at is not None and clock.state is not ClockState.STOPPED for clock in first
    )


def _human_ground(incident: Incident) -> tuple[object, ...]:
    """Return what a human decides on: a command that saw another one is refused. A mere joining changes none of it."""
    return (
        incident.level,
        incident.categories[0],
        held(incident.findings) - RECURRENCE,
        incident.claimed_by,
        incident.human,
        incident.proposal,
    )
