"""Keeping the directory: partners and routes, set by an administrator or by the demo seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amparo_common import outbox, webhooks
from amparo_common.audit import AuditEntry, record
from amparo_common.errors import Refusal, Refused
from amparo_common.events.types import PartnerChanged, RouteStanding
from amparo_common.ids import uuid7
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Adapter, Destination, Lane, Release, Role
from amparo_common.vocabulary.countries import COUNTRY_CODES
from amparo_common.vocabulary.languages import LANGUAGE_CODES
from amparo_referral.changes import SERVICE
from amparo_referral.domain.routes import ANY_COUNTRY, STAYS_HERE, PartnerEntry, Route
from amparo_referral.repository import deliveries, directory as entries
from amparo_referral.service import Desk, place_unrouted

#: Adapters that reach a web address; the guarded client judges it.
_BY_ADDRESS: Final = frozenset({Adapter.WEBHOOK, Adapter.NCMEC_CYBERTIPLINE, Adapter.IODEF, Adapter.PORTAL_MANUAL})
_MAILBOX: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\.[^@\s.]{2,60}")
_NUMBER: Final = re.compile(r"[+0-9][0-9 ()./-]{1,30}")
_LONGEST_NAME: Final = 200
_PRIORITIES: Final = range(1_000_000)
_CLOCKS_DIFFER: Final = timedelta(minutes=5)


class PartnerInput(msgspec.Struct, frozen=True, kw_only=True):
    """A partner as it is set; `id` None makes a new one. None for what has a default keeps what stands."""

    id: UUID | None = None
    name: str
    destination: Destination
    countries: tuple[str, ...]
    languages: tuple[str, ...]
    adapter: Adapter
    address: str | None = None
    secret: str | None = None
    organisation: str | None = None
    accepts_emergency: bool | None = None
    last_verified_at: datetime | None = None

    def __repr__(self) -> str:
        return f"PartnerInput({self.name!r})"


class By(msgspec.Struct, frozen=True):
    """Who sets it."""

    name: str
    role: Role


async def upsert_partner(
    desk: Desk, given: PartnerInput, *, judge: Callable[[str], str | None], by: By
) -> PartnerChanged:
    """Create or change a partner and return it as told. Raises Refused with every field that is wrong, nothing stored.

    `judge` says why a web address is refused, without asking DNS. Incidents without a route are placed at once; what
    waits for a partner that is reached in another way from now on is packaged again and goes that way.
    """
    secret = _checked(given, judge=judge, now=desk.clock.now())
    partner_id = given.id or uuid7()

    def unit(connection: Connection) -> PartnerChanged:
        now = desk.clock.now()
        known = entries.partner(connection, given.id) if given.id else None
        entry = _entry(given, partner_id, known)
        refusals = _refused_merge(given, entry, known)
        if refusals:
            raise Refused(*refusals)
        wrapped = desk.provider.wrap(secret, context=partner_id.bytes) if secret else None
        entries.put_partner(connection, entry, secret=wrapped, now=now)
        if known is not None and known.adapter is not entry.adapter:
            deliveries.give_back(connection, partner_id, now=now)
        _audit(connection, "partner.set", subject=str(partner_id), by=by, now=now)
        return tell(connection, partner_id, now=now)

    told = await desk.database.write(unit)
    await place_unrouted(desk)
    desk.ring_builder()
    return told


async def set_route(desk: Desk, route: Route, *, by: By) -> PartnerChanged:
    """Set a route and return its partner with all its routes. Raises Refused; nothing is stored then."""
    refusals = _refused_route(route)
    if refusals:
        raise Refused(*refusals)

    def unit(connection: Connection) -> PartnerChanged:
        now = desk.clock.now()
        partner = entries.partner(connection, route.partner_id)
        if partner is None:
            raise Refused(Refusal("NOT_FOUND", "There is no such partner.", "partner_id"))
        if not partner.serves(route.country):
            raise Refused(Refusal("INVALID", "The partner does not work for that country.", "country"))
        if route.release is Release.AUTOMATIC and not partner.verified(now):
            raise Refused(Refusal("PARTNER_NOT_VERIFIED", "Verify the partner before the machine refers to it."))
        entries.put_routes(connection, [route])
        _audit(connection, "route.set", subject=str(route.partner_id), by=by, now=now)
        return tell(connection, route.partner_id, now=now)

    told = await desk.database.write(unit)
    await place_unrouted(desk)
    return told


async def tell_untold(desk: Desk) -> int:
    """Tell of partners that stood here before others were told of any; return of how many."""

    def unit(connection: Connection) -> int:
        ids = entries.untold(connection)
        for partner_id in ids:
            tell(connection, partner_id, now=desk.clock.now())
        return len(ids)

    if not await desk.database.read(entries.untold):
        return 0
    return await desk.database.write(unit)


def tell(connection: Connection, partner_id: UUID, *, now: datetime) -> PartnerChanged:
    """Put the whole entry of a partner that changed, with its routes, into the outbox and return it."""
    version = entries.next_version(connection, partner_id)
    (found,) = entries.partners(connection, ids=[partner_id])
    entry = found.entry
    told = PartnerChanged(
        partner_id=partner_id,
        version=version,
        changed_at=now,
        name=entry.name,
        destination=entry.destination,
        countries=entry.countries,
        languages=entry.languages,
        adapter=entry.adapter,
        organisation=entry.organisation,
        accepts_emergency=entry.accepts_emergency,
        last_verified_at=entry.last_verified_at,
        routes=tuple(_standing(route) for route in found.routes),
    )
    outbox.put(connection, [Outgoing(event=told, key=partner_id, lane=Lane.STANDARD)], service=SERVICE, now=now)
    return told


def _standing(route: Route) -> RouteStanding:
    return RouteStanding(
        country=route.country,
        destination=route.destination,
        priority=route.priority,
        release=route.release,
        categories=route.categories,
        levels=route.levels,
        enabled=route.enabled,
    )


def _audit(connection: Connection, action: str, *, subject: str, by: By, now: datetime) -> None:
    entry = AuditEntry(actor=by.name, role=by.role.lower(), action=action, subject=subject, allowed=True)
    record(connection, [entry], service=SERVICE, now=now)


def _entry(given: PartnerInput, partner_id: UUID, known: PartnerEntry | None) -> PartnerEntry:
    same_way = known is not None and known.adapter is given.adapter
    return PartnerEntry(
        id=partner_id,
        name=given.name,
        destination=given.destination,
        organisation=given.organisation or (known.organisation if known else None),
        countries=given.countries,
        languages=given.languages,
        adapter=given.adapter,
        address=given.address if given.address is not None or not same_way or known is None else known.address,
        has_secret=given.secret is not None or (known is not None and known.has_secret),
        accepts_emergency=_kept(given.accepts_emergency, known.accepts_emergency if known else False),
        last_verified_at=given.last_verified_at or (known.last_verified_at if known else None),
    )


def _kept(given: bool | None, known: bool) -> bool:
    return known if given is None else given


def _refused_merge(given: PartnerInput, entry: PartnerEntry, known: PartnerEntry | None) -> Sequence[Refusal]:
    if given.id is not None and known is None:
        return [Refusal("NOT_FOUND", "There is no such partner.", "id")]
    needs_address = given.adapter is not Adapter.PARTNER_INBOX
    if needs_address and not entry.address:
        return [_invalid("address", "is needed to reach the partner in this way")]
    return []


def _checked(given: PartnerInput, *, judge: Callable[[str], str | None], now: datetime) -> bytes | None:
    """Return the bytes of the secret; raises Refused with everything that is wrong by itself."""
    refusals = [*_refused_words(given), *_refused_address(given, judge=judge)]
    if given.last_verified_at is not None and given.last_verified_at > now + _CLOCKS_DIFFER:
        refusals.append(_invalid("last_verified_at", "lies in the future"))
    secret = None
    if given.secret is not None:
        try:
            secret = webhooks.secret_bytes(given.secret)
        except ValueError as error:
            refusals.append(_invalid("secret", str(error)))
    if refusals:
        raise Refused(*refusals)
    return secret


def _refused_words(given: PartnerInput) -> list[Refusal]:
    refusals = []
    if not given.name.strip() or len(given.name) > _LONGEST_NAME or not given.name.isprintable():
        refusals.append(_invalid("name", f"needs 1 to {_LONGEST_NAME} printable characters"))
    if not given.countries or any(code != ANY_COUNTRY and code not in COUNTRY_CODES for code in given.countries):
        refusals.append(_invalid("countries", "needs assigned ISO 3166-1 codes, or *"))
    if any(code not in LANGUAGE_CODES for code in given.languages):
        refusals.append(_invalid("languages", "takes two-letter ISO 639-1 codes"))
    if given.destination in STAYS_HERE:
        refusals.append(_invalid("destination", "is no kind of body"))
    if given.organisation is not None and not 0 < len(given.organisation) <= _LONGEST_NAME:
        refusals.append(_invalid("organisation", f"needs 1 to {_LONGEST_NAME} characters"))
    return refusals


def _refused_address(given: PartnerInput, *, judge: Callable[[str], str | None]) -> list[Refusal]:
    if given.address is None:
        return []
    if given.adapter is Adapter.ENCRYPTED_EMAIL:
        why = None if _MAILBOX.fullmatch(given.address) else "is no mailbox"
    elif given.adapter is Adapter.PHONE_THEN_WRITTEN:
        why = None if _NUMBER.fullmatch(given.address) else "is no telephone number"
    elif given.adapter is Adapter.PLATFORM_NOTICE and _MAILBOX.fullmatch(given.address):
        why = None
    elif given.adapter in _BY_ADDRESS or given.adapter is Adapter.PLATFORM_NOTICE:
        why = judge(given.address)
    else:
        why = None if given.address == "" else "is not used for this adapter"
    return [_invalid("address", why)] if why else []


def _refused_route(route: Route) -> list[Refusal]:
    refusals = []
    if route.country != ANY_COUNTRY and route.country not in COUNTRY_CODES:
        refusals.append(_invalid("country", "is no assigned ISO 3166-1 code"))
    if route.destination in STAYS_HERE:
        refusals.append(_invalid("destination", "goes nowhere"))
    if route.priority not in _PRIORITIES:
        refusals.append(_invalid("priority", f"must be from 0 to {_PRIORITIES[-1]}"))
    return refusals


def _invalid(field: str, why: str) -> Refusal:
    return Refusal("INVALID", f"The field {why}.", field)
