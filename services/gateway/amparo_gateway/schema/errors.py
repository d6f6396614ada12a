"""What a caller is told when something cannot be answered: a code for what was foreseen, a trace id for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog
from graphql import GraphQLError

from amparo_common.errors import TransientError
from amparo_gateway.errors import ForbiddenError, InvalidError, LimitExceededError, PublicError

__all__ = ["Denial", "ForbiddenError", "InvalidError", "LimitExceededError", "PublicError", "denials", "shown"]

#: The subject of a field that was asked of no single thing.
_EVERYTHING: Final = "graph"
_log = structlog.get_logger()


def shown(errors: Sequence[GraphQLError], *, trace_id: str) -> list[GraphQLError]:
    """Return `errors` as the caller may read them: what was not foreseen keeps its path only and is logged by type."""
    return [error if _is_public(error) else _masked(error, trace_id=trace_id) for error in errors]


class Denial(NamedTuple):
    """What a role was denied, for the audit chain."""

    action: str
    subject: str
    purpose: str | None


def denials(errors: Sequence[GraphQLError]) -> list[Denial]:
    """Return what the caller's role was denied, each once."""
    found = ((error, error.original_error or error) for error in errors)
    denied = (_denial(error, cause) for error, cause in found if isinstance(cause, ForbiddenError))
    return list(dict.fromkeys(denied))


def _denial(error: GraphQLError, cause: ForbiddenError) -> Denial:
    if cause.action is not None:
        return Denial(cause.action, cause.subject or _EVERYTHING, cause.purpose)
    place = ".".join(part for part in error.path or () if isinstance(part, str))
    return Denial("denied", place, cause.purpose)


def _is_public(error: GraphQLError) -> bool:
    """Before execution graphql-core speaks of what the caller sent; later its words may quote a stored value."""
    cause = error.original_error
    if isinstance(error, PublicError) or isinstance(cause, PublicError):
        return True
    return error.path is None and (cause is None or isinstance(cause, GraphQLError))


def _masked(error: GraphQLError, *, trace_id: str) -> GraphQLError:
    _log.error("a field could not be answered", error=error.original_error or error, trace_id=trace_id)
    if isinstance(error.original_error, TransientError):
        words, code = "This is not possible at the moment; try again.", "UNAVAILABLE"
    else:
        words, code = "Something went wrong on our side.", "INTERNAL"
    return GraphQLError(words, nodes=error.nodes, path=error.path, extensions={"code": code, "traceId": trace_id})
