"""What changed from one version of an incident to the next, in codes and fixed words: nothing that a person wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from amparo_common.events.types import ClockReading, IncidentTriaged
from amparo_common.vocabulary.codes import IncidentStatus

HUMAN, SYSTEM = "HUMAN", "SYSTEM"


class Change(NamedTuple):
    """One thing that changed: a slug, who did it, and the words for people."""

    kind: str
    actor: str
    words: str


def change(before: IncidentTriaged | None, after: IncidentTriaged) -> Change:
    """Sum up what `after` changed; the weightiest thing gives kind and actor. `before` is None where none is known."""
    if before is None:
        return _first(after)
    found = [*_changes(before, after)] or [Change("changed", SYSTEM, "Other facts were updated")]
    words = ". ".join(dict.fromkeys(one.words for one in found))
    return Change(found[0].kind, found[0].actor, f"{words}.")


def _first(incident: IncidentTriaged) -> Change:
    if incident.version == 1:
        rules = ", ".join(rule.id for rule in incident.decision.rules)
        because = f" by {rules}" if rules else ""
        return Change("opened", SYSTEM, f"Opened at {incident.level}{because} as {incident.category}.")
    return Change("known", SYSTEM, f"First known at version {incident.version}: {incident.level}, {incident.category}.")


def _changes(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[Change]:
    yield from _closing(before, after)
    yield from _signature(before, after)
    yield from _decision(before, after)
    yield from _claim(before, after)
    if after.report_count > before.report_count:
        yield Change("report_joined", SYSTEM, f"A report joined, {after.report_count} in all")
    if after.status != before.status:
        yield Change("status", SYSTEM, f"Status {before.status} to {after.status}")
    yield from _clocks(before, after)


def _closing(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[Change]:
    if after.erased and not before.erased:
        yield Change("erased", HUMAN, "Erased: what people wrote can no longer be read")
    if after.status is IncidentStatus.CLOSED and before.status is not IncidentStatus.CLOSED:
        yield Change("closed", HUMAN, "Closed")
    if before.status is IncidentStatus.CLOSED and after.status is not IncidentStatus.CLOSED:
        yield Change("reopened", HUMAN, "Opened again")


def _signature(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[Change]:
    proposal = after.proposed_lowering
    if after.awaiting_signature and not before.awaiting_signature and proposal:
        words = f"Lowering to {proposal.level} proposed, waits for a second person"
        yield Change("lowering_proposed", HUMAN, words)
    if before.awaiting_signature and not after.awaiting_signature:
        lowered = after.level > before.level
        yield Change("lowering_signed" if lowered else "lowering_refused", HUMAN, _signed(lowered=lowered))


def _signed(*, lowered: bool) -> str:
    return "A second person signed the lowering" if lowered else "The proposed lowering was not signed"


def _decision(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[Change]:
    human = after.decision.human and after.decision.version != before.decision.version
    actor = HUMAN if human else SYSTEM
    if after.level != before.level:
        raised = after.level < before.level
        word = "Raised" if raised else "Lowered"
        yield Change("raised" if raised else "lowered", actor, f"{word} from {before.level} to {after.level}")
    if human:
        yield Change("decided", HUMAN, f"Decided by a person: {after.level}, {after.category}")
    if after.category != before.category:
        yield Change("category", actor, f"Category {before.category} to {after.category}")
    if after.country != before.country:
        yield Change("country", actor, f"Country {before.country} to {after.country}")
    added = {finding.factor for finding in after.decision.factors} - {one.factor for one in before.decision.factors}
    if added:
        yield Change("factors", actor, f"Found {', '.join(sorted(added))}")


def _claim(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[Change]:
    if after.claimed_by == before.claimed_by:
        return
    if after.claimed_by:
        yield Change("claimed", HUMAN, "Claimed")
    else:
        yield Change("released", HUMAN, "No longer claimed")


def _clocks(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[Change]:
    known = {_name(clock): clock.state for clock in before.clocks}
    for clock in after.clocks:
        if known.get(_name(clock)) is not clock.state:
            yield Change("clock", SYSTEM, f"Clock {clock.kind} {clock.state}")


def _name(clock: ClockReading) -> tuple[object, ...]:
    return clock.kind, clock.started_at
