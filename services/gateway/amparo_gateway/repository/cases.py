"""Incidents and referrals, with what hangs on them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session
from sqlmodel import col

from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    Destination,
    IncidentStatus,
    Lane,
    Level,
    ReferralStatus,
)
from amparo_gateway.domain import OwnedBy, Scope, channel_bits
from amparo_gateway.repository.conditions import (
    Found,
    equal,
    found_in,
    incident_shown,
    one_of,
    overdue,
    referral_shown,
)
from amparo_gateway.tables import IncidentHistoryRow, IncidentOwnerRow, IncidentRow, PartnerRow, ReferralRow, ReportRow


class Version(NamedTuple):
    """A stored version of an incident."""

    number: int
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentWish:
    """What incidents a caller asks for; None and an empty list ask nothing."""

    levels: Collection[Level] | None = None
    statuses: Collection[IncidentStatus] | None = None
    categories: Collection[Category] | None = None
    countries: Collection[str] | None = None
    channels: Collection[Channel] | None = None
    lane: Lane | None = None
    claimed_by: str | None = None
    not_claimed_by: str | None = None
    in_queue: bool | None = None
    awaiting_signature: bool | None = None
    overdue: bool | None = None
    reference: str | None = None
    received_after: datetime | None = None
    received_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralWish:
    """What referrals a caller asks for; None and an empty list ask nothing."""

    statuses: Collection[ReferralStatus] | None = None
    destinations: Collection[Destination] | None = None
    overdue: bool | None = None
    reference: str | None = None


# ---------------------------------------------------------------- incidents


class Order(NamedTuple):
    """Order of a list of incidents: the column of the place, and whether it is read backwards."""

    place: Literal["queue_place", "receipt_place"]
    backwards: bool


QUEUE: Final = Order("queue_place", backwards=False)
NEWEST: Final = Order("receipt_place", backwards=True)
OLDEST: Final = Order("receipt_place", backwards=False)


def incidents(
    session: Session,
    *,
    scope: Scope,
    wish: IncidentWish,
    order: Order,
    after: bytes | None,
    limit: int,
    now: datetime,
) -> list[Found]:
    """Return up to `limit` incidents that `scope` shows and `wish` asks for, behind the place `after`."""
    source = IncidentOwnerRow if isinstance(scope, OwnedBy) else IncidentRow
    place = col(getattr(source, order.place))
    query = select(place, col(IncidentRow.state)).where(*_wished(wish, now=now))
    if isinstance(scope, OwnedBy):
        # Walked along the owner's own index; `_visible` would look up and sort all that the owner ever reported.
        query = query.join(IncidentRow, col(IncidentRow.id) == col(IncidentOwnerRow.incident_id))
        query = query.where(col(IncidentOwnerRow.owner) == scope.owner)
    else:
        query = query.where(incident_shown(scope))
    if after is not None:
        query = query.where(place < after if order.backwards else place > after)
    query = query.order_by(place.desc() if order.backwards else place).limit(limit)
    return found_in(session.execute(query))


def incidents_by_id(session: Session, *, scope: Scope, ids: Collection[UUID]) -> dict[UUID, bytes]:
    """Return the states of those incidents that exist and that `scope` shows."""
    query = select(col(IncidentRow.id), col(IncidentRow.state)).where(
        col(IncidentRow.id).in_(ids), incident_shown(scope)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def incidents_of_reports(session: Session, *, scope: Scope, ids: Collection[UUID]) -> dict[UUID, bytes]:
    """Return, by report, the states of those incidents that the reports went into and that `scope` shows."""
    joined = (
        select(col(ReportRow.id), col(IncidentRow.state))
        .join(IncidentRow, col(IncidentRow.id) == col(ReportRow.incident_id))
        .where(col(ReportRow.id).in_(ids), incident_shown(scope))
    )
    # An incident has its first report's id, so the first is found before its report.joined arrives.
    return incidents_by_id(session, scope=scope, ids=ids) | {row[0]: row[1] for row in session.execute(joined)}


def history_of_incidents(
    session: Session, *, scope: Scope, ids: Collection[UUID], after: int | None, limit: int
) -> dict[UUID, list[Version]]:
    """Return up to `limit` versions of each incident that `scope` shows, oldest first, `after` included."""
    row = IncidentHistoryRow
    rank = func.row_number().over(partition_by=col(row.incident_id), order_by=col(row.version)).label("rank")
    ranked = select(col(row.incident_id), col(row.version), col(row.state), rank).where(
        col(row.incident_id).in_(ids),
        col(row.incident_id).in_(select(col(IncidentRow.id)).where(incident_shown(scope))),
    )
    if after is not None:
        ranked = ranked.where(col(row.version) >= after)
    page = ranked.subquery()
    query = select(page.c.incident_id, page.c.version, page.c.state).where(page.c.rank <= limit)
    found: dict[UUID, list[Version]] = {}
    for incident_id, version, state in session.execute(query.order_by(page.c.incident_id, page.c.version)):
        found.setdefault(incident_id, []).append(Version(version, state))
    return found


def _wished(wish: IncidentWish, *, now: datetime) -> list[ColumnElement[bool]]:
    row = IncidentRow
    conditions = [
        *one_of((row.level, wish.levels), (row.status, wish.statuses), (row.category, wish.categories)),
        *one_of((row.country, wish.countries)),
        *equal((row.lane, wish.lane), (row.claimed_by, wish.claimed_by), (row.in_queue, wish.in_queue)),
        *equal((row.awaiting_signature, wish.awaiting_signature), (row.reference, wish.reference)),
        *overdue(col(row.due_at), wish.overdue, now=now),
    ]
    if wish.channels:
        conditions.append(col(row.channels).bitwise_and(channel_bits(tuple(wish.channels))) != 0)
    if wish.not_claimed_by is not None:
        conditions.append(or_(col(row.claimed_by).is_(None), col(row.claimed_by) != wish.not_claimed_by))
    if wish.received_after is not None:
        conditions.append(col(row.received_at) > wish.received_after)
    if wish.received_before is not None:
        conditions.append(col(row.received_at) < wish.received_before)
    return conditions


# ---------------------------------------------------------------- referrals


def referrals(
    session: Session,
    *,
    scope: Scope,
    wish: ReferralWish,
    after: bytes | None,
    limit: int,
    now: datetime,
    with_partners: bool = False,
) -> list[Found]:
    """Return up to `limit` referrals that `scope` shows and `wish` asks for, newest first, behind the place `after`."""
    place, state = col(ReferralRow.newest_place), col(ReferralRow.state)
    query: Select[Any, Any] | Select[Any, Any, Any] = select(place, state)
    if with_partners:
        query = select(place, state, col(PartnerRow.state)).outerjoin(
            PartnerRow, col(PartnerRow.id) == col(ReferralRow.partner_id)
        )
    query = query.where(referral_shown(scope), *_asked(wish, now=now))
    if after is not None:
        query = query.where(place > after)
    return found_in(session.execute(query.order_by(place).limit(limit)))


def referrals_by_id(session: Session, *, scope: Scope, ids: Collection[UUID]) -> dict[UUID, bytes]:
    """Return the states of those referrals that exist and that `scope` shows."""
    query = select(col(ReferralRow.id), col(ReferralRow.state)).where(
        col(ReferralRow.id).in_(ids), referral_shown(scope)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def referrals_of_incidents(
    session: Session, *, scope: Scope, ids: Collection[UUID], after: bytes | None, limit: int
) -> dict[UUID, list[Found]]:
    """Return up to `limit` referrals of each incident that `scope` shows, newest first, behind the place `after`."""
    row, place = ReferralRow, col(ReferralRow.newest_place)
    rank = func.row_number().over(partition_by=col(row.incident_id), order_by=place).label("rank")
    ranked = select(col(row.incident_id), place, col(row.state), rank).where(
        col(row.incident_id).in_(ids),
        col(row.incident_id).in_(select(col(IncidentRow.id)).where(incident_shown(scope))),
    )
    if after is not None:
        ranked = ranked.where(place > after)
    page = ranked.subquery()
    query = select(page.c.incident_id, page.c.newest_place, page.c.state).where(page.c.rank <= limit)
    found: dict[UUID, list[Found]] = {}
    for incident_id, stands, state in session.execute(query.order_by(page.c.incident_id, page.c.newest_place)):
        found.setdefault(incident_id, []).append(Found(stands, state))
    return found


def _asked(wish: ReferralWish, *, now: datetime) -> list[ColumnElement[bool]]:
    row = ReferralRow
    return [
        *one_of((row.status, wish.statuses), (row.destination, wish.destinations)),
        *equal((row.reference, wish.reference)),
        *overdue(col(row.due_at), wish.overdue, now=now),
    ]
