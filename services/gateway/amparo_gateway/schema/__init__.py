"""The served graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType

from amparo_gateway.schema.context import Context
from amparo_gateway.schema.extensions import EXTENSIONS
from amparo_gateway.schema.mutations import Mutation
from amparo_gateway.schema.plain import ShortWay
from amparo_gateway.schema.query import Query
from amparo_gateway.schema.scalars import DATE_TIME
from amparo_gateway.schema.subscription import Subscription

__all__ = ["SCHEMA", "Context", "execute", "sdl"]


class _Schema(strawberry.Schema):
    def process_errors(self, errors: Sequence[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Leave the logging to `errors.shown`: strawberry's own writes an error's words, which may quote a report."""


SCHEMA: Final = _Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=EXTENSIONS,
    execution_context_class=ShortWay,
    config=StrawberryConfig(scalar_map={datetime: DATE_TIME}, disable_field_suggestions=True, batching_config=None),
)


def sdl() -> str:
    """Return the served schema in the schema definition language."""
    return SCHEMA.as_str()


async def execute(
    document: str, *, variables: Mapping[str, Any] | None, operation: str | None, context: Context
) -> ExecutionResult:
    """Run a query or a mutation.

    Raises MissingQueryError, CannotGetOperationTypeError or InvalidOperationTypeError when there is none to run.
    """
    return await SCHEMA.execute(
        document,
        variable_values=dict(variables or {}),
        operation_name=operation,
        context_value=context,
        allowed_operation_types={OperationType.QUERY, OperationType.MUTATION},
    )
