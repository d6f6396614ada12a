"""Reading of reports as they are posted: strangers' bytes in, facts and parts out, every wrong field named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from amparo_common.crypto.parts import Account, HashReference, Identity, Narrative, Network
from amparo_common.errors import FieldError, Problem
from amparo_common.vocabulary.codes import Category, Channel, Code, Factor, ReporterType, SafeContact
from amparo_common.web import field_errors, invalid_body
from amparo_intake.domain import values
from amparo_intake.domain.facts import ClearFacts, ticked

LONGEST_TEXT: Final = 20_000
MOST_ADDRESSES: Final = 100
MOST_ACCOUNTS: Final = 100
MOST_HASHES: Final = 500
OLDEST_AGE: Final = 120
MOST_CHILDREN: Final = 100_000
_MOST_ERRORS: Final = 100
_LONGEST_POINTER: Final = 200
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A valid report: what may be clear, and the two parts that are sealed before they are first written."""

    facts: ClearFacts
    narrative: Narrative
    identity: Identity | None


def read_report(body: bytes) -> Submission:
    """Read the body of `POST /v1/reports`. Raises Problem 422 that points at every wrong field, without its value."""
    posted = parsed(body, kind=_Report)
    return Submission(facts=_facts(posted), narrative=_narrative(posted), identity=_identity(posted))


def parsed(body: bytes, *, kind: type[Body]) -> Body:
    """Read JSON into `kind`. Raises Problem 422 that points at every wrong field, without its value."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # `from None`: pydantic's words may repeat what was sent.
        raise invalid_body(_bounded(field_errors([{**one, "loc": ("body", *one["loc"])} for one in found]))) from None


def _bounded(errors: Sequence[FieldError]) -> list[FieldError]:
    return [FieldError(error.pointer[:_LONGEST_POINTER], error.detail) for error in errors[:_MOST_ERRORS]]


def wrong_field(pointer: str, detail: str) -> Problem:
    """Make the 422 for one field that only a use case can judge."""
    return invalid_body([FieldError(pointer, detail)])


# ------------------------------------------------------------------ the shape


class Posted(BaseModel):
    """Base of posted bodies: no unknown field, no guessing of types, nothing of the input in errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _code(kind: type[Code]) -> BeforeValidator:
    by_wire: Mapping[str, Code] = {code.value.lower(): code for code in kind}
    expected = f"must be one of {', '.join(by_wire)}"

    def read(value: object) -> object:
        if isinstance(value, str) and value in by_wire:
            return by_wire[value]
        raise ValueError(expected)

    return BeforeValidator(read)


def _moment(value: datetime) -> datetime:
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("must be a time between the years 1900 and 2200")
    return value.astimezone(UTC)


_Address = Annotated[str, AfterValidator(values.without_nul), AfterValidator(values.web_address)]
_Moment = Annotated[AwareDatetime, AfterValidator(_moment)]
_Name = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(values.without_nul)]
#: Forms send an empty text for a question that was left out.
_Optional = Annotated[_Name | None, BeforeValidator(lambda value: None if value == "" else value)]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(values.without_nul)]


class _Victim(Posted):
    age: Annotated[int, Field(ge=0, le=OLDEST_AGE)] | None = None
    count: Annotated[int, Field(ge=1, le=MOST_CHILDREN)] | None = None


class _Account(Posted):
    platform: _Optional = None
    handle: _Name


class _Hash(Posted):
    algorithm: Annotated[str, AfterValidator(values.hash_algorithm)]
    value: str
    source: _Name

    @field_validator("value")
    @classmethod
    def _digits(cls, value: str, info: ValidationInfo) -> str:
        algorithm = info.data.get("algorithm")
        return value if algorithm is None else values.hash_value(value, algorithm=algorithm)


class _Reporter(Posted):
    type: Annotated[ReporterType, _code(ReporterType)] | None = None
    name: _Optional = None
    contact: _Optional = None
    safe_contact: Annotated[SafeContact, _code(SafeContact)] | None = None


class _Network(Posted):
    msisdn: Annotated[str, AfterValidator(values.phone_number)] | None = None
    ip: Annotated[str, AfterValidator(values.ip_address)] | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    observed_at: _Moment | None = None


class _Report(Posted):
    channel: Annotated[Channel, _code(Channel)]
    language: Annotated[str, AfterValidator(values.language)]
    country: Annotated[str, AfterValidator(values.country)]
    text: Text
    category: Category | None = None
    factors: Annotated[list[Factor], Field(max_length=2 * len(Factor))] | None = None
    victim: _Victim | None = None
    imminent_danger: bool | None = None
    urls: Annotated[list[_Address], Field(max_length=MOST_ADDRESSES)] | None = None
    platform: _Optional = None
    reported_accounts: Annotated[list[_Account], Field(max_length=MOST_ACCOUNTS)] | None = None
    hashes: Annotated[list[_Hash], Field(max_length=MOST_HASHES)] | None = None
    reporter: _Reporter | None = None
    network: _Network | None = None
    occurred_at: _Moment | None = None
    is_test: bool | None = None


# ------------------------------------------------------------------ what becomes of it


def _facts(posted: _Report) -> ClearFacts:
    victim, reporter = posted.victim or _Victim(), posted.reporter or _Reporter()
    return ClearFacts(
        channel=posted.channel,
        language=posted.language,
        country=posted.country,
        category=posted.category,
        factors=ticked(tuple(posted.factors or ())),
        victim_age=victim.age,
        victim_count=victim.count,
        imminent_danger=posted.imminent_danger,
        reporter_type=reporter.type,
        safe_contact=reporter.safe_contact,
        is_test=posted.is_test is True,
    )


def _narrative(posted: _Report) -> Narrative:
    return Narrative(
        text=posted.text,
        urls=tuple(posted.urls or ()),
        platform=posted.platform,
        accounts=tuple(Account(one.platform, one.handle) for one in posted.reported_accounts or ()),
        hashes=tuple(HashReference(one.algorithm, one.value, one.source) for one in posted.hashes or ()),
        occurred_at=posted.occurred_at,
    )


def _identity(posted: _Report) -> Identity | None:
    """Return who reports, None when nothing of it was given: an anonymous report is a full report."""
    reporter = posted.reporter or _Reporter()
    given = posted.network or _Network()
    network = Network(given.msisdn, given.ip, given.port, given.observed_at)
    identity = Identity(reporter.name, reporter.contact, network if network != Network() else None)
    return identity if identity != Identity() else None
