"""What stands before every operation, over HTTP and over a socket alike: limits, the caller's budget, introspection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from graphql import DocumentNode, GraphQLSchema, GraphQLSyntaxError, parse

from amparo_common.auth.permissions import Permission
from amparo_gateway.errors import BudgetSpentError, ForbiddenError, LimitExceededError
from amparo_gateway.schema.context import Context
from amparo_gateway.schema.limits import MOST_CHARACTERS, MOST_TOKENS, cost_of, too_many_values

#: How graphql-core ends the message of a document with too many tokens, or nested too deeply to be parsed.
_ABORTED: Final = "Parsing aborted."
DOCUMENTS_KEPT: Final = 256
#: What a request costs beside its fields, and what one costs that is refused.
_EACH: Final = 20
_REFUSED: Final = 1_000
_parse = lru_cache(maxsize=DOCUMENTS_KEPT)(parse)


def parsed(text: str) -> DocumentNode:
    """Parse a document, or find it parsed. Raises LimitExceededError when it is too much, GraphQLSyntaxError."""
    if len(text) > MOST_CHARACTERS:
        raise LimitExceededError(f"The document has more than {MOST_CHARACTERS} characters.")
    try:
        return _parse(text, max_lexical_tokens=MOST_TOKENS, max_comments=MOST_TOKENS)
    except GraphQLSyntaxError as error:
        if error.message.endswith(_ABORTED):
            raise LimitExceededError("The document is too long or nested too deeply.") from error
        raise


def check(document: DocumentNode, *, schema: GraphQLSchema, variables: Mapping[str, Any], context: Context) -> None:
    """Refuse what asks for too much, by itself or after what this caller asked for before, and hidden introspection.

    Raises LimitExceededError, BudgetSpentError or ForbiddenError.
    """
    caller = context.principal.subject
    if too_many_values(variables):
        context.budget.charge(caller, _REFUSED)
        raise LimitExceededError("The variables hold too many values.")
    cost = cost_of(document, schema=schema, variables=variables)
    if excess := cost.excess():
        context.budget.charge(caller, _REFUSED)
        raise LimitExceededError(excess)
    if retry_after_s := context.budget.charge(caller, _EACH + cost.fields):
        raise BudgetSpentError(retry_after_s)
    if cost.introspects and not context.principal.may(Permission.INTROSPECT):
        raise ForbiddenError
