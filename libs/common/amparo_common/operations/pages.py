"""The addresses for operators, the same on every service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse

from amparo_common.audit import Checkpointer
from amparo_common.auth.permissions import Permission
from amparo_common.clock import Clock
from amparo_common.db.port import Database
from amparo_common.errors import FieldError, Problem
from amparo_common.log.port import EventLog
from amparo_common.operations.callers import Callers
from amparo_common.operations.chain import AuditChain
from amparo_common.operations.letters import MOST, DeadLetterDesk, Settlement, unknown
from amparo_common.web import invalid_body, json_response

JSON_LINES: Final = "application/jsonl"
_A_PAGE: Final = 50
_LONGEST_REASON: Final = 500
_ACTIONS: Final[Mapping[Settlement, str]] = {"replay": "dead_letter.replay", "discard": "dead_letter.discard"}


class _ReasonCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: str


def mount(
    app: FastAPI, *, service: str, database: Database, checkpointer: Checkpointer, log: EventLog, clock: Clock
) -> None:
    """Add the operators' addresses to the application of `service`, whose own `database` holds chain and letters.

    `GET /v1/audit/verification`, `/v1/audit/export` and `/v1/audit/keys` (auditor, supervisor); `GET /v1/dead-letters`,
    `GET /v1/dead-letters/{id}`, `POST /v1/dead-letters/{id}/replay` and `/discard` with `{"reason"}` (admin).
    """
    callers = Callers(service=service, database=database, clock=clock)
    chain = AuditChain(service=service, database=database, checkpointer=checkpointer, log=log)
    audit = _AuditPages(chain, callers=callers, service=service)
    letters = _LetterPages(DeadLetterDesk(service=service, database=database, clock=clock), callers=callers)
    for method, path, endpoint in (
        ("GET", "/v1/audit/verification", audit.verification),
        ("GET", "/v1/audit/export", audit.export),
        ("GET", "/v1/audit/keys", audit.keys),
        ("GET", "/v1/dead-letters", letters.listed),
        ("GET", "/v1/dead-letters/{id}", letters.shown),
        ("POST", "/v1/dead-letters/{id}/replay", letters.replayed),
        ("POST", "/v1/dead-letters/{id}/discard", letters.discarded),
    ):
        app.add_route(path, endpoint, methods=[method], include_in_schema=False)


class _AuditPages:
    """The chain, verified and exported."""

    def __init__(self, chain: AuditChain, *, callers: Callers, service: str) -> None:
        self._chain, self._callers, self._service = chain, callers, service

    async def verification(self, request: Request) -> Response:
        await self._callers.permitted(request, Permission.VERIFY_AUDIT, action="audit.verify")
        return json_response(await self._chain.verification())

    async def keys(self, request: Request) -> Response:
        await self._callers.permitted(request, Permission.VERIFY_AUDIT, action="audit.keys")
        return json_response({"service": self._service, "keys": self._chain.public_keys()})

    async def export(self, request: Request) -> Response:
        caller = await self._callers.permitted(request, Permission.READ_AUDIT, action="audit.export")
        await self._callers.record(caller, action="audit.export")
        headers = {"content-disposition": f'attachment; filename="{self._service}-audit.jsonl"'}
        return StreamingResponse(self._chain.export(), media_type=JSON_LINES, headers=headers)


class _LetterPages:
    """Dead letters, listed and settled."""

    def __init__(self, desk: DeadLetterDesk, *, callers: Callers) -> None:
        self._desk, self._callers = desk, callers

    async def listed(self, request: Request) -> Response:
        await self._callers.permitted(request, Permission.READ_DEAD_LETTERS, action="dead_letter.list")
        return json_response(await self._desk.page(limit=_limit(request), after=request.query_params.get("after")))

    async def shown(self, request: Request) -> Response:
        await self._callers.permitted(request, Permission.READ_DEAD_LETTERS, action="dead_letter.show")
        return json_response(await self._desk.letter(_id(request)))

    async def replayed(self, request: Request) -> Response:
        return await self._settled(request, "replay")

    async def discarded(self, request: Request) -> Response:
        return await self._settled(request, "discard")

    async def _settled(self, request: Request, how: Settlement) -> Response:
        caller = await self._callers.permitted(request, Permission.REPLAY_DEAD_LETTERS, action=_ACTIONS[how])
        letter_id, reason = _id(request), _reason(await request.body())
        return json_response(await self._desk.settle(letter_id, how, reason=reason, caller=caller))


def _id(request: Request) -> UUID:
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        raise unknown() from None


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(_A_PAGE))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) else 0
    if not 1 <= limit <= MOST:
        wrong = FieldError(pointer="/limit", detail=f"must be a whole number from 1 to {MOST}")
        raise Problem(422, "invalid-query", "The page asked for makes no sense.", errors=[wrong])
    return limit


def _reason(body: bytes) -> str:
    try:
        reason = msgspec.json.decode(body, type=_ReasonCall).reason.strip()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reason = ""
    if not reason or len(reason) > _LONGEST_REASON or not reason.isprintable():
        detail = f"is required: one line of 1 to {_LONGEST_REASON} characters, and nothing beside it"
        raise invalid_body([FieldError(pointer="/reason", detail=detail)])
    return reason
