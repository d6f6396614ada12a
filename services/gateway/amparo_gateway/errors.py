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
    """The caller's role may not use this field."""

    def __init__(self) -> None:
        super().__init__("Your role may not use this field.", code="FORBIDDEN")


class LimitExceededError(PublicError):
    """The document asks for more than one request may."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="LIMIT_EXCEEDED")


class InvalidError(PublicError):
    """An argument has a value that makes no sense."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="INVALID")
