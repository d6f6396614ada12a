"""What people do with an incident: claim, decide, sign, link, close, re-open. Each rule that says no says why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from amparo_common.events.types import IncidentTie
from amparo_common.vocabulary.codes import ClockKind, Factor, Level, LinkKind, Role
from amparo_triage.domain import clocks as clockwork
from amparo_triage.domain.judgement import HumanDecision, Judgement, Proposal, judged
from amparo_triage.domain.policy import RulePack
from amparo_triage.domain.redeciding import brought_back, news_after, redecided
from amparo_triage.domain.state import Incident, advanced, put_away

LEASE: Final = timedelta(minutes=30)
LONGEST_WORDS: Final = 5_000
MOST_LINKS: Final = 200


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: login name, subject of the token, role."""

    name: str
    subject: str
    role: Role


class NotAllowedError(Exception):
    """A rule said no; nothing changes. `code` is one of the graph's domain errors, `field` the input it is about."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(code)
        self.code, self.message, self.field = code, message, field


# ---------------------------------------------------------------- the claim


def claimant(incident: Incident, *, now: datetime) -> str | None:
    """Return the login name of who holds the claim at `now`; a lease that ran out holds nothing."""
    if incident.claimed_by is None or incident.claimed_until is None or incident.claimed_until <= now:
        return None
    return incident.claimed_by


def claimed(incident: Incident, *, by: Person, now: datetime) -> Incident:
    """Claim a free incident for the length of a lease, or renew one's own claim."""
    if incident.closed:
        raise NotAllowedError("TRANSITION_NOT_ALLOWED", "The incident is closed; re-open it first.", "incidentId")
    holder = claimant(incident, now=now)
    if holder not in {None, by.name}:
        raise NotAllowedError("ALREADY_CLAIMED", "Somebody else has claimed this incident.", "incidentId")
    held_now = replace(incident, claimed_by=by.name, claimed_until=now + LEASE)
    return advanced(held_now, before=incident, change="claimed", now=now, role=by.role)


def released(incident: Incident, *, by: Person, now: datetime) -> Incident:
    """Give one's own claim back."""
    _require_claim(incident, by=by, now=now)
    free = replace(incident, claimed_by=None, claimed_until=None)
    return advanced(free, before=incident, change="released", now=now, role=by.role)


def lapsed(incident: Incident, *, now: datetime) -> Incident:
    """Take a claim away whose lease ran out; unchanged while it holds or when there is none."""
    if incident.claimed_by is None or claimant(incident, now=now) is not None:
        return incident
    free = replace(incident, claimed_by=None, claimed_until=None)
    return advanced(free, before=incident, change="claim_lapsed", now=now)


# ---------------------------------------------------------------- the decision


def decided(incident: Incident, judgement: Judgement, *, by: Person, pack: RulePack, now: datetime) -> Incident:
    """Decide as a person, with one's own claim. A lowering from P1 only proposes: it waits for a second person."""
    _require_open(incident)
    _require_claim(incident, by=by, now=now)
    _require_seen(incident, judgement.known_version)
    _require_consistent(judgement)
    looked_at = replace(incident, clocks=clockwork.met(incident.clocks, ClockKind.HUMAN_TRIAGE, at=now))
    if incident.level is Level.P1 and judgement.level is not Level.P1:
        proposal = Proposal(judgement=judgement, by=by.name, subject=by.subject, at=now)
        waiting = replace(looked_at, proposal=proposal)
        return advanced(waiting, before=incident, change="lowering_proposed", now=now, role=by.role)
    settled = _settled(looked_at, judgement, by=by.name, now=now)
    return _redecided(settled, before=incident, change="decided", role=by.role, pack=pack, now=now)


def countersigned(
    incident: Incident, *, approve: bool, known_version: int, by: Person, pack: RulePack, now: datetime
) -> Incident:
    """Sign a proposed lowering as another person: it takes effect, or it is dropped and the level stays.

    What came after the proposal was not known to it, and holds the level up where it has to.
    """
    _require_open(incident)
    proposal = incident.proposal
    if proposal is None:
        raise NotAllowedError("TRANSITION_NOT_ALLOWED", "No lowering waits for a signature.", "incidentId")
    if by.name == proposal.by or by.subject == proposal.subject:
        raise NotAllowedError("SAME_PERSON", "Another person has to sign what you proposed.")
    _require_seen(incident, known_version)
    dropped = replace(incident, proposal=None)
    if not approve:
        return advanced(dropped, before=incident, change="lowering_refused", now=now, role=by.role)
    settled = _settled(dropped, proposal.judgement, by=proposal.by, now=now)
    return _redecided(settled, before=incident, change="countersigned", role=by.role, pack=pack, now=now)


def _settled(incident: Incident, judgement: Judgement, *, by: str, now: datetime) -> Incident:
    unseen = news_after(incident, judgement.known_version).categories
    kept = tuple(category for category in incident.categories[1:] if category not in unseen)
    further = kept if judgement.secondary is None else judgement.secondary
    chosen = tuple(dict.fromkeys((judgement.category, *further)))
    confirmed = tuple(factor for factor in judgement.confirm if factor not in incident.shared)
    return replace(
        incident,
        ticked=chosen,
        read=tuple(category for category in unseen if category not in chosen),
        findings=judged(incident.findings, judgement, sightings=incident.sightings, first_report=incident.id),
        shared=_in_order((*incident.shared, *confirmed)),
        human=HumanDecision(
            level=judgement.level, categories=chosen, by=by, at=now, known_version=judgement.known_version
        ),
        proposal=None,
        provisional=False,
    )


def _redecided(
    after: Incident, *, before: Incident, change: str, role: Role, pack: RulePack, now: datetime
) -> Incident:
    return redecided(after, before=before, change=change, pack=pack, at=now, now=now, role=role, by_person=True)


# ---------------------------------------------------------------- closing and re-opening


def closed(incident: Incident, *, known_version: int, by: Person, now: datetime) -> Incident:
    """Close an incident, with one's own claim; its clocks stop."""
    _require_open(incident)
    _require_claim(incident, by=by, now=now)
    _require_seen(incident, known_version)
    if incident.proposal is not None:
        message = "A lowering from P1 waits for a second person; close it after that."
        raise NotAllowedError("LOWERING_NEEDS_SIGNATURE", message, "incidentId")
    return advanced(put_away(incident, now=now), before=incident, change="closed", now=now, role=by.role)


def reopened(incident: Incident, *, by: Person, pack: RulePack, now: datetime) -> Incident:
    """Put a closed incident back into the queue."""
    if not incident.closed:
        raise NotAllowedError("TRANSITION_NOT_ALLOWED", "The incident is not closed.", "incidentId")
    if incident.erased:
        raise NotAllowedError("INVALID", "The incident was erased; there is nothing to look at.", "incidentId")
    back = brought_back(incident, pack=pack, at=now)
    return advanced(back, before=incident, change="reopened", now=now, role=by.role)


# ---------------------------------------------------------------- links


def linked(incident: Incident, other: Incident, *, kind: LinkKind, by: Person, now: datetime) -> Incident:
    """Tie `incident` to `other`; linked again, the tie is replaced. The other gets its own with a call of its own."""
    if incident.id == other.id:
        raise NotAllowedError("INVALID", "An incident is not linked to itself.", "otherIncidentId")
    others = tuple(tie for tie in incident.links if tie.incident_id != other.id)
    if len(others) >= MOST_LINKS:
        raise NotAllowedError("INVALID", f"An incident has at most {MOST_LINKS} links.", "otherIncidentId")
    tie = IncidentTie(incident_id=other.id, reference=other.reference, kind=kind, by=by.name, at=now)
    return advanced(replace(incident, links=(*others, tie)), before=incident, change="linked", now=now, role=by.role)


def unlinked(incident: Incident, other: Incident, *, by: Person, now: datetime) -> Incident:
    """Undo the tie of `incident` to `other`."""
    others = tuple(tie for tie in incident.links if tie.incident_id != other.id)
    if len(others) == len(incident.links):
        raise NotAllowedError("NOT_FOUND", "The two incidents are not linked.", "otherIncidentId")
    return advanced(replace(incident, links=others), before=incident, change="unlinked", now=now, role=by.role)


# ---------------------------------------------------------------- what every command asks


def checked_words(text: str) -> str:
    """Return a person's words without the spaces around them; refused when nothing is said, or too much."""
    words = text.strip()
    if not words or "\x00" in words:
        raise NotAllowedError("INVALID", "Say why, in words.", "reason")
    if len(words) > LONGEST_WORDS:
        raise NotAllowedError("INVALID", f"At most {LONGEST_WORDS} characters.", "reason")
    return words


def _require_open(incident: Incident) -> None:
    if incident.closed:
        raise NotAllowedError("TRANSITION_NOT_ALLOWED", "The incident is closed; re-open it first.", "incidentId")


def _require_claim(incident: Incident, *, by: Person, now: datetime) -> None:
    if claimant(incident, now=now) != by.name:
        raise NotAllowedError("NOT_CLAIMED", "Claim the incident first.", "incidentId")


def _require_seen(incident: Incident, known_version: int) -> None:
    if known_version > incident.version:
        raise NotAllowedError("INVALID", "The incident has no such version yet.", "expectedVersion")
    if known_version < incident.conflict_version:
        message = "Level, category, factors, claim or decision changed since then; read it again."
        raise NotAllowedError("VERSION_CONFLICT", message, "expectedVersion")


def _require_consistent(judgement: Judgement) -> None:
    if set(judgement.confirm) & set(judgement.reject):
        raise NotAllowedError("INVALID", "A factor is confirmed or rejected, not both.", "rejectFactors")


def _in_order(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    named = frozenset(factors)
    return tuple(factor for factor in Factor if factor in named)
