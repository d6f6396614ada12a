"""The incident: what its reports say together, decided anew at each change, and only ever raised by the machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

from amparo_common.events.types import ClockReading, Decision, FactorFinding, IncidentTriaged, ProposedLowering
from amparo_common.vocabulary.codes import Category, Channel, ClockKind, ClockState, Factor, IncidentStatus, Level
from amparo_common.vocabulary.sets import lane_of
from amparo_triage.domain import clocks as clockwork
from amparo_triage.domain.decision import decide
from amparo_triage.domain.facts import (
    NOTHING_READ,
    Reading,
    Recurrence,
    ReportFacts,
    clear_findings,
    held,
    merged,
    recurrence_findings,
    text_findings,
)
from amparo_triage.domain.policy import RulePack

Item = TypeVar("Item")


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
    proposed_lowering: ProposedLowering | None = None

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


def opened(
    facts: ReportFacts,
    *,
    reference: str,
    reading: Reading | None,
    recurrence: Recurrence,
    pack: RulePack,
    now: datetime,
) -> Incident:
    """Open the incident of a first report; without a `reading` the text is pending."""
    findings = _findings(facts, reading=reading, recurrence=recurrence)
    incident = Incident(
        id=facts.report_id,
        reference=reference,
        version=0,
        changed_at=now,
        country=facts.country,
        received_at=facts.received_at,
        channels=(facts.channel,),
        ticked=() if facts.category is None else (facts.category,),
        read=(reading or NOTHING_READ).categories,
        findings=merged((), findings),
        shared=_in_order(held(findings)),
        report_count=1,
        pending_count=int(reading is None),
        owners=() if facts.owner is None else (facts.owner,),
        victim_age=facts.victim_age,
        victim_count=facts.victim_count,
        is_test=facts.is_test,
    )
    return _redecided(incident, pack=pack, at=facts.received_at, now=now)


def joined(
    incident: Incident,
    facts: ReportFacts,
    *,
    reading: Reading | None,
    recurrence: Recurrence,
    pack: RulePack,
    now: datetime,
) -> Incident:
    """Add a report to an incident: it may raise, and takes nothing back."""
    findings = _findings(facts, reading=reading, recurrence=recurrence)
    ages = [age for age in (incident.victim_age, facts.victim_age) if age is not None]
    counts = [count for count in (incident.victim_count, facts.victim_count) if count is not None]
    ticked = () if facts.category is None else (facts.category,)
    grown = replace(
        incident,
        channels=_with(incident.channels, (facts.channel,)),
        ticked=_with(incident.ticked, ticked),
        read=_with(incident.read, (reading or NOTHING_READ).categories),
        findings=merged(incident.findings, findings),
        shared=_in_order(set(incident.shared) & held(findings)),
        report_count=incident.report_count + 1,
        pending_count=incident.pending_count + int(reading is None),
        owners=_with(incident.owners, () if facts.owner is None else (facts.owner,)),
        victim_age=min(ages, default=None),
        victim_count=max(counts, default=None),
        is_test=incident.is_test and facts.is_test,
    )
    return _redecided(grown, pack=pack, at=max(facts.received_at, incident.received_at), now=now)


def read_later(
    incident: Incident,
    report_id: UUID,
    reading: Reading,
    *,
    recurrence: Recurrence,
    settles: bool,
    pack: RulePack,
    now: datetime,
) -> Incident:
    """Add what a text says that could not be read at first, or what a reporter's message says.

    `settles` is true when it was a report's own text that was pending. May only raise; unchanged when nothing is new.
    """
    found = text_findings(report_id, reading) + recurrence_findings(report_id, recurrence)
    grown = replace(
        incident,
        read=_with(incident.read, reading.categories),
        findings=merged(incident.findings, found),
        pending_count=max(0, incident.pending_count - int(settles)),
    )
    return _changed(incident, grown, pack=pack, now=now)


def clocks_missed(incident: Incident, *, pack: RulePack, now: datetime) -> Incident:
    """Mark the clocks whose time has come, and decide anew."""
    return _changed(incident, replace(incident, clocks=clockwork.missed(incident.clocks, now=now)), pack=pack, now=now)


def referred(incident: Incident, *, delivered_at: datetime, pack: RulePack, now: datetime) -> Incident:
    """Note that a referral reached a partner: the clock of the first referral is completed."""
    completed = clockwork.met(incident.clocks, ClockKind.FIRST_REFERRAL, at=delivered_at)
    return _changed(incident, replace(incident, clocks=completed), pack=pack, now=now)


def erased(incident: Incident, *, count: int, pending: int, pack: RulePack, now: datetime) -> Incident:
    """Note that `count` of its reports can no longer be read (`pending` of them never were): nothing joins it any more.

    While a report of it can still be read the incident is not erased.
    """
    gone = min(incident.report_count, incident.erased_count + count)
    shrunk = replace(
        incident, joinable=False, erased_count=gone, pending_count=max(0, incident.pending_count - pending)
    )
    if shrunk.erased:
        shrunk = replace(shrunk, clocks=clockwork.stopped(shrunk.clocks, at=now))
    return _changed(incident, shrunk, pack=pack, now=now)


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
    )


def _findings(facts: ReportFacts, *, reading: Reading | None, recurrence: Recurrence) -> tuple[FactorFinding, ...]:
    return (
        clear_findings(facts)
        + recurrence_findings(facts.report_id, recurrence)
        + text_findings(facts.report_id, reading or NOTHING_READ)
    )


def _changed(before: Incident, after: Incident, *, pack: RulePack, now: datetime) -> Incident:
    return before if after == before else _redecided(after, pack=pack, at=now, now=now)


def _redecided(incident: Incident, *, pack: RulePack, at: datetime, now: datetime) -> Incident:
    """Decide on what is known now. `at` is when the news came: the clocks of a raise start there."""
    decision = decide(
        incident.findings,
        categories=incident.categories,
        shared=frozenset(incident.shared),
        earlier=incident.decision,
        text_pending=incident.pending_count > 0,
        missed=any(clock.state is ClockState.MISSED for clock in incident.clocks),
        pack=pack,
        now=now,
    )
    raised = incident.decision is not None and decision.level is not incident.level
    running = incident.clocks
    if not incident.erased and incident.status is not IncidentStatus.CLOSED:
        wanted = clockwork.targets(
            pack.table, level=decision.level, held=held(incident.findings), categories=incident.categories
        )
        running = clockwork.wound(running, wanted, at=at, raised=raised)
    return replace(
        incident,
        version=incident.version + 1,
        changed_at=now,
        level=decision.level,
        decision=decision,
        clocks=running,
    )


def _with(known: tuple[Item, ...], new: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys((*known, *new)))


def _in_order(factors: Collection[Factor]) -> tuple[Factor, ...]:
    return tuple(factor for factor in Factor if factor in factors)
