"""HTTP for colleagues, through the gateway with their own token: reveal, message, hold, erase."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, AwareDatetime, Field

from amparo_common.auth.http import bearer, forbidden
from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.clock import rfc3339
from amparo_common.crypto.parts import Identity, Narrative
from amparo_common.vocabulary.codes import Purpose
from amparo_common.web import json_response
from amparo_intake.casework import Casework, Opened, OpenedReport, entry_for, incident_unknown
from amparo_intake.domain.values import without_nul
from amparo_intake.preservation import HoldRequest, Preservation, ShownHold
from amparo_intake.reading import Posted, Text, parsed

_MOST_CLASSES: Final = 6
_Words = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(without_nul)]
_RecordClass = Literal["SUBSCRIBER", "CALL_RECORDS", "CGNAT", "WALLET", "LOGIN", "MESSAGES_METADATA"]


class _RevealCall(Posted):
    purpose: Purpose


class _MessageCall(Posted):
    text: Text
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(without_nul)] | None = None


class _HoldCall(Posted):
    record_classes: Annotated[list[_RecordClass], Field(min_length=1, max_length=_MOST_CLASSES)]
    requested_by: _Words
    reason: _Words
    until: AwareDatetime


class _ReasonCall(Posted):
    reason: _Words


class CaseworkPages:
    """What colleagues may ask of intake. A role without the permission is answered 403, and that is on record."""

    def __init__(self, casework: Casework, preservation: Preservation) -> None:
        self._casework, self._preservation = casework, preservation

    async def reveal(self, request: Request) -> Response:
        incident_id = _id(request, "incident_id")
        caller = await self._caller(request, Permission.READ_SENSITIVE, action="incident.reveal", of=incident_id)
        call = parsed(await request.body(), kind=_RevealCall)
        opened = await self._casework.reveal(incident_id, purpose=call.purpose, caller=caller)
        return json_response(_sensitive(opened))

    async def post_message(self, request: Request) -> Response:
        incident_id = _id(request, "incident_id")
        caller = await self._caller(request, Permission.WORK_QUEUE, action="reporter.message", of=incident_id)
        call = parsed(await request.body(), kind=_MessageCall)
        message_id = await self._casework.write_to_reporters(
            incident_id, call.text, idempotency_key=call.idempotency_key, caller=caller
        )
        return json_response({"message_id": message_id}, status=202)

    async def get_holds(self, request: Request) -> Response:
        incident_id = _id(request, "incident_id")
        caller = await self._caller(request, Permission.WORK_QUEUE, action="holds.read", of=incident_id)
        holds = await self._preservation.holds(incident_id, caller=caller)
        return json_response({"holds": [_hold(one) for one in holds]})

    async def place_hold(self, request: Request) -> Response:
        incident_id = _id(request, "incident_id")
        caller = await self._caller(request, Permission.SIGN, action="hold.place", of=incident_id)
        call = parsed(await request.body(), kind=_HoldCall)
        hold = await self._preservation.place_hold(
            incident_id,
            record_classes=call.record_classes,
            request=HoldRequest(requested_by=call.requested_by, reason=call.reason),
            until=call.until.astimezone(UTC),
            caller=caller,
        )
        return json_response({"hold": _hold(hold)}, status=201)

    async def release_hold(self, request: Request) -> Response:
        hold_id = _id(request, "hold_id")
        caller = await self._caller(request, Permission.SIGN, action="hold.release", of=hold_id)
        call = parsed(await request.body(), kind=_ReasonCall)
        hold = await self._preservation.release_hold(hold_id, reason=call.reason, caller=caller)
        return json_response({"hold": _hold(hold)})

    async def erase(self, request: Request) -> Response:
        incident_id = _id(request, "incident_id")
        caller = await self._caller(request, Permission.SIGN, action="incident.erase", of=incident_id)
        call = parsed(await request.body(), kind=_ReasonCall)
        ids = await self._preservation.erase(incident_id, reason=call.reason, caller=caller)
        return json_response({"erased": True, "report_ids": ids})

    async def _caller(self, request: Request, permission: Permission, *, action: str, of: UUID) -> Principal:
        caller = await bearer(request)
        if not caller.may(permission):
            await self._casework.on_record(entry_for(caller, action, incident_id=of, allowed=False))
            raise forbidden(permission)
        return caller


def _id(request: Request, name: str) -> UUID:
    try:
        return UUID(request.path_params[name])
    except ValueError:
        raise incident_unknown() from None


def _sensitive(opened: Opened) -> dict[str, Any]:
    return {
        "reports": [_report(one) for one in opened.reports],
        "messages": [
            {
                "message_id": one.message_id,
                "at": rfc3339(one.at),
                "from_reporter": one.from_reporter,
                "text": one.text,
            }
            for one in opened.messages
        ],
    }


def _report(opened: OpenedReport) -> dict[str, Any]:
    report = opened.report
    narrative, identity = opened.narrative or Narrative(""), opened.identity or Identity()
    return {
        "report_id": report.report_id,
        "received_at": rfc3339(report.received_at),
        "channel": report.channel.lower(),
        "language": report.language,
        "country": report.country,
        "erased": opened.narrative is None,
        "text": narrative.text,
        "urls": narrative.urls,
        "platform": narrative.platform,
        "reported_accounts": [{"platform": one.platform, "handle": one.handle} for one in narrative.accounts],
        "hashes": [{"algorithm": h.algorithm, "value": h.value, "source": h.source} for h in narrative.hashes],
        "occurred_at": _moment(narrative.occurred_at),
        "victim": {"age": report.victim_age, "count": report.victim_count},
        "imminent_danger": report.imminent_danger,
        "reporter": {
            "type": report.reporter_type.lower() if report.reporter_type else None,
            "name": identity.name,
            "contact": identity.contact,
            "safe_contact": report.safe_contact.lower() if report.safe_contact else None,
        },
    }


def _hold(hold: ShownHold) -> dict[str, Any]:
    return {
        "hold_id": hold.hold_id,
        "incident_id": hold.incident_id,
        "record_classes": hold.record_classes,
        "requested_by": hold.requested_by,
        "placed_by": hold.placed_by,
        "placed_at": rfc3339(hold.placed_at),
        "until": rfc3339(hold.until),
        "released_at": _moment(hold.released_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None
