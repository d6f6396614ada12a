"""Errors as users see them: RFC 9457 problems with a stable slug, and JSON pointers to what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field. `pointer` is an RFC 6901 JSON pointer; `detail` never repeats the value."""

    pointer: str
    detail: str


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """An answer that is no success. `slug` is stable over releases and becomes `type` as `urn:amparo:problem:SLUG`.

    `extra` members are added to the body (intake adds `guidance` to 429 and 503); `retry_after_s` becomes the header.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        title: str,
        *,
        detail: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {slug}: {title}")
        self.status, self.slug, self.title, self.detail = status, slug, title, detail
        self.errors, self.retry_after_s, self.extra = tuple(errors), retry_after_s, dict(extra or {})

    def body(self) -> dict[str, Any]:
        """Return the members of the problem document."""
        body: dict[str, Any] = {"type": f"urn:amparo:problem:{self.slug}", "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = [{"pointer": error.pointer, "detail": error.detail} for error in self.errors]
        return body | self.extra


class TransientError(Exception):
    """Something outside failed and may work in a moment (log, database, another service); the caller tries again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A domain rule said no. `code` is a DomainErrorCode of the graph; `field` the input field it is about."""

    code: str
    message: str
    field: str | None = None


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    """A command that a domain rule refused; nothing of it was stored."""

    def __init__(self, *refusals: Refusal) -> None:
        super().__init__(", ".join(refusal.code for refusal in refusals))
        self.refusals = refusals
