"""The steps around an operation: limits first, then validation from a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from strawberry.extensions import SchemaExtension, ValidationCache

from amparo_gateway.schema.checks import DOCUMENTS_KEPT, check, parsed


class Parsing(SchemaExtension):
    """Parses with limits, or takes the document from the cache."""

    def on_parse(self) -> Iterator[None]:
        operation = self.execution_context
        if operation.query is not None:
            operation.graphql_document = parsed(operation.query, context=operation.context)
        yield


class Limits(SchemaExtension):
    """Refuses a document that asks for too much, or for the schema without the permission."""

    def on_validate(self) -> Iterator[None]:
        operation = self.execution_context
        if operation.graphql_document is not None:
            check(
                operation.graphql_document,
                schema=operation.schema._schema,  # noqa: SLF001 - strawberry offers the core schema under no other name
                variables=operation.variables or {},
                context=operation.context,
            )
        yield


#: In this order: parsing, limits, validation. As factories, so that every request has its own.
EXTENSIONS: Final[tuple[Callable[[], SchemaExtension], ...]] = (
    Parsing,
    Limits,
    lambda: ValidationCache(DOCUMENTS_KEPT),
)
