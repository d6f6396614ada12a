"""Partners and routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, RowMapping, func, select, update
from sqlalchemy.orm import Session

from amparo_common.db.upsert import upsert
from amparo_common.vocabulary.codes import Adapter, Destination, ReferralStatus
from amparo_referral.domain.routes import Directory, PartnerEntry, Route
from amparo_referral.tables import PARTNER, REFERRAL, ROUTE

Source = Connection | Session
_WAITING = (ReferralStatus.AWAITING_REVIEW, ReferralStatus.AWAITING_APPROVAL, ReferralStatus.QUEUED)


class PartnerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A partner as people see it: its entry, its routes, what waits for it. Its address and secret are left out."""

    entry: PartnerEntry
    routes: tuple[Route, ...]
    last_delivered_at: datetime | None
    waiting: int


def directory(source: Source) -> Directory:
    """Read all partners and routes."""
    partners = {row["id"]: _entry(row) for row in source.execute(select(PARTNER)).mappings()}
    routes = tuple(_route(row) for row in source.execute(select(ROUTE)).mappings())
    return Directory(partners, routes)


def partners(source: Source, *, ids: Sequence[UUID] | None = None) -> list[PartnerSummary]:
    """Read the partners as people see them, by name; all of them without `ids`."""
    chosen = select(PARTNER).order_by(PARTNER.c.name, PARTNER.c.id)
    rows = source.execute(chosen if ids is None else chosen.where(PARTNER.c.id.in_(ids))).mappings().all()
    known = [row["id"] for row in rows]
    routes: dict[UUID, list[Route]] = {partner_id: [] for partner_id in known}
    ordered = select(ROUTE).where(ROUTE.c.partner_id.in_(known)).order_by(ROUTE.c.priority, ROUTE.c.country)
    for row in source.execute(ordered).mappings():
        routes[row["partner_id"]].append(_route(row))
    waiting = waiting_by_partner(source)
    return [
        PartnerSummary(
            entry=_entry(row),
            routes=tuple(routes[row["id"]]),
            last_delivered_at=row["last_delivered_at"],
            waiting=waiting.get(row["id"], 0),
        )
        for row in rows
    ]


def waiting_by_partner(source: Source) -> Mapping[UUID, int]:
    """Count, for each partner, the referrals that have not reached it."""
    query = select(REFERRAL.c.partner_id, func.count()).where(REFERRAL.c.status.in_([str(s) for s in _WAITING]))
    return {row[0]: row[1] for row in source.execute(query.group_by(REFERRAL.c.partner_id))}


def partner(source: Source, partner_id: UUID) -> PartnerEntry | None:
    """Read one partner."""
    row = source.execute(select(PARTNER).where(PARTNER.c.id == partner_id)).mappings().one_or_none()
    return _entry(row) if row is not None else None


def wrapped_secret(source: Source, partner_id: UUID) -> bytes | None:
    """Read a partner's secret as it is stored, wrapped."""
    secret: bytes | None = source.execute(select(PARTNER.c.secret).where(PARTNER.c.id == partner_id)).scalar()
    return secret


def put_partner(connection: Connection, entry: PartnerEntry, *, secret: bytes | None, now: datetime) -> None:
    """Store a partner; `secret` (wrapped) replaces an earlier one, None keeps it."""
    row = {
        "id": entry.id,
        "name": entry.name,
        "destination": str(entry.destination),
        "organisation": entry.organisation,
        "countries": _json(entry.countries),
        "languages": _json(entry.languages),
        "adapter": str(entry.adapter),
        "address": entry.address,
        "secret": secret,
        "accepts_emergency": entry.accepts_emergency,
        "last_verified_at": entry.last_verified_at,
        "changed_at": now,
        "version": 0,
    }
    kept = {"id", "last_delivered_at", "version", *(() if secret else ("secret",))}
    changed = [name for name in row if name not in kept]
    connection.execute(upsert(connection, PARTNER, unique=("id",), update=changed), [row | {"last_delivered_at": None}])


def next_version(connection: Connection, partner_id: UUID) -> int:
    """Count a change of a partner's entry or routes and return the number of it, from 1."""
    counted = update(PARTNER).where(PARTNER.c.id == partner_id).values(version=PARTNER.c.version + 1)
    version: int = connection.execute(counted.returning(PARTNER.c.version)).scalar_one()
    return version


def untold(source: Source) -> list[UUID]:
    """Return the partners whose entry was never told to others."""
    return list(source.execute(select(PARTNER.c.id).where(PARTNER.c.version == 0).order_by(PARTNER.c.id)).scalars())


def put_routes(connection: Connection, routes: Sequence[Route]) -> None:
    """Store routes; one of the same country, destination and partner is replaced."""
    rows = [
        {
            "country": route.country,
            "destination": str(route.destination),
            "partner_id": route.partner_id,
            "priority": route.priority,
            "release": str(route.release),
            "categories": _json(route.categories),
            "levels": _json(route.levels),
            "enabled": route.enabled,
        }
        for route in routes
    ]
    if rows:
        connection.execute(upsert(connection, ROUTE, unique=("country", "destination", "partner_id")), rows)


def note_delivery(connection: Connection, partner_id: UUID, *, at: datetime) -> None:
    """Note when a partner took something last."""
    connection.execute(update(PARTNER).where(PARTNER.c.id == partner_id).values(last_delivered_at=at))


def _json(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()


def _entry(row: RowMapping) -> PartnerEntry:
    return PartnerEntry(
        id=row["id"],
        name=row["name"],
        destination=Destination(row["destination"]),
        organisation=row["organisation"],
        countries=_texts(row["countries"]),
        languages=_texts(row["languages"]),
        adapter=Adapter(row["adapter"]),
        address=row["address"],
        has_secret=row["secret"] is not None,
        accepts_emergency=row["accepts_emergency"],
        last_verified_at=row["last_verified_at"],
    )


def _route(row: RowMapping) -> Route:
    values: dict[str, Any] = dict(row)
    values |= {name: msgspec.json.decode(row[name]) for name in ("categories", "levels")}
    return msgspec.convert(values, Route)


def _texts(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])
