"""A person refers an incident: the rules they meet, and what a second word on the same destination does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.crypto.parts import seal_text
from amparo_common.crypto.sealing import DataKey
from amparo_common.errors import Refusal, Refused
from amparo_common.events.types import IncidentTriaged, ReferralChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Destination, LawfulBasis, ReferralStatus as Status
from amparo_referral.callers import not_allowed, not_found, seal_key, sees
from amparo_referral.changes import Changes
from amparo_referral.domain import lawfulness, referrals as change
from amparo_referral.domain.incidents import ended, reviewed
from amparo_referral.domain.referrals import ENDED, Referral, Word
from amparo_referral.domain.routes import STAYS_HERE, Route
from amparo_referral.packaging import Keys, Workbench, build, opened_note
from amparo_referral.repository import directory as entries, incidents, referrals
from amparo_referral.repository.incidents import KnownIncident
from amparo_referral.service import Desk, package_keys

#: In these a referral does not stand in the way of another to the same destination.
_OVER: Final = ENDED | {Status.UNDELIVERABLE}
#: Nothing was promised to anybody yet, so the partner may still be chosen anew.
_HELD_BACK: Final = frozenset({Status.AWAITING_REVIEW, Status.AWAITING_APPROVAL})


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks for. No `repr` shows the note."""

    destination: Destination
    partner_id: UUID | None
    lawful_basis: LawfulBasis
    note: str | None

    def __repr__(self) -> str:
        return f"Wish({self.destination}, {self.lawful_basis})"


async def refer(desk: Desk, incident_id: UUID, wish: Wish, *, by: Principal) -> ReferralChanged:
    """Refer an incident on a person's word and return the referral's state.

    A referral to the same destination that stands is the same referral: held back for a review, it goes on this word;
    another basis or note makes a new version of it; asked again with nothing new, it is returned as it is.

    Raises Problem 404 for an incident that is not the caller's to see, Refused with the rule that says no, and
    TransientError when a note cannot be sealed now. Nothing is stored then.
    """
    known = await desk.database.read(lambda session: incidents.get(session, incident_id))
    if known is None or known.state is None or not sees(by, Permission.WORK_QUEUE, country=known.state.country):
        raise not_found()
    key = await seal_key(desk, incident_id) if wish.note else None
    keys = await package_keys(desk, [incident_id])
    told = await desk.database.write(
        lambda connection: _refer(connection, desk, incident_id, wish, by=by, key=key, keys=keys)
    )
    desk.ring_sender()
    desk.ring_builder()
    return told


def _refer(
    connection: Connection,
    desk: Desk,
    incident_id: UUID,
    wish: Wish,
    *,
    by: Principal,
    key: DataKey | None,
    keys: Keys,
) -> ReferralChanged:
    known = incidents.locked(connection, [incident_id])[incident_id]
    state = known.state
    if state is None or not sees(by, Permission.WORK_QUEUE, country=state.country):
        raise not_found()
    if known.erased or ended(state) or (wish.note and key is None):
        raise not_allowed("The incident is closed or erased; nothing of it leaves any more.")
    if state.awaiting_signature:
        message = "A lowering of this incident waits for a second person; sign or refuse it first."
        raise Refused(Refusal("LOWERING_NEEDS_SIGNATURE", message))
    _check_basis(wish)
    changes = Changes(now=desk.clock.now(), directory=entries.directory(connection))
    held = [one for one in referrals.of_incidents(connection, [incident_id]) if one.destination is wish.destination]
    standing = max((one for one in held if one.status not in _OVER), key=lambda one: one.ordinal, default=None)
    if standing is None:
        noted = _opened(state, wish, held, by=by, key=key, changes=changes, demo=desk.demo)
    else:
        again = _again(standing, state, wish, by=by, key=key, changes=changes, demo=desk.demo)
        if again is None:
            return referrals.events_of(connection, [standing])[0]
        noted = again
    changes.note(noted)
    _package(connection, desk, known, noted, changes=changes, keys=keys)
    incidents.forget_no_route(connection, [incident_id])
    changes.audit("referral.created", subject=state.reference, actor=by.name, role=by.role)
    changes.write(connection)
    return changes.of_referral(noted.id)


def _package(
    connection: Connection, desk: Desk, known: KnownIncident, noted: Referral, *, changes: Changes, keys: Keys
) -> None:
    """Make the package at once, so that who referred reads what they sent; without keys the builder makes it."""
    if known.id not in keys:
        return
    referrals.put(connection, [noted])  # the row stands before its package
    build(
        connection,
        changes,
        incident=known,
        reports=incidents.reports_of(connection, [known.id])[known.id],
        referrals=referrals.of_incidents(connection, [known.id]),
        workbench=Workbench(keys=keys, acknowledge_url=desk.acknowledge_url),
    )


def _check_basis(wish: Wish) -> None:
    if wish.destination in STAYS_HERE:
        raise Refused(Refusal("INVALID", "Nothing is referred there; answer the reporter or close.", "destination"))
    why_not = lawfulness.why_not(wish.lawful_basis, to=wish.destination)
    if why_not:
        raise Refused(Refusal("LAWFUL_BASIS_MISSING", why_not, "lawful_basis"))


def _opened(
    state: IncidentTriaged,
    wish: Wish,
    held: Sequence[Referral],
    *,
    by: Principal,
    key: DataKey | None,
    changes: Changes,
    demo: bool,
) -> Referral:
    tried = {one.partner_id for one in held if one.status is not Status.REVOKED}
    route = _route(state, wish, changes=changes, demo=demo, tried=tried)
    return change.opened(
        incident_id=state.incident_id,
        destination=wish.destination,
        ordinal=max((one.ordinal for one in held), default=-1) + 1,
        route=route,
        country=state.country,
        level=state.level,
        category=state.category,
        reviewed=reviewed(state),
        is_test=state.is_test,
        now=changes.now,
        by=_word(wish, uuid7(), state.incident_id, by=by, key=key),
    )


def _again(
    standing: Referral,
    state: IncidentTriaged,
    wish: Wish,
    *,
    by: Principal,
    key: DataKey | None,
    changes: Changes,
    demo: bool,
) -> Referral | None:
    """Return the referral that stands with this word put to it; None when the word adds nothing."""
    release, moved = standing.release, standing
    if wish.partner_id is not None and wish.partner_id != standing.partner_id:
        if standing.status not in _HELD_BACK or standing.left:
            message = "This referral is on its way to another partner; wait for its answer."
            raise Refused(Refusal("INVALID", message, "partner_id"))
        route = _route(state, wish, changes=changes, demo=demo, tried=())
        release = route.release
        moved = msgspec.structs.replace(standing, partner_id=route.partner_id, release=release)
    adds_note = wish.note is not None and opened_note(standing, key=key) != wish.note
    held_back = standing.status in _HELD_BACK and standing.referred_by is None
    if moved is standing and not adds_note and not held_back and standing.lawful_basis is wish.lawful_basis:
        return None
    word = _word(wish, standing.id, standing.incident_id, by=by, key=key)
    return change.referred(moved, by=word, release=release, now=changes.now)


def _route(
    state: IncidentTriaged, wish: Wish, *, changes: Changes, demo: bool, tried: Sequence[UUID] | set[UUID]
) -> Route:
    directory, country, destination = changes.directory, state.country, wish.destination
    asked = {"country": country, "destination": destination, "category": state.category, "level": state.level}
    if wish.partner_id is None:
        route = directory.choose(**asked, now=changes.now, tried=tried)  # type: ignore[arg-type] # the names above
        if route is None and directory.unverified(**asked) and not tried:  # type: ignore[arg-type]
            raise _unverified()
        if route is None:
            raise _no_route("No route leads to a further partner of that kind for this incident.")
        return route
    partner = directory.partners.get(wish.partner_id)
    if partner is None:
        raise Refused(Refusal("NOT_FOUND", "There is no such partner.", "partner_id"))
    if not partner.verified(changes.now) and not (demo and partner.last_verified_at is None):
        raise _unverified()
    route = directory.named(partner.id, **asked)  # type: ignore[arg-type]
    if route is None or not partner.serves(country) or not partner.reachable():
        raise _no_route("No route leads to this partner for that destination and country.")
    return route


def _unverified() -> Refused:
    message = "Nobody verified this partner in the last 180 days; verify its entry first."
    return Refused(Refusal("PARTNER_NOT_VERIFIED", message, "partner_id"))


def _no_route(message: str) -> Refused:
    return Refused(Refusal("NO_ROUTE", message, "destination"))


def _word(wish: Wish, referral_id: UUID, incident_id: UUID, *, by: Principal, key: DataKey | None) -> Word:
    note = None
    if wish.note and key is not None:
        note = seal_text(key, wish.note, name=f"note:{referral_id}", report_id=incident_id)
    return Word(name=by.name, basis=wish.lawful_basis, referral_id=referral_id, note=note)
