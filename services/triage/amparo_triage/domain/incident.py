"""What the machine does to an incident: each change decides anew, and only ever raises."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from msgspec.structs import replace

from amparo_common.events.types import FactorFinding
from amparo_common.vocabulary.codes import Category, ClockKind, Factor
from amparo_triage.domain import clocks as clockwork
from amparo_triage.domain.facts import (
    NOTHING_READ,
    Reading,
    Recurrence,
    ReportFacts,
    admitted,
    clear_findings,
    held,
    merged,
    recurrence_findings,
    text_findings,
)
from amparo_triage.domain.judgement import categories_sighted, sighted
from amparo_triage.domain.policy import RulePack
from amparo_triage.domain.redeciding import redecided
from amparo_triage.domain.state import Incident, put_away

Item = TypeVar("Item")


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
        sightings=sighted((), findings, before=(), version=1),
    )
    return redecided(incident, before=None, change="triaged", pack=pack, at=facts.received_at, now=now)


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
        _found(incident, findings),
        channels=_with(incident.channels, (facts.channel,)),
        shared=_in_order(set(incident.shared) & held(findings)),
        report_count=incident.report_count + 1,
        pending_count=incident.pending_count + int(reading is None),
        owners=_with(incident.owners, () if facts.owner is None else (facts.owner,)),
        victim_age=min(ages, default=None),
        victim_count=max(counts, default=None),
        is_test=incident.is_test and facts.is_test,
    )
    grown = _categorised(grown, ticked=ticked, read=(reading or NOTHING_READ).categories)
    at = max(facts.received_at, incident.received_at)
    return redecided(grown, before=incident, change="report_joined", pack=pack, at=at, now=now)


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
    # A message may say again what was rejected in the report: nobody judged these words.
    grown = _categorised(_found(incident, found, anew=not settles), ticked=(), read=reading.categories)
    grown = replace(grown, pending_count=max(0, incident.pending_count - int(settles)))
    return _changed(incident, grown, change="text_read" if settles else "message_read", pack=pack, now=now)


def clocks_missed(incident: Incident, *, pack: RulePack, now: datetime) -> Incident:
    """Mark the clocks whose time has come, and decide anew."""
    late = replace(incident, clocks=clockwork.missed(incident.clocks, now=now))
    return _changed(incident, late, change="clock_missed", pack=pack, now=now)


def referred(incident: Incident, *, delivered_at: datetime, pack: RulePack, now: datetime) -> Incident:
    """Note that a referral reached a partner: the clock of the first referral is completed."""
    completed = clockwork.met(incident.clocks, ClockKind.FIRST_REFERRAL, at=delivered_at)
    gone = replace(incident, clocks=completed, referral_went=True)
    return _changed(incident, gone, change="referred", pack=pack, now=now)


def erased(incident: Incident, *, count: int, pending: int, pack: RulePack, now: datetime) -> Incident:
    """Note that `count` of its reports can no longer be read (`pending` of them never were): nothing joins it any more.

    While a report of it can still be read the incident is not erased. The person who had all of it erased closed it
    by that: nothing is left to look at.
    """
    gone = min(incident.report_count, incident.erased_count + count)
    shrunk = replace(
        incident, joinable=False, erased_count=gone, pending_count=max(0, incident.pending_count - pending)
    )
    if shrunk.erased:
        shrunk = put_away(shrunk, now=now)
    return _changed(incident, shrunk, change="erased", pack=pack, now=now)


def _found(incident: Incident, found: tuple[FactorFinding, ...], *, anew: bool = False) -> Incident:
    before = held(incident.findings)
    taken = admitted(incident.findings, found, anew=anew)
    return replace(
        incident,
        findings=merged(incident.findings, taken, anew=True),
        sightings=sighted(incident.sightings, taken, before=before, version=incident.version + 1),
    )


def _categorised(incident: Incident, *, ticked: tuple[Category, ...], read: tuple[Category, ...]) -> Incident:
    before = incident.categories
    grown = replace(incident, ticked=_with(incident.ticked, ticked), read=_with(incident.read, read))
    seen = categories_sighted(incident.categories_seen, grown.categories, before=before, version=incident.version + 1)
    return replace(grown, categories_seen=seen)


def _findings(facts: ReportFacts, *, reading: Reading | None, recurrence: Recurrence) -> tuple[FactorFinding, ...]:
    return (
        clear_findings(facts)
        + recurrence_findings(facts.report_id, recurrence)
        + text_findings(facts.report_id, reading or NOTHING_READ)
    )


def _changed(before: Incident, after: Incident, *, change: str, pack: RulePack, now: datetime) -> Incident:
    return before if after == before else redecided(after, before=before, change=change, pack=pack, at=now, now=now)


def _with(known: tuple[Item, ...], new: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys((*known, *new)))


def _in_order(factors: Collection[Factor]) -> tuple[Factor, ...]:
    return tuple(factor for factor in Factor if factor in factors)
