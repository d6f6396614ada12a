"""HTTP for people, through the gateway with their own token: claim, decide, sign, link, close, re-open, read notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from amparo_common.auth.http import bearer, forbidden
from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.clock import rfc3339
from amparo_common.errors import FieldError
from amparo_common.events.types import IncidentTriaged
from amparo_common.vocabulary.codes import Category, Factor, Lane, Level, LinkKind, Purpose
from amparo_common.web import field_errors, invalid_body, json_response
from amparo_triage.casework import Casework, incident_unknown
from amparo_triage.domain.judgement import Judgement
from amparo_triage.notes import Notes, Opened

Body = TypeVar("Body", bound=BaseModel)
_Codes = TypeVar("_Codes")
_MOST_CODES: Final = 64
_MOST_ERRORS: Final = 100
_LONGEST_POINTER: Final = 200


class _Posted(BaseModel):
    """No unknown field, no guessing of types, nothing of the input in errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class _ClaimCall(_Posted):
    release: bool = False


class _NextCall(_Posted):
    lane: Lane | None = None


class _DecisionCall(_Posted):
    expected_version: int
    level: Level
    category: Category
    secondary_categories: list[Category] | None = Field(default=None, max_length=_MOST_CODES)
    confirm_factors: list[Factor] | None = Field(default=None, max_length=_MOST_CODES)
    reject_factors: list[Factor] | None = Field(default=None, max_length=_MOST_CODES)
    reason: str


class _SignatureCall(_Posted):
    expected_version: int
    approve: bool
    reason: str


class _LinkCall(_Posted):
    other_incident_id: UUID
    kind: LinkKind
    reason: str


class _UnlinkCall(_Posted):
    other_incident_id: UUID
    reason: str


class _ClosingCall(_Posted):
    expected_version: int
    reason: str


class _ReopeningCall(_Posted):
    reason: str


class CaseworkPages:
    """What people may ask of triage. A role without the permission is answered 403, and that is on record."""

    def __init__(self, casework: Casework, notes: Notes) -> None:
        self._casework, self._notes = casework, notes

    @property
    def routes(self) -> Sequence[tuple[str, str, Callable[[Request], Any]]]:
        """Return (method, path, endpoint) of every page."""
        one = "/v1/incidents/{incident_id}"
        return (
            ("POST", "/v1/incidents/claim-next", self.claim_next),
            ("POST", f"{one}/claim", self.claim),
            ("GET", f"{one}/claim", self.claimant),
            ("POST", f"{one}/decision", self.decide),
            ("POST", f"{one}/countersignature", self.countersign),
            ("POST", f"{one}/links", self.link),
            ("POST", f"{one}/links/removal", self.unlink),
            ("POST", f"{one}/closing", self.close),
            ("POST", f"{one}/reopening", self.reopen),
            ("GET", f"{one}/notes", self.read_notes),
        )

    async def claim(self, request: Request) -> Response:
        incident_id, caller = await self._asked(request, Permission.WORK_QUEUE, action="incident.claim")
        call = await _parsed(request, kind=_ClaimCall)
        return _incident(await self._casework.claim(incident_id, release=call.release, caller=caller))

    async def claimant(self, request: Request) -> Response:
        incident_id, caller = await self._asked(request, Permission.WORK_QUEUE, action="incident.claimant")
        return json_response({"claimed_by": await self._casework.claimed_by(incident_id, caller=caller)})

    async def claim_next(self, request: Request) -> Response:
        caller = await self._caller(request, Permission.WORK_QUEUE, action="incident.claim_next", of=None)
        call = await _parsed(request, kind=_NextCall)
        return _incident(await self._casework.claim_next(lane=call.lane, caller=caller))

    async def decide(self, request: Request) -> Response:
        incident_id, caller = await self._asked(request, Permission.WORK_QUEUE, action="incident.decide")
        call = await _parsed(request, kind=_DecisionCall)
        secondary = call.secondary_categories
        judgement = Judgement(
            level=call.level,
            category=call.category,
            secondary=None if secondary is None else _once(secondary),
            confirm=_once(call.confirm_factors or ()),
            reject=_once(call.reject_factors or ()),
            known_version=call.expected_version,
        )
        return _incident(await self._casework.decide(incident_id, judgement, reason=call.reason, caller=caller))

    async def countersign(self, request: Request) -> Response:
        incident_id, caller = await self._asked(request, Permission.SIGN, action="incident.countersign")
        call = await _parsed(request, kind=_SignatureCall)
        state = await self._casework.countersign(
            incident_id,
            approve=call.approve,
            expected_version=call.expected_version,
            reason=call.reason,
            caller=caller,
        )
        return _incident(state)

    async def link(self, request: Request) -> Response:
        incident_id, caller = await self._asked(request, Permission.WORK_QUEUE, action="incident.link")
        call = await _parsed(request, kind=_LinkCall)
        states = await self._casework.link(
            incident_id, call.other_incident_id, kind=call.kind, reason=call.reason, caller=caller
        )
        return json_response({"incident": states[0], "other": states[1]})

    async def unlink(self, request: Request) -> Response:
        incident_id, caller = await self._asked(request, Permission.WORK_QUEUE, action="incident.unlink")
        call = await _parsed(request, kind=_UnlinkCall)
        states = await self._casework.unlink(incident_id, call.other_incident_id, reason=call.reason, caller=caller)
        return json_response({"incident": states[0], "other": states[1]})

    async def close(self, request: Request) -> Response:
        incident_id, caller = await self._asked(request, Permission.WORK_QUEUE, action="incident.close")
        call = await _parsed(request, kind=_ClosingCall)
        state = await self._casework.close(
            incident_id, expected_version=call.expected_version, reason=call.reason, caller=caller
        )
        return _incident(state)

    async def reopen(self, request: Request) -> Response:
        incident_id, caller = await self._asked(request, Permission.WORK_QUEUE, action="incident.reopen")
        call = await _parsed(request, kind=_ReopeningCall)
        return _incident(await self._casework.reopen(incident_id, reason=call.reason, caller=caller))

    async def read_notes(self, request: Request) -> Response:
        incident_id, caller = _id(request), await bearer(request)
        if not caller.may(Permission.READ_SENSITIVE):
            await self._notes.on_record(incident_id, purpose=None, caller=caller, allowed=False)
            raise forbidden(Permission.READ_SENSITIVE)
        purpose = _purpose(request)
        return json_response(_shown(await self._notes.read(incident_id, purpose=purpose, caller=caller)))

    async def _asked(self, request: Request, permission: Permission, *, action: str) -> tuple[UUID, Principal]:
        incident_id = _id(request)
        return incident_id, await self._caller(request, permission, action=action, of=incident_id)

    async def _caller(self, request: Request, permission: Permission, *, action: str, of: UUID | None) -> Principal:
        caller = await bearer(request)
        if not caller.may(permission):
            await self._casework.deny(action, of, caller=caller)
            raise forbidden(permission)
        return caller


async def _parsed(request: Request, *, kind: type[Body]) -> Body:
    """Read a JSON body into `kind`. Raises Problem 422 that points at every wrong field, without its value."""
    body = await request.body()
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:_MOST_ERRORS]
        wrong = field_errors([{**one, "loc": ("body", *one["loc"])} for one in found])
        # `from None`: pydantic's words may repeat what was sent.
        raise invalid_body([FieldError(one.pointer[:_LONGEST_POINTER], one.detail) for one in wrong]) from None


def _id(request: Request) -> UUID:
    try:
        return UUID(request.path_params["incident_id"])
    except ValueError:
        raise incident_unknown() from None


def _purpose(request: Request) -> Purpose:
    try:
        return Purpose(request.query_params.get("purpose", ""))
    except ValueError:
        raise invalid_body([FieldError("/purpose", f"must be one of {', '.join(Purpose)}")]) from None


def _once(codes: Sequence[_Codes]) -> tuple[_Codes, ...]:
    return tuple(dict.fromkeys(codes))


def _incident(state: IncidentTriaged | None) -> Response:
    return json_response({"incident": state})


def _shown(opened: Opened) -> dict[str, Any]:
    return {
        "notes": [{"at": rfc3339(one.at), "by": one.by, "kind": one.kind, "text": one.text} for one in opened.notes],
        "links": opened.links,
        "evidence": [
            {
                "report_id": one.report_id,
                "factor": one.factor,
                "category": one.category,
                "start": one.start,
                "end": one.stop,
            }
            for one in opened.evidence
        ],
    }
