"""Links between incidents."""

from __future__ import annotations

import strawberry

from amparo_common.vocabulary.codes import LinkKind
from amparo_gateway.domain import Kind
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import commanding
from amparo_gateway.schema.incident import Incident
from amparo_gateway.schema.mutations.command import changed_incident, key_in, permitted
from amparo_gateway.schema.mutations.outcome import DomainError, outcome


@strawberry.input(description="Two incidents, how they belong together, and how that is known.")
class LinkIncidentsInput:
    incident_id: strawberry.ID
    other_incident_id: strawberry.ID
    kind: LinkKind
    reason: str


@strawberry.type(description="The incident of `incidentId`, with its links.")
class LinkIncidentsPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.input(description="Two linked incidents, and why they do not belong together.")
class UnlinkIncidentsInput:
    incident_id: strawberry.ID
    other_incident_id: strawberry.ID
    reason: str


@strawberry.type(description="The incident of `incidentId`, with the links that are left.")
class UnlinkIncidentsPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.type
class LinkingMutations:
    @commanding("Say that two incidents belong together. Both show it.")
    async def link_incidents(self, info: Info, input: LinkIncidentsInput) -> LinkIncidentsPayload:  # noqa: A002
        context = permitted(info, "linkIncidents", on=input.incident_id)
        doing = _tied(
            context, input.incident_id, input.other_incident_id, "links", kind=input.kind, reason=input.reason
        )
        incident, errors = await outcome(doing, about="otherIncidentId")
        return LinkIncidentsPayload(incident=incident, errors=errors)

    @commanding("Take a link between two incidents away.")
    async def unlink_incidents(self, info: Info, input: UnlinkIncidentsInput) -> UnlinkIncidentsPayload:  # noqa: A002
        context = permitted(info, "unlinkIncidents", on=input.incident_id)
        doing = _tied(context, input.incident_id, input.other_incident_id, "links/removal", reason=input.reason)
        incident, errors = await outcome(doing, about="otherIncidentId")
        return UnlinkIncidentsPayload(incident=incident, errors=errors)


async def _tied(context: Context, one: str, other: str, command: str, **body: object) -> Incident | None:
    key = key_in(Kind.INCIDENT, one, field="incidentId")
    other_key = key_in(Kind.INCIDENT, other, field="otherIncidentId")
    return await changed_incident(context, f"/v1/incidents/{key}/{command}", {"other_incident_id": other_key, **body})
