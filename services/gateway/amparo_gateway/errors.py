"""Errors whose words and code are meant for the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphql import GraphQLError


class PublicError(GraphQLError):
    """An error whose words and code are meant for the caller; `more` are further members of its `extensions`."""

    def __init__(self, message: str, *, code: str, more: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, extensions={"code": code, **(more or {})})


class ForbiddenError(PublicError):
    """The caller's role may not use this field.

    What goes on record: `action` is the field as `Type.name`, or what it would have done; `subject` the reference of
    what it was asked of. Both are None where only the place in the document is known.
    """

    def __init__(self, *, action: str | None = None, subject: str | None = None, purpose: str | None = None) -> None:
        super().__init__("Your role may not use this field.", code="FORBIDDEN")
        self.action, self.subject, self.purpose = action, subject, purpose


class LimitExceededError(PublicError):
    """The document asks for more than one request may."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="LIMIT_EXCEEDED")


class BudgetSpentError(PublicError):
    """The caller asked for more than its budget holds now; `retryAfter` is in seconds."""

    def __init__(self, retry_after_s: int) -> None:
        words = f"You have asked for much in a short time; try again in {retry_after_s} s."
        super().__init__(words, code="LIMIT_EXCEEDED", more={"retryAfter": retry_after_s})


class DocumentError(PublicError):
    """The document may not be run: no trusted one has its id, its text is another, or only trusted ones are run."""


class NoSuchError(PublicError):
    """There is no such thing for this caller, whether or not there is one for others."""

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no {what} of this id.", code="NOT_FOUND")


class InvalidError(PublicError):
    """An argument has a value that makes no sense."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="INVALID")
