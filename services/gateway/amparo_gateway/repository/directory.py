"""Partners, with what waits for them, and work for a person."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, false, func, or_, select, true
from sqlalchemy.orm import Session
from sqlmodel import col

from amparo_common.vocabulary.codes import ReferralStatus
from amparo_gateway.domain import EveryCountry, InCountries, Nothing, Scope
from amparo_gateway.repository.conditions import Found, found_in, referral_shown
from amparo_gateway.tables import PartnerRow, ReferralRow, TaskRow


class Standing(NamedTuple):
    """How a partner is served: when something last reached it, and how many referrals wait to."""

    last_delivered_at: datetime | None
    waiting: int


def partners(session: Session, *, scope: Scope, country: str | None, after: bytes | None, limit: int) -> list[Found]:
    """Return up to `limit` partners by name, behind the place `after`; those of `country` when one is given."""
    place, countries = col(PartnerRow.name_place), col(PartnerRow.countries)
    query = select(place, col(PartnerRow.state)).where(_listed(scope))
    if country is not None:
        query = query.where(or_(countries == " * ", countries.contains(f" {country} ", autoescape=True)))
    if after is not None:
        query = query.where(place > after)
    return found_in(session.execute(query.order_by(place).limit(limit)))


def partners_by_id(session: Session, *, scope: Scope, ids: Collection[UUID]) -> dict[UUID, bytes]:
    """Return the directory entries of those partners that exist, when `scope` shows the directory at all."""
    query = select(col(PartnerRow.id), col(PartnerRow.state)).where(col(PartnerRow.id).in_(ids), _listed(scope))
    return {row[0]: row[1] for row in session.execute(query)}


def standings_of_partners(session: Session, *, scope: Scope, ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Return how each known partner is served, as far as `scope` shows its referrals."""
    row, partner = ReferralRow, col(PartnerRow.id)
    to_it = (col(row.partner_id) == partner, referral_shown(scope))
    delivered_at = col(row.delivered_at)
    # A walk from the newest of the partner's own index, whatever else the scope asks; `max` would read them all.
    last = select(delivered_at).where(*to_it, delivered_at.is_not(None)).order_by(delivered_at.desc()).limit(1)
    waiting = select(func.count()).where(*to_it, col(row.status) == ReferralStatus.QUEUED)
    query = select(
        partner,
        last.correlate(PartnerRow).scalar_subquery().label("last"),
        waiting.correlate(PartnerRow).scalar_subquery().label("waiting"),
    ).where(partner.in_(ids))
    return {key: Standing(last_at, count) for key, last_at, count in session.execute(query)}


def _listed(scope: Scope) -> ColumnElement[bool]:
    """Show the whole directory, which is one for all countries, to whoever sees any of it."""
    return false() if isinstance(scope, Nothing) else true()


def tasks(session: Session, *, scope: Scope, is_open: bool, after: bytes | None, limit: int) -> list[Found]:
    """Return up to `limit` open (else: completed) tasks whose referral `scope` shows too, the earliest due first."""
    place = col(TaskRow.due_place)
    query = select(place, col(TaskRow.state)).where(col(TaskRow.is_open).is_(is_open), *_tasks_shown(scope))
    if after is not None:
        query = query.where(place > after)
    return found_in(session.execute(query.order_by(place).limit(limit)))


def tasks_by_id(session: Session, *, scope: Scope, ids: Collection[UUID]) -> dict[UUID, bytes]:
    """Return the states of those tasks that exist and that `scope` shows with their referral."""
    query = select(col(TaskRow.id), col(TaskRow.state)).where(col(TaskRow.id).in_(ids), *_tasks_shown(scope))
    return {row[0]: row[1] for row in session.execute(query)}


def _tasks_shown(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    referral = select(col(ReferralRow.id)).where(col(ReferralRow.id) == col(TaskRow.referral_id), referral_shown(scope))
    return _tasks_in(scope), referral.correlate(TaskRow).exists()


def _tasks_in(scope: Scope) -> ColumnElement[bool]:
    match scope:
        case EveryCountry():
            return true()
        case InCountries(codes):
            return col(TaskRow.country).in_(codes)
        case _:
            return false()
