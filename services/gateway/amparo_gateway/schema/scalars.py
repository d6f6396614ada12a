"""Scalars of the graph."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from amparo_common.clock import rfc3339


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo and "T" in value.upper() else _refuse()
    except (TypeError, ValueError, OverflowError):
        return _refuse()


def _refuse() -> datetime:
    raise GraphQLError("A DateTime is RFC 3339 with its zone, such as 2026-03-01T08:30:00Z.")


DATE_TIME: Final = ScalarDefinition(
    name="DateTime",
    description="RFC 3339, UTC.",
    specified_by_url=None,
    serialize=rfc3339,
    parse_value=_moment,
    parse_literal=None,
    origin=datetime,
)
