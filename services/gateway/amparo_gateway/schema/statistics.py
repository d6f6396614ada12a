"""Figures in which nobody can recognise a child."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import strawberry
from sqlalchemy.orm import Session
from strawberry.scalars import JSON

from amparo_gateway import repository
from amparo_gateway.domain_figures import Cell, Dimension, suppressed
from amparo_gateway.errors import InvalidError, LimitExceededError
from amparo_gateway.schema.context import Info

_MOST_ROWS: Final = 10_000

Since = Annotated[datetime, strawberry.argument(name="from", description="Received at this time or later.")]
Until = Annotated[datetime, strawberry.argument(name="to", description="Received before this time.")]


@strawberry.type(
    description="How many incidents, or referrals, have these dimensions. A cell under five is null, never zero, and "
    "so are the further cells without which it could be worked out from a total."
)
class StatisticsRow:
    dimensions: JSON = strawberry.field(description="Keyed by the names of what was grouped by.")
    count: int | None
    suppressed: bool


async def statistics_of(
    info: Info, *, since: datetime, until: datetime, group_by: Sequence[Dimension]
) -> list[StatisticsRow]:
    """Count what the caller's countries show, by `group_by`."""
    context = info.context
    scope = context.scope("Query.statistics")
    if since >= until:
        raise InvalidError("`from` is before `to`.")
    by = tuple(dict.fromkeys(group_by))

    def read(session: Session) -> list[Cell]:
        cells = repository.figures(session, scope=scope, since=since, until=until, by=by, limit=_MOST_ROWS + 1)
        if len(cells) > _MOST_ROWS:
            raise LimitExceededError(f"These figures have more than {_MOST_ROWS} rows; group by less.")
        return suppressed(cells)

    names = [dimension.name for dimension in by]
    return [
        StatisticsRow(
            dimensions=JSON(dict(zip(names, cell.values, strict=True))),
            count=cell.number,
            suppressed=cell.number is None,
        )
        for cell in await context.projection.read(read)
    ]
