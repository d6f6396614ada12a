"""Keeping what must not be lost, and forgetting for good."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry

from amparo_common.vocabulary.codes import RecordClass
from amparo_gateway.domain import Kind
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import commanding
from amparo_gateway.schema.incident import Incident
from amparo_gateway.schema.mutations.command import incident_of, key_in, permitted
from amparo_gateway.schema.mutations.outcome import DomainError, outcome


@strawberry.input(description="Records that somebody outside is to keep; the records themselves never enter Amparo.")
class PlaceHoldInput:
    incident_id: strawberry.ID
    record_classes: list[RecordClass]
    requested_by: str
    reason: str
    until: datetime


@strawberry.type(description="The incident with its holds.")
class PlaceHoldPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.input(description="A hold, and why it ends.")
class ReleaseHoldInput:
    hold_id: strawberry.ID
    reason: str


@strawberry.type(description="The incident with its holds.")
class ReleaseHoldPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.input(description="An incident, and why its texts are destroyed.")
class EraseIncidentInput:
    incident_id: strawberry.ID
    reason: str


@strawberry.type(description="Whether the texts are unreadable now.")
class EraseIncidentPayload:
    erased: bool
    errors: list[DomainError]


@strawberry.type
class PreservingMutations:
    @commanding("Keep an incident's reports until a time: while a hold stands they cannot be erased.")
    async def place_hold(self, info: Info, input: PlaceHoldInput) -> PlaceHoldPayload:  # noqa: A002
        context = permitted(info, "placeHold", on=input.incident_id)
        incident, errors = await outcome(_held(context, input), about="incidentId")
        return PlaceHoldPayload(incident=incident, errors=errors)

    @commanding("End a hold now.")
    async def release_hold(self, info: Info, input: ReleaseHoldInput) -> ReleaseHoldPayload:  # noqa: A002
        context = permitted(info, "releaseHold")
        incident, errors = await outcome(_released(context, input), about="holdId")
        return ReleaseHoldPayload(incident=incident, errors=errors)

    @commanding("Destroy the keys of all reports of an incident: nobody can read their texts from then on.")
    async def erase_incident(self, info: Info, input: EraseIncidentInput) -> EraseIncidentPayload:  # noqa: A002
        context = permitted(info, "eraseIncident", on=input.incident_id)
        erased, errors = await outcome(_erased(context, input), about="incidentId")
        return EraseIncidentPayload(erased=erased is True, errors=errors)


async def _held(context: Context, wanted: PlaceHoldInput) -> Incident | None:
    key = key_in(Kind.INCIDENT, wanted.incident_id, field="incidentId")
    body = {
        "record_classes": wanted.record_classes,
        "requested_by": wanted.requested_by,
        "reason": wanted.reason,
        "until": wanted.until,
    }
    await _intake(context, f"/v1/incidents/{key}/holds", body)
    return await incident_of(context, key)


async def _released(context: Context, wanted: ReleaseHoldInput) -> Incident | None:
    key = key_in(Kind.HOLD, wanted.hold_id, field="holdId")
    answer = await _intake(context, f"/v1/holds/{key}/release", {"reason": wanted.reason})
    return await incident_of(context, UUID(answer["hold"]["incident_id"]))


async def _erased(context: Context, wanted: EraseIncidentInput) -> bool:
    """Erase at intake, where texts are read: from its answer on, no reveal finds a key."""
    key = key_in(Kind.INCIDENT, wanted.incident_id, field="incidentId")
    answer = await _intake(context, f"/v1/incidents/{key}/erasure", {"reason": wanted.reason})
    return bool(answer["erased"])


async def _intake(context: Context, path: str, body: object) -> Any:
    return await context.owners.call("intake", "POST", path, principal=context.principal, body=body)
