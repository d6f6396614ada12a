"""What changed from one version of an incident to the next, in codes and fixed words: nothing that a person wrote."""

from __future__ import annotations

from collections.abc import Iterator

from amparo_common.events.types import ClockReading, IncidentTriaged
from amparo_common.vocabulary.codes import IncidentStatus


def summary(before: IncidentTriaged | None, after: IncidentTriaged) -> str:
    """Sum up what `after` changed, the weightiest first. `before` is None where none is known."""
    if before is None:
        return _first(after)
    found = [*_changes(before, after)] or ["Other facts were updated"]
    return f"{'. '.join(dict.fromkeys(found))}."


def _first(incident: IncidentTriaged) -> str:
    if incident.version == 1:
        rules = ", ".join(rule.id for rule in incident.decision.rules)
        because = f" by {rules}" if rules else ""
        return f"Opened at {incident.level}{because} as {incident.category}."
    return f"First known at version {incident.version}: {incident.level}, {incident.category}."


def _changes(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[str]:
    yield from _closing(before, after)
    yield from _signature(before, after)
    yield from _decision(before, after)
    yield from _claim(before, after)
    if after.report_count > before.report_count:
        yield f"A report joined, {after.report_count} in all"
    if after.status != before.status:
        yield f"Status {before.status} to {after.status}"
    yield from _clocks(before, after)


def _closing(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[str]:
    if after.erased and not before.erased:
        yield "Erased: what people wrote can no longer be read"
    if after.status is IncidentStatus.CLOSED and before.status is not IncidentStatus.CLOSED:
        yield "Closed"
    if before.status is IncidentStatus.CLOSED and after.status is not IncidentStatus.CLOSED:
        yield "Opened again"


def _signature(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[str]:
    proposal = after.proposed_lowering
    if after.awaiting_signature and not before.awaiting_signature and proposal:
        words = f"Lowering to {proposal.level} proposed, waits for a second person"
        yield words
    if before.awaiting_signature and not after.awaiting_signature:
        lowered = after.level > before.level
        yield _signed(lowered=lowered)


def _signed(*, lowered: bool) -> str:
    return "A second person signed the lowering" if lowered else "The proposed lowering was not signed"


def _decision(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[str]:
    human = after.decision.human and after.decision.version != before.decision.version
    if after.level != before.level:
        raised = after.level < before.level
        word = "Raised" if raised else "Lowered"
        yield f"{word} from {before.level} to {after.level}"
    if human:
        yield f"Decided by a person: {after.level}, {after.category}"
    if after.category != before.category:
        yield f"Category {before.category} to {after.category}"
    if after.country != before.country:
        yield f"Country {before.country} to {after.country}"
    added = {finding.factor for finding in after.decision.factors} - {one.factor for one in before.decision.factors}
    if added:
        yield f"Found {', '.join(sorted(added))}"


def _claim(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[str]:
    if after.claimed_by == before.claimed_by:
        return
    if after.claimed_by:
        yield "Claimed"
    else:
        yield "No longer claimed"


def _clocks(before: IncidentTriaged, after: IncidentTriaged) -> Iterator[str]:
    known = {_name(clock): clock.state for clock in before.clocks}
    for clock in after.clocks:
        if known.get(_name(clock)) is not clock.state:
            yield f"Clock {clock.kind} {clock.state}"


def _name(clock: ClockReading) -> tuple[object, ...]:
    return clock.kind, clock.started_at
