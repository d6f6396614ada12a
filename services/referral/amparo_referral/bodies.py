"""The bodies that people's commands come in: strict, every wrong field named, nothing of it repeated."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from amparo_common.errors import FieldError
from amparo_common.vocabulary.codes import (
    AcknowledgementCode,
    Adapter,
    Category,
    Destination,
    LawfulBasis,
    Level,
    Release,
)
from amparo_common.web import field_errors, invalid_body

_MOST_ERRORS: Final = 50
_MOST_COUNTRIES: Final = 250
_LONGEST_ADDRESS: Final = 2_048


def _clean(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold a NUL")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be valid Unicode")
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time that a calendar has") from None


_Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_clean)]
_Note = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_clean)]
_Reason = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_clean)]
_Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
#: Judged by the directory's own rules, which name the field in a refusal.
_Judged = Annotated[str, Field(max_length=_LONGEST_ADDRESS), AfterValidator(_clean)]


class Body(BaseModel):
    """Base of the bodies: no unknown field, no guessing of types, nothing of the input in errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class ReferBody(Body):
    """`POST /v1/incidents/{id}/referrals`."""

    destination: Destination
    partner_id: UUID | None = None
    lawful_basis: LawfulBasis
    note: _Note | None = None


class SignBody(Body):
    """`POST /v1/referrals/{id}/approval`."""

    expected_version: int | None = None
    approve: bool
    reason: _Reason


class ClassificationBody(Body):
    """How a partner classified the material."""

    scheme: _Word
    version: _Word
    value: _Word


class RespondBody(Body):
    """`POST /v1/referrals/{id}/response`."""

    code: AcknowledgementCode
    partner_reference: _Word | None = None
    note: _Note | None = None
    until: _Moment | None = None
    forwarded_to: Destination | None = None
    classification: ClassificationBody | None = None


class CompleteBody(Body):
    """`POST /v1/tasks/{id}/completion`."""

    partner_reference: _Word | None = None
    note: _Note


class PartnerBody(Body):
    """`PUT /v1/partners`."""

    id: UUID | None = None
    name: _Judged
    destination: Destination
    countries: Annotated[list[_Judged], Field(max_length=_MOST_COUNTRIES)]
    languages: Annotated[list[_Judged], Field(max_length=_MOST_COUNTRIES)]
    adapter: Adapter
    address: _Judged | None = None
    secret: _Judged | None = None
    organisation: _Judged | None = None
    accepts_emergency: bool | None = None
    last_verified_at: _Moment | None = None


class RouteBody(Body):
    """`PUT /v1/routes`."""

    country: _Judged
    destination: Destination
    partner_id: UUID
    priority: int
    release: Release
    enabled: bool | None = None
    categories: Annotated[list[Category], Field(max_length=len(Category))] | None = None
    levels: Annotated[list[Level], Field(max_length=len(Level))] | None = None


_Kind = TypeVar("_Kind", bound=Body)


def read(body: bytes, kind: type[_Kind]) -> _Kind:
    """Read JSON into `kind`. Raises Problem 422 that points at every wrong field, without its value."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        found: list[dict[str, Any]] = [
            {**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False, include_input=False)
        ]
        # `from None`: pydantic's words may repeat what was sent.
        raise invalid_body(_bounded(field_errors(found))) from None


def _bounded(errors: tuple[FieldError, ...]) -> list[FieldError]:
    return [FieldError(error.pointer[:200], error.detail) for error in errors[:_MOST_ERRORS]]
