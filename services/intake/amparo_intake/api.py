"""HTTP in and out of intake, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn
from uuid import UUID

import msgspec
from fastapi import FastAPI, Request, Response
from pydantic import AfterValidator, Field
from starlette.routing import Match, Route
from starlette.types import Scope

from amparo_common.auth.http import bearer, forbidden, optional_bearer
from amparo_common.auth.permissions import Permission
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import rfc3339
from amparo_common.crypto.data_keys import MOST_IDS, KeyAnswer
from amparo_common.crypto.sealing import DataKey
from amparo_common.errors import Problem, TransientError
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    Code,
    Destination,
    Factor,
    Level,
    Purpose,
    ReporterType,
    SafeContact,
)
from amparo_common.vocabulary.labels import LANGUAGES, terms
from amparo_common.vocabulary.languages import shown_in
from amparo_common.web import json_response, service_app
from amparo_intake.api_casework import CaseworkPages
from amparo_intake.domain.values import without_nul
from amparo_intake.forms import form
from amparo_intake.guidance import Guidance, guide
from amparo_intake.keyed import Receipt
from amparo_intake.reading import Posted, Submission, Text, parsed, read_report
from amparo_intake.service import Case, Intake
from amparo_intake.settings import SERVICE

#: A text of 20 000 characters, each escaped as a surrogate pair, with its addresses and accounts.
MAX_BODY_BYTES: Final = 512 * 1024
STATUS_URL: Final = "/v1/cases/status"
_MOST_KEY_CALLS: Final = 32
_LONGEST_KEY: Final = 255
_NOT_NOW_S: Final = 2

_Code = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(without_nul)]


class _StatusCall(Posted):
    case_code: _Code


class _MessageCall(Posted):
    case_code: _Code
    text: Text


class _KeysCall(Posted):
    ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_IDS)]
    purpose: Purpose


def create_app(
    intake: Intake,
    *,
    colleagues: CaseworkPages,
    verifier: Verifier,
    telemetry: Telemetry,
    readiness: Callable[[], Sequence[str]],
) -> FastAPI:
    """Make intake's HTTP application: the public's part, the services' and the colleagues'."""
    app = service_app(name=SERVICE, readiness=readiness, telemetry=telemetry, max_body_bytes=MAX_BODY_BYTES)
    app.state.verifier = verifier
    pages = _Pages(intake)
    keys = _Keys(intake)
    # Plain routes: the hot path pays for no dependency injection.
    for method, path, endpoint in (
        ("POST", "/v1/reports", pages.post_report),
        ("POST", STATUS_URL, pages.post_status),
        ("POST", "/v1/cases/messages", pages.post_message),
        ("GET", "/v1/forms/{channel}", pages.get_form),
        ("GET", "/v1/vocabulary", pages.get_vocabulary),
        ("GET", "/v1/guidance", pages.get_guidance),
        ("POST", "/v1/keys", keys.post),
        ("POST", "/v1/incidents/{incident_id}/sensitive", colleagues.reveal),
        ("POST", "/v1/incidents/{incident_id}/messages", colleagues.post_message),
        ("GET", "/v1/incidents/{incident_id}/holds", colleagues.get_holds),
        ("POST", "/v1/incidents/{incident_id}/holds", colleagues.place_hold),
        ("POST", "/v1/holds/{hold_id}/release", colleagues.release_hold),
        ("POST", "/v1/incidents/{incident_id}/erasure", colleagues.erase),
    ):
        app.router.routes.append(_PlainRoute(path, endpoint, methods=[method]))
    return app


class _PlainRoute(Route):
    """A route without dependency injection that metrics know by its template, as FastAPI's own do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


@dataclass(frozen=True, slots=True)
class _Pages:
    """What the public may ask."""

    intake: Intake

    async def post_report(self, request: Request) -> Response:
        body = await request.body()
        submission = read_report(body)
        guidance = _guidance_for(submission)
        try:
            receipt = await self.intake.submit_report(
                submission,
                body=body,
                caller=await optional_bearer(request),
                address=_address(request),
                key=_idempotency_key(request),
            )
        except (Problem, TransientError) as error:
            _fail_helpfully(error, guidance)
        return json_response(_receipt(receipt, guidance), status=202)

    async def post_status(self, request: Request) -> Response:
        call = parsed(await request.body(), kind=_StatusCall)
        try:
            case = await self.intake.case(call.case_code, address=_address(request))
        except (Problem, TransientError) as error:
            _fail_helpfully(error, _guidance_of(request))
        return json_response(_case(case))

    async def post_message(self, request: Request) -> Response:
        call = parsed(await request.body(), kind=_MessageCall)
        try:
            message = await self.intake.post_message(call.case_code, call.text, address=_address(request))
        except (Problem, TransientError) as error:
            _fail_helpfully(error, _guidance_of(request))
        return json_response({"at": rfc3339(message.at), "status_url": STATUS_URL}, status=202)

    async def get_form(self, request: Request) -> Response:
        asked = form(request.path_params["channel"], language=_language(request))
        if asked is None:
            raise Problem(404, "channel-unknown", "There is no form for this channel.")
        return json_response(asked, headers={"content-language": asked["x-language"]})

    async def get_vocabulary(self, request: Request) -> Response:
        language = shown_in(_language(request), available=LANGUAGES)
        kinds: Mapping[str, type[Code]] = {
            "categories": Category,
            "factors": Factor,
            "levels": Level,
            "destinations": Destination,
            "reporter_types": ReporterType,
            "safe_contacts": SafeContact,
            "channels": Channel,
        }
        lists = {name: [_term(*term) for term in terms(kind, language=language)] for name, kind in kinds.items()}
        return json_response({"language": language, **lists}, headers={"content-language": language})

    async def get_guidance(self, request: Request) -> Response:
        guidance = _guidance_of(request)
        return json_response(guidance, headers={"content-language": guidance.language})


class _Keys:
    """Data keys for Amparo's other services, under a limit of their own."""

    def __init__(self, intake: Intake) -> None:
        self._intake, self._running = intake, 0

    async def post(self, request: Request) -> Response:
        caller = await bearer(request)
        if not caller.may(Permission.FETCH_DATA_KEYS):
            await self._intake.record_key_call(0, purpose=None, caller=caller, allowed=False)
            raise forbidden(Permission.FETCH_DATA_KEYS)
        call = parsed(await request.body(), kind=_KeysCall)
        if self._running >= _MOST_KEY_CALLS:
            raise Problem(503, "crowded", "Too many calls for data keys at once.", retry_after_s=1)
        self._running += 1
        try:
            answers = await self._intake.data_keys(call.ids, purpose=call.purpose, caller=caller)
        finally:
            self._running -= 1
        return json_response({"keys": {str(report_id): _key(answer) for report_id, answer in answers.items()}})


def _fail_helpfully(error: Problem | TransientError, guidance: Guidance) -> NoReturn:
    """Answer what cannot be done now with what the reporter can do meanwhile (safeguard SG-18)."""
    if isinstance(error, TransientError):
        raise Problem(
            503,
            "unavailable",
            "The report could not be stored at the moment. Please send it again.",
            retry_after_s=_NOT_NOW_S,
            extra={"guidance": guidance},
        ) from error
    if error.retry_after_s is not None:
        error.extra["guidance"] = guidance
    raise error


def _guidance_for(submission: Submission) -> Guidance:
    facts = submission.facts
    child = facts.reporter_type is ReporterType.CHILD
    return guide().of(country=facts.country, language=facts.language, child=child)


def _guidance_of(request: Request) -> Guidance:
    child = request.query_params.get("reporter") == "child"
    return guide().of(country=request.query_params.get("country"), language=_language(request), child=child)


def _language(request: Request) -> str | None:
    asked = request.query_params.get("language")
    return asked or request.headers.get("accept-language", "").partition(",")[0].partition(";")[0]


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key", "")
    if len(key) > _LONGEST_KEY or not key.isprintable():
        detail = f"It has at most {_LONGEST_KEY} printable characters."
        raise Problem(400, "idempotency-key-unreadable", "The Idempotency-Key cannot be used.", detail=detail)
    return key or None


def _receipt(receipt: Receipt, guidance: Guidance) -> dict[str, Any]:
    return {
        "report_id": receipt.report_id,
        "case_code": receipt.case_code,
        "lane": receipt.lane.lower(),
        "received_at": rfc3339(receipt.received_at),
        "status_url": STATUS_URL,
        "guidance": guidance,
    }


def _case(case: Case) -> dict[str, Any]:
    return {
        "status": case.status.value,
        "messages": [msgspec.structs.asdict(one) | {"at": rfc3339(one.at)} for one in case.messages],
        "updated_at": rfc3339(case.updated_at),
    }


def _term(code: Code, label: str) -> dict[str, str]:
    return {"code": code.value, "label": label}


def _key(answer: KeyAnswer) -> dict[str, Any]:
    if isinstance(answer, DataKey):
        return {"state": "key", "key": answer.raw()}
    return {"state": answer.value.lower()}
