"""The steps around an operation: limits first, then validation from a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from graphql import GraphQLSyntaxError
from strawberry.extensions import MaxTokensLimiter, ParserCache, SchemaExtension, ValidationCache

from amparo_common.auth.permissions import Permission
from amparo_gateway.schema.context import Context
from amparo_gateway.schema.errors import ForbiddenError, LimitExceededError
from amparo_gateway.schema.limits import MOST_TOKENS, cost_of

#: How graphql-core ends the message of a document with too many tokens, or nested too deeply to be parsed.
_ABORTED: Final = "Parsing aborted."
_DOCUMENTS_KEPT: Final = 256


class CodedParserCache(ParserCache):
    """The parser with its cache; what is too much to be parsed gets the code of the other limits."""

    def on_parse(self) -> Iterator[None]:
        try:
            yield from super().on_parse()
        except GraphQLSyntaxError as error:
            if error.message.endswith(_ABORTED):
                raise LimitExceededError("The document is too long or nested too deeply.") from error
            raise


class Limits(SchemaExtension):
    """Refuses a document that asks for too much, or for the schema without the permission."""

    def on_validate(self) -> Iterator[None]:
        operation = self.execution_context
        context: Context = operation.context
        if operation.graphql_document is not None:
            cost = cost_of(
                operation.graphql_document,
                schema=operation.schema._schema,  # noqa: SLF001 - strawberry offers the core schema under no other name
                variables=operation.variables or {},
            )
            if excess := cost.excess():
                raise LimitExceededError(excess)
            if cost.introspects and not context.principal.may(Permission.INTROSPECT):
                raise ForbiddenError
        yield


#: In this order: tokens, parsing, limits, validation. As factories, so that every request has its own.
EXTENSIONS: Final[tuple[Callable[[], SchemaExtension], ...]] = (
    lambda: MaxTokensLimiter(MOST_TOKENS),
    lambda: CodedParserCache(_DOCUMENTS_KEPT),
    Limits,
    lambda: ValidationCache(_DOCUMENTS_KEPT),
)
