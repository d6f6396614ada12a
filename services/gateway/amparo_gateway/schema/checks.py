"""What stands before every operation, over HTTP and over a socket alike: limits, the caller's budget, introspection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from graphql import DocumentNode, GraphQLSchema, GraphQLSyntaxError, parse

from amparo_common.auth.permissions import Permission
from amparo_gateway.errors import BudgetSpentError, ForbiddenError, LimitExceededError
from amparo_gateway.schema.context import Context
from amparo_gateway.schema.limits import MOST_TOKENS, Cost, cost_of, text_excess, values_excess, written_excess

#: How graphql-core ends the message of a document with too many tokens, or nested too deeply to be parsed.
_ABORTED: Final = "Parsing aborted."
DOCUMENTS_KEPT: Final = 256
#: What a request costs before anybody looks at it, and what one costs that asks for too much.
_EACH: Final = 100
_REFUSED: Final = 10_000
_parse = lru_cache(maxsize=DOCUMENTS_KEPT)(parse)


def parsed(text: str, *, context: Context) -> DocumentNode:
    """Parse a document, or find it parsed.

    Raises BudgetSpentError when the caller may not even ask, LimitExceededError when the document is too much to be
    parsed, GraphQLSyntaxError when it is none.
    """
    _charge(context, _EACH)
    if excess := text_excess(text):
        raise _refused(excess, context)
    try:
        return _parse(text, max_lexical_tokens=MOST_TOKENS, max_comments=MOST_TOKENS)
    except GraphQLSyntaxError as error:
        if error.message.endswith(_ABORTED):
            raise _refused("The document is too long or nested too deeply.", context) from error
        raise


def check(document: DocumentNode, *, schema: GraphQLSchema, variables: Mapping[str, Any], context: Context) -> None:
    """Refuse what asks for too much, by itself or after what this caller asked for before, and hidden introspection.

    Raises LimitExceededError, BudgetSpentError or ForbiddenError.
    """
    if excess := values_excess(variables) or _written(document):
        raise _refused(excess, context)
    # Without variables the cost is the document's own, measured once.
    cost = cost_of(document, schema=schema, variables=variables) if variables else _own_cost(document, schema)
    if excess := cost.excess():
        raise _refused(excess, context)
    _charge(context, cost.fields)
    if cost.introspects and not context.principal.may(Permission.INTROSPECT):
        raise ForbiddenError


@lru_cache(maxsize=DOCUMENTS_KEPT)
def _own_cost(document: DocumentNode, schema: GraphQLSchema) -> Cost:
    return cost_of(document, schema=schema, variables={})


@lru_cache(maxsize=DOCUMENTS_KEPT)
def _written(document: DocumentNode) -> str | None:
    return written_excess(document)


def _charge(context: Context, cost: int) -> None:
    if retry_after_s := context.budget.charge(context.principal.subject, cost):
        raise BudgetSpentError(retry_after_s)


def _refused(excess: str, context: Context) -> LimitExceededError:
    context.budget.fine(context.principal.subject, _REFUSED)
    return LimitExceededError(excess)
