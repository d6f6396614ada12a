"""A referral and the changes that an incident, a partner or time make to it. Every function returns a new state."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from amparo_common.ids import reference, uuid7
from amparo_common.vocabulary.codes import Category, Destination, LawfulBasis, Level, ReferralStatus as Status, Release
from amparo_referral.domain import targets
from amparo_referral.domain.release import WAITING, gate
from amparo_referral.domain.routes import Route

#: The partner has said what it had to say, or was told to forget; only these never get a new version.
DROPPED: Final = frozenset({Status.REJECTED, Status.REVOKED})
#: Nothing is sent any more, and nothing approved.
ENDED: Final = DROPPED | {Status.CLOSED}
#: Silence is escalated in these only.
SILENT: Final = frozenset({Status.QUEUED, Status.DELIVERED, Status.UNDELIVERABLE})


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word that a referral goes: who, on which basis, and what they tell the partner, sealed.

    `referral_id` is the id of a referral that it opens; the note is sealed under it.
    """

    name: str
    basis: LawfulBasis
    referral_id: UUID
    note: bytes | None


class Referral(msgspec.Struct, frozen=True, kw_only=True):
    """One referral of an incident to one partner, package and answers left out.

    `ordinal` counts the partners asked for the same destination, from 0; those above it are fallbacks. `build_at` is
    set while a package is wanted, `wanted_at` since when; `escalate_at` while the partner's silence is timed. What a
    person refers keeps their lawful basis and the partner they chose, whatever the machine proposes later.
    """

    id: UUID
    reference: str
    incident_id: UUID
    destination: Destination
    ordinal: int
    partner_id: UUID
    country: str
    status: Status
    release: Release
    level: Level
    category: Category
    lawful_basis: LawfulBasis
    version: int
    package_version: int
    approved_version: int
    created_at: datetime
    changed_at: datetime
    queued_at: datetime | None
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    due_at: datetime | None
    escalate_at: datetime | None
    escalations: int
    build_at: datetime | None
    wanted_at: datetime | None
    attempted: bool
    is_test: bool
    #: Who of Amparo refers, None for the machine, and what they tell the partner (sealed).
    referred_by: str | None = None
    note: bytes | None = None
    #: The state version at which the present package was made: who approves must have seen it.
    packaged_version: int = 0

    @property
    def left(self) -> bool:
        """Say whether the partner has it, or may have it."""
        return self.attempted or self.status not in WAITING


def lawful_basis(level: Level) -> LawfulBasis:
    """Return the basis on which the machine refers; a human who refers names another where it fits better."""
    return LawfulBasis.VITAL_INTEREST if level.at_least(Level.P2) else LawfulBasis.PUBLIC_TASK


def opened(
    *,
    incident_id: UUID,
    destination: Destination,
    ordinal: int,
    route: Route,
    country: str,
    level: Level,
    category: Category,
    reviewed: bool,
    is_test: bool,
    now: datetime,
    by: Word | None = None,
) -> Referral:
    """Open a referral along `route`, on the machine's word or a person's; its package is wanted at once."""
    referral_id = by.referral_id if by else uuid7()
    fresh = Referral(
        id=referral_id,
        reference=reference("RF", of=referral_id),
        incident_id=incident_id,
        destination=destination,
        ordinal=ordinal,
        partner_id=route.partner_id,
        country=country,
        status=gate(route.release, reviewed=reviewed or by is not None, approved=False),
        release=route.release,
        level=level,
        category=category,
        lawful_basis=by.basis if by else lawful_basis(level),
        version=1,
        package_version=0,
        approved_version=0,
        created_at=now,
        changed_at=now,
        queued_at=None,
        delivered_at=None,
        acknowledged_at=None,
        due_at=None,
        escalate_at=None,
        escalations=0,
        build_at=now,
        wanted_at=now,
        attempted=False,
        is_test=is_test,
        referred_by=by.name if by else None,
        note=by.note if by else None,
    )
    return timed(fresh, now=now)


def passed_on(referral: Referral) -> Word | None:
    """Return the word under which the next partner is asked instead: a person's holds, their note is not for others."""
    if referral.referred_by is None:
        return None
    return Word(name=referral.referred_by, basis=referral.lawful_basis, referral_id=uuid7(), note=None)


def referred(referral: Referral, *, by: Word, release: Release, now: datetime) -> Referral:
    """Put a person's word to a referral that stands: one that waited for a review goes, what they add is packaged."""
    waits = referral.status in WAITING
    changed = msgspec.structs.replace(
        referral,
        status=gate(release, reviewed=True, approved=False) if waits else referral.status,
        release=release if waits else referral.release,
        lawful_basis=by.basis,
        referred_by=by.name,
        note=by.note or referral.note,
        version=referral.version + 1,
        changed_at=now,
        build_at=now,
        wanted_at=referral.wanted_at or now,
    )
    return timed(changed, now=now)


def timed(referral: Referral, *, now: datetime) -> Referral:
    """Start the clock of a referral that may go now; a raise may only bring its end nearer."""
    if referral.status not in SILENT or referral.acknowledged_at is not None:
        return referral
    since = referral.queued_at or now
    due = _earlier(referral.due_at, targets.due_at(referral.level, since=now if referral.queued_at else since))
    if referral.escalations:
        return msgspec.structs.replace(referral, queued_at=since, due_at=due)
    return msgspec.structs.replace(referral, queued_at=since, due_at=due, escalate_at=due)


def updated(
    referral: Referral,
    *,
    route: Route | None,
    country: str,
    level: Level,
    category: Category,
    reviewed: bool,
    now: datetime,
) -> Referral:
    """Carry a changed incident into `referral`: a new package is wanted, and what still waits takes `route`."""
    changed = msgspec.structs.replace(
        referral,
        country=country,
        level=level,
        category=category,
        lawful_basis=referral.lawful_basis if referral.referred_by else lawful_basis(level),
        version=referral.version + 1,
        changed_at=now,
        build_at=now,
        wanted_at=referral.wanted_at or now,
    )
    if referral.status in WAITING:
        stays = referral.left or route is None or referral.referred_by is not None
        chosen = changed if stays or route is None else _along(changed, route)
        # What a human let go before is not held back again by a later raise of the machine.
        reviewed = reviewed or referral.queued_at is not None or referral.referred_by is not None
        changed = msgspec.structs.replace(chosen, status=gate(chosen.release, reviewed=reviewed, approved=False))
    return timed(changed, now=now)


def revoked(referral: Referral, *, now: datetime) -> Referral:
    """Take `referral` back. One that a partner may already have gets another version, which tells it so."""
    return msgspec.structs.replace(
        referral,
        status=Status.REVOKED,
        version=referral.version + 1,
        package_version=referral.package_version + (1 if referral.attempted else 0),
        changed_at=now,
        escalate_at=None,
        build_at=None,
        wanted_at=None,
    )


def revoked_if_waiting(referral: Referral, *, now: datetime) -> Referral | None:
    """Revoke `referral` when nothing of it has arrived; None when it is the partner's by now."""
    return revoked(referral, now=now) if referral.status in WAITING else None


def packaged(referral: Referral, *, now: datetime) -> Referral:
    """Give `referral` its next package version; one that needs an approval asks for it again."""
    version = referral.package_version + 1
    status = referral.status
    if status in WAITING and referral.release is Release.WITH_APPROVAL:
        status = Status.AWAITING_APPROVAL
    return msgspec.structs.replace(
        referral,
        status=status,
        package_version=version,
        packaged_version=referral.version + 1,
        version=referral.version + 1,
        changed_at=now,
        build_at=None,
        wanted_at=None,
    )


def awaits_approval(referral: Referral) -> bool:
    """Say whether a package waits for a second person: the first one, or an update of what the partner has."""
    return (
        referral.release is Release.WITH_APPROVAL
        and referral.status not in ENDED
        and referral.approved_version < max(referral.package_version, 1)
    )


def may_send(referral: Referral) -> bool:
    """Say whether the present package may leave now."""
    if referral.status in {Status.AWAITING_REVIEW, Status.AWAITING_APPROVAL} or referral.status in DROPPED:
        return False
    return referral.release is not Release.WITH_APPROVAL or referral.approved_version == referral.package_version


def approved(referral: Referral, *, now: datetime) -> Referral:
    """Let the present package go on a second person's word."""
    status = Status.QUEUED if referral.status in WAITING else referral.status
    changed = msgspec.structs.replace(
        referral,
        status=status,
        approved_version=referral.package_version,
        version=referral.version + 1,
        changed_at=now,
    )
    return timed(changed, now=now)


def delivered(referral: Referral, *, now: datetime) -> Referral:
    """Note that the partner took it; an update never lowers the status.

    It may take a version that was being sent when a newer one began to wait for its approval.
    """
    reached = referral.status in {Status.QUEUED, Status.UNDELIVERABLE, Status.AWAITING_APPROVAL}
    return msgspec.structs.replace(
        referral,
        status=Status.DELIVERED if reached else referral.status,
        version=referral.version + 1,
        changed_at=now,
        delivered_at=referral.delivered_at or now,
        attempted=True,
    )


def undelivered(referral: Referral, *, gave_up: bool, now: datetime) -> Referral:
    """Note a failed attempt; the last one of a referral that never arrived makes it UNDELIVERABLE."""
    lost = gave_up and referral.status is Status.QUEUED
    return msgspec.structs.replace(
        referral,
        status=Status.UNDELIVERABLE if lost else referral.status,
        version=referral.version + 1,
        changed_at=now,
        attempted=True,
        escalate_at=None if lost else referral.escalate_at,
    )


def answered(referral: Referral, *, status: Status, now: datetime) -> Referral:
    """Note a partner's answer, which moves it to `status`; any answer ends the silence."""
    return msgspec.structs.replace(
        referral,
        status=status,
        version=referral.version + 1,
        changed_at=now,
        acknowledged_at=referral.acknowledged_at or now,
        escalate_at=None,
    )


def escalated(referral: Referral, *, now: datetime) -> Referral:
    """Note that the partner's silence was acted on, and time the next step."""
    done = referral.escalations + 1
    since = referral.queued_at or referral.created_at
    return msgspec.structs.replace(
        referral,
        version=referral.version + 1,
        changed_at=now,
        escalations=done,
        escalate_at=targets.escalation_at(referral.level, since=since, done=done),
    )


def _along(referral: Referral, route: Route) -> Referral:
    return msgspec.structs.replace(referral, partner_id=route.partner_id, release=route.release)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one and other else one or other
