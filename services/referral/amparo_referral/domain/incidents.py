"""What a change of an incident asks of referral (behaviour, sections 3.2 and 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Self

import msgspec

from amparo_common.events.types import IncidentTriaged
from amparo_common.vocabulary.codes import Category, Destination, IncidentStatus, Level, ReferralStatus
from amparo_referral.domain import referrals as change
from amparo_referral.domain.referrals import DROPPED, Referral, Word
from amparo_referral.domain.release import WAITING
from amparo_referral.domain.routes import STAYS_HERE, Directory, Route


class Basis(msgspec.Struct, frozen=True):
    """What referral acts on: two states of an incident with the same basis ask for nothing new."""

    level: Level
    category: Category
    country: str
    human_version: int
    closed: bool

    @classmethod
    def of(cls, incident: IncidentTriaged) -> Self:
        """Take the basis out of a state."""
        return cls(
            level=incident.level,
            category=incident.category,
            country=incident.country,
            human_version=incident.decision.version if reviewed(incident) else 0,
            closed=ended(incident),
        )


class Reaction(msgspec.Struct, frozen=True):
    """The referrals as they are after a change, those alone that changed, and the destination that nobody takes."""

    changed: tuple[Referral, ...] = ()
    no_route: Destination | None = None


def reviewed(incident: IncidentTriaged) -> bool:
    """Say whether a human decision stands, a second signature included where one is asked for."""
    return incident.decision.human and not incident.awaiting_signature


def ended(incident: IncidentTriaged) -> bool:
    """Say whether nothing of the incident may leave any more."""
    return incident.erased or incident.status is IncidentStatus.CLOSED


def react(
    incident: IncidentTriaged,
    *,
    seen: Basis | None,
    referrals: Sequence[Referral],
    directory: Directory,
    now: datetime,
) -> Reaction:
    """Compare the state that was `seen` last with the present one, and carry the difference into the referrals."""
    if Basis.of(incident) == seen:
        return Reaction()
    if ended(incident):
        return Reaction(changed=revoked_waiting(referrals, now=now))
    live = [referral for referral in referrals if referral.status not in DROPPED]
    unwanted = [referral for referral in live if _unwanted(referral, incident)]
    kept = [referral for referral in live if referral not in unwanted]
    changed = [*revoked_waiting(unwanted, now=now)]
    changed += [_updated(referral, incident, referrals=referrals, directory=directory, now=now) for referral in kept]
    first = first_destination(incident)
    if first is None or any(referral.destination is first for referral in kept):
        return Reaction(changed=tuple(changed))
    fresh = fallback(incident, destination=first, referrals=referrals, directory=directory, now=now)
    return Reaction(changed=(*changed, *((fresh,) if fresh else ())), no_route=None if fresh else first)


def first_destination(incident: IncidentTriaged) -> Destination | None:
    """Return where the machine refers to: the first proposal, unless it keeps the incident here."""
    first = next(iter(incident.decision.proposed_destinations), None)
    return None if first in STAYS_HERE else first


def fallback(
    incident: IncidentTriaged,
    *,
    destination: Destination,
    referrals: Sequence[Referral],
    directory: Directory,
    now: datetime,
    by: Word | None = None,
) -> Referral | None:
    """Open a referral to the next partner for `destination` that was not asked yet; None when there is none.

    A partner whose referral was revoked before may be asked again: nobody else refused for it.
    """
    earlier = [referral for referral in referrals if referral.destination is destination]
    tried = {referral.partner_id for referral in earlier if referral.status is not ReferralStatus.REVOKED}
    route = directory.choose(
        country=incident.country,
        destination=destination,
        category=incident.category,
        level=incident.level,
        now=now,
        tried=tried,
    )
    if route is None:
        return None
    return change.opened(
        incident_id=incident.incident_id,
        destination=destination,
        ordinal=max((referral.ordinal for referral in earlier), default=-1) + 1,
        route=route,
        country=incident.country,
        level=incident.level,
        category=incident.category,
        reviewed=reviewed(incident),
        is_test=incident.is_test,
        now=now,
        by=by,
    )


def revoked_waiting(referrals: Iterable[Referral], *, now: datetime) -> tuple[Referral, ...]:
    """Revoke those that still wait; what a partner took is its own by now."""
    taken_back = (change.revoked_if_waiting(referral, now=now) for referral in referrals)
    return tuple(referral for referral in taken_back if referral is not None)


def _unwanted(referral: Referral, incident: IncidentTriaged) -> bool:
    decided_otherwise = reviewed(incident) and referral.destination not in incident.decision.proposed_destinations
    # What a person referred is theirs to take back.
    return decided_otherwise and referral.status in WAITING and referral.referred_by is None


def _updated(
    referral: Referral, incident: IncidentTriaged, *, referrals: Sequence[Referral], directory: Directory, now: datetime
) -> Referral:
    others = {other.partner_id for other in referrals if other.id != referral.id and other.status not in DROPPED}
    return change.updated(
        referral,
        route=_route(referral, incident, directory=directory, tried=others, now=now),
        country=incident.country,
        level=incident.level,
        category=incident.category,
        reviewed=reviewed(incident),
        now=now,
    )


def _route(
    referral: Referral, incident: IncidentTriaged, *, directory: Directory, tried: Iterable[object], now: datetime
) -> Route | None:
    return directory.choose(
        country=incident.country,
        destination=referral.destination,
        category=incident.category,
        level=incident.level,
        now=now,
        tried=frozenset(tried),  # type: ignore[arg-type] # ids of partners
    )
