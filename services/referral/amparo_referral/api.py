"""HTTP of referral: partners' acknowledgements; what people ask stands in api_people.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from fastapi import FastAPI, Request, Response

from amparo_common import webhooks
from amparo_common.auth.http import bearer, forbidden
from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import Principal
from amparo_common.auth.verifier import Verifier
from amparo_common.crypto.sealing import SealBrokenError
from amparo_common.errors import FieldError, Problem
from amparo_common.http.addresses import AddressJudge
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import AcknowledgementCode, Destination, Role
from amparo_common.web import CLOUD_EVENT, JSON, invalid_body, json_response, service_app
from amparo_referral import api_people
from amparo_referral.answers import Answer, Answerer, Classification, acknowledge
from amparo_referral.repository import directory as entries, referrals
from amparo_referral.service import Desk

PATH: Final = "/v1/acknowledgements"
_MOST_BYTES: Final = 64 * 1024
_LONGEST_NOTE: Final = 20_000
_LONGEST_WORD: Final = 200


def _judge_nothing_allowed(url: str) -> str | None:
    return AddressJudge().judge(url)


def create_app(
    desk: Desk,
    *,
    verifier: Verifier,
    telemetry: Telemetry,
    readiness: Callable[[], Sequence[str]],
    judge: Callable[[str], str | None] = _judge_nothing_allowed,
) -> FastAPI:
    """Make the application of referral. `judge` says why a partner's web address is refused."""
    app = service_app(
        name="referral",
        readiness=readiness,
        telemetry=telemetry,
        max_body_bytes=_MOST_BYTES,
        media_types={PATH: (JSON, CLOUD_EVENT)},
    )
    app.state.verifier = verifier
    taken = telemetry.counter("amparo.acknowledgements")

    async def post(request: Request) -> Response:
        body = await request.body()
        by = await _answerer(desk, request, body)
        answer = read_answer(body)
        result = await acknowledge(desk, answer, by=by)
        taken.add(1, {"code": str(answer.code)})
        return json_response(result)

    app.add_route(PATH, post, methods=["POST"])
    api_people.mount(app, desk=desk, judge=judge, taken=taken)
    return app


# ------------------------------------------------------------------ who answers


async def _answerer(desk: Desk, request: Request, body: bytes) -> Answerer:
    if "authorization" in request.headers:
        return _of_token(await bearer(request))
    if "webhook-signature" not in request.headers:
        raise Problem(
            401,
            "unauthenticated",
            "A bearer token or a webhook signature is needed.",
            detail="Post to acknowledge_url.",
        )
    partner_id = _partner_id(request) or await _partner_of_body(desk, body)
    partner, wrapped = await desk.database.read(
        lambda session: (
            (entries.partner(session, partner_id), entries.wrapped_secret(session, partner_id))
            if partner_id
            else (None, None)
        )
    )
    if partner is None or wrapped is None:
        raise _unsigned("no_match")
    try:
        secret = desk.provider.unwrap(wrapped, context=partner.id.bytes)
        webhooks.verify([secret], headers=request.headers, body=body, now=desk.clock.now())
    except webhooks.SignatureError as error:
        raise _unsigned(error.reason) from error
    except SealBrokenError as error:
        raise Problem(500, "internal", "Something went wrong on our side.") from error
    return Answerer(name=partner.name, role=Role.PARTNER, partner_id=partner.id)


def _of_token(principal: Principal) -> Answerer:
    reach = principal.may(Permission.RESPOND_TO_REFERRAL)
    if reach is Reach.ORGANISATION and principal.organisation:
        return Answerer(name=principal.name, role=principal.role, organisation=principal.organisation)
    if reach in {Reach.COUNTRIES, Reach.ALL}:
        countries = frozenset("*") if reach is Reach.ALL else principal.countries
        return Answerer(name=principal.name, role=principal.role, countries=countries)
    raise forbidden(Permission.RESPOND_TO_REFERRAL)


def _partner_id(request: Request) -> UUID | None:
    try:
        return UUID(request.query_params.get("partner", ""))
    except ValueError:
        return None


async def _partner_of_body(desk: Desk, body: bytes) -> UUID | None:
    """Find whose signature to ask for when `acknowledge_url` was not used as given; the signature still decides."""
    try:
        named = msgspec.json.decode(body, type=_Named).referral_reference
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None
    return await desk.database.read(lambda session: referrals.partner_of(session, named))


class _Named(msgspec.Struct):
    referral_reference: str


def _unsigned(reason: str) -> Problem:
    return Problem(401, "signature-refused", "The webhook signature is not accepted.", detail=reason)


# ------------------------------------------------------------------ what is answered


def read_answer(body: bytes) -> Answer:
    """Read an acknowledgement strictly. Raises Problem 400 for no JSON, 422 with a pointer for each wrong field."""
    try:
        given = msgspec.json.decode(body)
        # A lone surrogate is no text: it decodes, and could never be stored.
        msgspec.json.encode(given).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Problem(400, "invalid-json", "The body is no valid JSON.") from error
    if not isinstance(given, dict):
        raise invalid_body([FieldError("", "must be an object")])
    errors = [
        FieldError(f"/{_escaped(name)}", "is not a field of this request") for name in given if name not in _READERS
    ]
    errors += filter(None, [_error(name, given.get(name), read) for name, read in _READERS.items()])
    if errors:
        raise invalid_body(errors)
    return Answer(**{name: read(given.get(name)) for name, read in _READERS.items()})


def _error(name: str, value: Any, read: Callable[[Any], Any]) -> FieldError | None:
    try:
        read(value)
    except _FieldRefused as refused:
        return FieldError(f"/{name}{refused.below}", refused.why)
    return None


class _FieldRefused(Exception):  # noqa: N818 - collected into a problem
    def __init__(self, why: str, *, below: str = "") -> None:
        super().__init__(why)
        self.why, self.below = why, below


def _required(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if value is None:
            raise _FieldRefused("is required")
        return read(value)

    return checked


def _text(longest: int) -> Callable[[Any], str | None]:
    def read(value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise _FieldRefused("must be text")
        if not value or len(value) > longest:
            raise _FieldRefused(f"must have 1 to {longest} characters")
        if "\x00" in value:
            raise _FieldRefused("must not hold a NUL")
        return value

    return read


def _code(kind: type[AcknowledgementCode | Destination]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, str) or value not in kind.__members__:
            raise _FieldRefused(f"must be one of {', '.join(kind.__members__)}")
        return kind(value)

    return read


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        raise _FieldRefused("must be a time as RFC 3339 has it") from None
    if not isinstance(value, str) or moment.tzinfo is None:
        raise _FieldRefused("must be a time with its zone, as RFC 3339 has it")
    return moment


def _classification(value: Any) -> Classification | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _FieldRefused("must be an object")
    names = Classification.__struct_fields__
    for name in value:
        if name not in names:
            raise _FieldRefused("is not a field of this request", below=f"/{_escaped(name)}")
    parts: dict[str, str] = {}
    for name in names:
        try:
            parts[name] = _required(_text(_LONGEST_WORD))(value.get(name))
        except _FieldRefused as refused:
            raise _FieldRefused(refused.why, below=f"/{name}") from None
    return Classification(**parts)


def _escaped(name: str) -> str:
    return name[:_LONGEST_WORD].replace("~", "~0").replace("/", "~1")


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "referral_reference": _required(_text(_LONGEST_WORD)),
    "code": _required(_code(AcknowledgementCode)),
    "at": _required(_moment),
    "partner_reference": _text(_LONGEST_WORD),
    "note": _text(_LONGEST_NOTE),
    "until": _moment,
    "forwarded_to": _code(Destination),
    "classification": _classification,
}
