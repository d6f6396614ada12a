"""How a mutation ends: with the changed object, or with what a rule said as data."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import StrEnum, auto
from http import HTTPStatus
from typing import Any, Final, TypeVar

import strawberry

from amparo_common.errors import Problem, Refusal, Refused
from amparo_gateway.commands.client import NotVisible
from amparo_gateway.errors import PublicError

Value = TypeVar("Value")


@strawberry.enum(description="Why a command was not carried out.")
class DomainErrorCode(StrEnum):
    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:  # noqa: ARG004
        return name

    NOT_FOUND = auto()
    INVALID = auto()
    VERSION_CONFLICT = auto()
    ALREADY_CLAIMED = auto()
    NOT_CLAIMED = auto()
    LOWERING_NEEDS_SIGNATURE = auto()
    SAME_PERSON = auto()
    NO_ROUTE = auto()
    LAWFUL_BASIS_MISSING = auto()
    PARTNER_NOT_VERIFIED = auto()
    TRANSITION_NOT_ALLOWED = auto()
    ON_HOLD = auto()
    UNSAFE_CONTACT = auto()
    EXPOSURE_LIMIT = auto()


@strawberry.type(description="A rule that did not allow the command. Nothing of the command was stored.")
class DomainError:
    code: DomainErrorCode
    message: str = strawberry.field(description="For people, in English; it repeats nothing that was sent.")
    field: str | None = strawberry.field(description="The field of the input, `reporter.safeContact` for an inner one.")


#: The caller may send it again later; no field of the input is wrong.
_NOT_NOW: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


async def outcome(doing: Awaitable[Value], *, about: str) -> tuple[Value | None, list[DomainError]]:
    """Await a command; return its value, or None and why it was refused.

    `about` is the field of the input that names what the command is about: what is not there is told about it. Raises
    PublicError: UNAUTHENTICATED for a token that ran out, UNAVAILABLE for a service that asks to come later.
    """
    try:
        return await doing, []
    except Refused as refused:
        return None, [_of(refusal) for refusal in refused.refusals]
    except NotVisible:
        return None, [_of(unknown(about))]
    except Problem as problem:
        return None, _of_problem(problem)


def unknown(field: str) -> Refusal:
    """Make the refusal for an id behind which there is nothing that the caller may see."""
    return Refusal(DomainErrorCode.NOT_FOUND, "There is no such thing here.", field)


def _of(refusal: Refusal) -> DomainError:
    field = _input_name(refusal.field) if refusal.field else None
    return DomainError(code=DomainErrorCode(refusal.code), message=refusal.message, field=field)


def _of_problem(problem: Problem) -> list[DomainError]:
    if problem.status == HTTPStatus.UNAUTHORIZED:
        raise PublicError("The token has run out.", code="UNAUTHENTICATED") from problem
    if problem.status in _NOT_NOW:
        raise _come_later(problem) from problem
    if problem.errors:
        return [_of(Refusal("INVALID", _sentence(one.detail), one.pointer)) for one in problem.errors]
    field = "idempotencyKey" if problem.slug.startswith("idempotency-key") else None
    return [_of(Refusal("INVALID", problem.title, field))]


def _come_later(problem: Problem) -> PublicError:
    more: dict[str, Any] = {"retryAfter": problem.retry_after_s, **problem.extra}
    return PublicError("This is not possible at the moment; try again later.", code="UNAVAILABLE", more=more)


def _input_name(place: str) -> str | None:
    """Write a JSON pointer or a snake_case name as the input has it: `/victim/age` as `victim.age`."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in place.split("/") if part]
    return ".".join(_camel(part) for part in parts) or None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _sentence(detail: str) -> str:
    return f"It {detail.rstrip('.')}."
