"""Messages to reporters."""

from __future__ import annotations

from datetime import datetime

import strawberry

from amparo_common.errors import Refusal, Refused
from amparo_common.events.types import IncidentTriaged
from amparo_gateway.domain import Kind
from amparo_gateway.schema.arguments import given
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import commanding
from amparo_gateway.schema.incident import Incident
from amparo_gateway.schema.mutations.command import incident_of, key_in, permitted
from amparo_gateway.schema.mutations.outcome import DomainError, outcome, unknown


@strawberry.input(description="With an `idempotencyKey` the same message is left once, however often it is sent.")
class MessageReporterInput:
    incident_id: strawberry.ID
    text: str
    idempotency_key: str | None = strawberry.UNSET


@strawberry.type(description="The incident whose reporters were written to.")
class MessageReporterPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.type
class WritingMutations:
    @commanding("Leave a message for the reporters of a claimed incident, to be read with their case codes.")
    async def message_reporter(self, info: Info, input: MessageReporterInput) -> MessageReporterPayload:  # noqa: A002
        context = permitted(info, "messageReporter", on=input.incident_id)
        incident, errors = await outcome(_written(context, input), about="incidentId")
        return MessageReporterPayload(incident=incident, errors=errors)


async def _written(context: Context, wanted: MessageReporterInput) -> Incident | None:
    key = key_in(Kind.INCIDENT, wanted.incident_id, field="incidentId")
    incident = await incident_of(context, key)
    if incident is None:
        raise Refused(unknown("incidentId"))
    if not _claims(context.principal.name, incident.state, now=context.now):
        raise Refused(Refusal("NOT_CLAIMED", "Claim the incident before you write to its reporters.", "incidentId"))
    body = {"text": wanted.text, "idempotency_key": given(wanted.idempotency_key)}
    await context.owners.call("intake", "POST", f"/v1/incidents/{key}/messages", principal=context.principal, body=body)
    return await incident_of(context, key)


def _claims(person: str, incident: IncidentTriaged, *, now: datetime) -> bool:
    """Say whether `person` holds the queue lock; one that ran out is free, whoever it still names."""
    until = incident.claimed_until
    return incident.claimed_by == person and (until is None or until > now)
