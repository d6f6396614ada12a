"""Figures: how many incidents, or how many of their referrals, by what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from amparo_gateway.domain import Scope
from amparo_gateway.domain_figures import Cell, Dimension
from amparo_gateway.repository.conditions import incident_shown
from amparo_gateway.tables import IncidentRow, ReferralRow

_COLUMNS: Final[dict[Dimension, Any]] = {
    Dimension.DAY: IncidentRow.received_on,
    Dimension.COUNTRY: IncidentRow.country,
    Dimension.CHANNEL: IncidentRow.channel,
    Dimension.CATEGORY: IncidentRow.category,
    Dimension.LEVEL: IncidentRow.level,
    Dimension.DESTINATION: ReferralRow.destination,
    Dimension.OUTCOME: ReferralRow.status,
}
_OF_REFERRALS: Final = frozenset({Dimension.DESTINATION, Dimension.OUTCOME})


def figures(
    session: Session, *, scope: Scope, since: datetime, until: datetime, by: Sequence[Dimension], limit: int
) -> list[Cell]:
    """Count the incidents that came in from `since` on and before `until`, by the dimensions `by`.

    With a dimension of referrals, their referrals are counted. Up to `limit` cells, in the order of the dimensions.
    """
    columns = [col(_COLUMNS[dimension]) for dimension in by]
    received_at = col(IncidentRow.received_at)
    query = select(func.count(), *columns).select_from(IncidentRow)
    if _OF_REFERRALS.intersection(by):
        query = query.join(ReferralRow, col(ReferralRow.incident_id) == col(IncidentRow.id))
    query = query.where(received_at >= since, received_at < until, incident_shown(scope))
    rows = session.execute(query.group_by(*columns).order_by(*columns).limit(limit))
    return [Cell(tuple(row[1:]), row[0]) for row in rows]
