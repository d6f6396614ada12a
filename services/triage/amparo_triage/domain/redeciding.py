"""Deciding anew at each change: the machine only raises, and only news raises above what a person decided."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from msgspec.structs import replace

from amparo_common.events.types import ClockReading
from amparo_common.vocabulary.codes import Category, ClockKind, ClockState, IncidentStatus, Level, Role
from amparo_triage.domain import clocks as clockwork
from amparo_triage.domain.decision import decide, floors_of_news
from amparo_triage.domain.facts import held
from amparo_triage.domain.judgement import NO_NEWS, News, news_since
from amparo_triage.domain.policy import Facts, RulePack
from amparo_triage.domain.state import Incident, advanced


def redecided(
    after: Incident,
    *,
    before: Incident | None,
    change: str,
    pack: RulePack,
    at: datetime,
    now: datetime,
    role: Role | None = None,
    by_person: bool = False,
) -> Incident:
    """Decide on what is known now, and make it the next version.

    `at` is when the news came: the clocks of a raise start there. Only with `by_person` may the level fall, to that of
    the human decision. News that raises above a human decision makes the level provisional again.
    """
    decision = decide(
        after.findings,
        categories=after.categories,
        shared=frozenset(after.shared),
        earlier=after.decision,
        text_pending=after.pending_count > 0,
        missed=any(clock.state is ClockState.MISSED for clock in after.clocks),
        pack=pack,
        now=now,
        human=after.human,
        news=_news(after),
        floor=None if by_person or after.decision is None else after.decision.level,
    )
    settled = replace(after, level=decision.level, decision=decision)
    if _calls_back(settled, pack=pack):
        settled, change = brought_back(settled, pack=pack, at=at), "reopened"
    provisional = settled.provisional or not decision.human
    if not settled.closed and not settled.erased:
        raised = after.decision is not None and decision.level.value < after.level.value
        clocks = _wound(settled, pack=pack, at=at, raised=raised, provisional=provisional)
        settled = replace(settled, clocks=clocks)
    return advanced(replace(settled, provisional=provisional), before=before, change=change, now=now, role=role)


def brought_back(incident: Incident, *, pack: RulePack, at: datetime) -> Incident:
    """Put a closed incident back into the queue: a human looks again, by the targets that count from `at`."""
    wanted = _targets(incident, level=incident.level, pack=pack)
    stopped = [clock.kind for clock in incident.clocks if clock.state is ClockState.STOPPED]
    return replace(
        incident,
        status=IncidentStatus.OPEN,
        closed_version=None,
        provisional=True,
        clocks=clockwork.restarted(incident.clocks, wanted, kinds=(ClockKind.HUMAN_TRIAGE, *stopped), at=at),
    )


def _wound(
    incident: Incident, *, pack: RulePack, at: datetime, raised: bool, provisional: bool
) -> tuple[ClockReading, ...]:
    wanted = _targets(incident, level=incident.level, pack=pack)
    running = incident.clocks
    if provisional and not incident.provisional:
        running = clockwork.restarted(running, wanted, kinds=(ClockKind.HUMAN_TRIAGE,), at=at)
    if not provisional:
        wanted.pop(ClockKind.HUMAN_TRIAGE, None)
    return clockwork.wound(running, wanted, at=at, raised=raised)


def _targets(incident: Incident, *, level: Level, pack: RulePack) -> dict[ClockKind, timedelta]:
    factors = held(incident.findings)
    return dict(clockwork.targets(pack.table, level=level, held=factors, categories=incident.categories))


def _news(incident: Incident) -> News:
    """Return what came after the last human decision."""
    if incident.human is None:
        return NO_NEWS
    return news_after(incident, incident.human.known_version, known=incident.human.categories)


def news_after(incident: Incident, version: int, *, known: Collection[Category] = ()) -> News:
    """Return what came after `version` and still counts, the categories that are `known` aside."""
    return news_since(
        version,
        findings=incident.findings,
        sightings=incident.sightings,
        categories=incident.categories,
        categories_seen=incident.categories_seen,
        known_categories=known,
    )


def _calls_back(incident: Incident, *, pack: RulePack) -> bool:
    """Say whether a closed incident learned something that is as urgent as it was."""
    if incident.closed_version is None or not incident.closed or incident.erased:
        return False
    factors = held(incident.findings)
    floors = floors_of_news(
        news_after(incident, incident.closed_version),
        held=factors,
        categories=incident.categories,
        matches=pack.evaluate(Facts(held=factors, categories=incident.categories)),
        pack=pack,
    )
    return any(floor.at_least(incident.level) for floor in floors)
