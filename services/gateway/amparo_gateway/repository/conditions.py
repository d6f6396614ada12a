"""What the queries share: visibility as a condition, wishes as conditions, a page as it is found."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, exists, false, or_, true
from sqlmodel import col

from amparo_gateway.domain import EveryCountry, InCountries, OfOrganisation, OwnedBy, Scope
from amparo_gateway.tables import IncidentOwnerRow, IncidentRow, ReferralRow


class Found(NamedTuple):
    """A stored state with its place in the list that it was found in."""

    place: bytes
    state: bytes
    #: The state of a referral's partner, where it was asked for and is known.
    partner: bytes | None = None


def incident_shown(scope: Scope) -> ColumnElement[bool]:
    """Say which rows of `incident` the scope shows."""
    match scope:
        case EveryCountry():
            return true()
        case InCountries(codes):
            return col(IncidentRow.country).in_(codes)
        case OwnedBy(owner):
            row = IncidentOwnerRow
            return exists().where(col(row.owner) == owner, col(row.incident_id) == col(IncidentRow.id))
        case _:
            return false()


def referral_shown(scope: Scope) -> ColumnElement[bool]:
    """Say which rows of `referral` the scope shows."""
    match scope:
        case EveryCountry():
            return true()
        case InCountries(codes):
            return col(ReferralRow.country).in_(codes)
        case OfOrganisation(name):
            return col(ReferralRow.organisation) == name
        case _:
            return false()


def one_of(*pairs: tuple[Any, Collection[Any] | None]) -> list[ColumnElement[bool]]:
    """Ask that each column is one of its values; an empty or missing collection asks nothing."""
    return [col(column).in_(values) for column, values in pairs if values]


def equal(*pairs: tuple[Any, Any]) -> list[ColumnElement[bool]]:
    """Ask that each column equals its value; None asks nothing."""
    return [col(column) == value for column, value in pairs if value is not None]


def overdue(due_at: Any, wanted: bool | None, *, now: datetime) -> list[ColumnElement[bool]]:
    """Ask for what is overdue, for what is not, or nothing."""
    if wanted is None:
        return []
    return [due_at < now if wanted else or_(due_at.is_(None), due_at >= now)]


def found_in(rows: Iterable[Any]) -> list[Found]:
    """Return rows of place and state, and what else was asked for, as what was found."""
    return [Found(*row) for row in rows]
