"""Claiming, deciding, signing, closing."""

from __future__ import annotations

import strawberry

from amparo_common.events.types import IncidentTriaged
from amparo_common.vocabulary.codes import Category, Factor, Lane, Level
from amparo_gateway.domain import Kind
from amparo_gateway.schema.arguments import given
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import commanding
from amparo_gateway.schema.incident import Incident
from amparo_gateway.schema.mutations.command import ask, changed_incident, incident_of, key_in, permitted, state_of
from amparo_gateway.schema.mutations.outcome import DomainError, outcome


@strawberry.input(description="An incident to claim, to keep claimed, or to release.")
class ClaimIncidentInput:
    incident_id: strawberry.ID
    release: bool | None = strawberry.UNSET


@strawberry.type(description="The claimed or released incident.")
class ClaimIncidentPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.input(description="Of which lane; left out, of either.")
class ClaimNextIncidentInput:
    lane: Lane | None = strawberry.UNSET


@strawberry.type(description="The most urgent free incident of the queue; null when there is none.")
class ClaimNextIncidentPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.input(description="A person's judgement of an incident that the person has claimed.")
class DecideTriageInput:
    incident_id: strawberry.ID
    expected_version: int
    level: Level
    category: Category
    secondary_categories: list[Category] | None = strawberry.field(
        default=strawberry.UNSET, description="Left out: those that stand are kept."
    )
    confirm_factors: list[Factor] | None = strawberry.UNSET
    reject_factors: list[Factor] | None = strawberry.UNSET
    reason: str


@strawberry.type(description="The decided incident; a lowering from P1 shows in `decision.proposedLowering`.")
class DecideTriagePayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.input(description="A second person's yes or no to a lowering from P1.")
class CountersignTriageInput:
    incident_id: strawberry.ID
    expected_version: int
    approve: bool
    reason: str


@strawberry.type(description="The incident, signed or not.")
class CountersignTriagePayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.input(description="An incident that the caller has claimed, and why it is closed.")
class CloseIncidentInput:
    incident_id: strawberry.ID
    expected_version: int
    reason: str


@strawberry.type(description="The closed incident.")
class CloseIncidentPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.input(description="A closed incident, and why it is opened again.")
class ReopenIncidentInput:
    incident_id: strawberry.ID
    reason: str


@strawberry.type(description="The incident, open again.")
class ReopenIncidentPayload:
    incident: Incident | None
    errors: list[DomainError]


@strawberry.type
class CaseworkMutations:
    @commanding("Take the queue lock of an incident for half an hour, renew it, or give it back.")
    async def claim_incident(self, info: Info, input: ClaimIncidentInput) -> ClaimIncidentPayload:  # noqa: A002
        context = permitted(info, "claimIncident", on=input.incident_id)
        doing = _of_incident(context, input.incident_id, "claim", release=given(input.release) or False)
        incident, errors = await outcome(doing, about="incidentId")
        return ClaimIncidentPayload(incident=incident, errors=errors)

    @commanding("Claim the most urgent free incident of the queue.")
    async def claim_next_incident(
        self,
        info: Info,
        input: ClaimNextIncidentInput,  # noqa: A002
    ) -> ClaimNextIncidentPayload:
        context = permitted(info, "claimNextIncident")
        incident, errors = await outcome(_next(context, given(input.lane)), about="lane")
        return ClaimNextIncidentPayload(incident=incident, errors=errors)

    @commanding("Decide level and category of a claimed incident. Lowering a P1 waits for a second person.")
    async def decide_triage(self, info: Info, input: DecideTriageInput) -> DecideTriagePayload:  # noqa: A002
        context = permitted(info, "decideTriage", on=input.incident_id)
        doing = _of_incident(
            context,
            input.incident_id,
            "decision",
            expected_version=input.expected_version,
            level=input.level,
            category=input.category,
            secondary_categories=given(input.secondary_categories),
            confirm_factors=given(input.confirm_factors),
            reject_factors=given(input.reject_factors),
            reason=input.reason,
        )
        incident, errors = await outcome(doing, about="incidentId")
        return DecideTriagePayload(incident=incident, errors=errors)

    @commanding("Sign, or refuse to sign, the lowering of a P1 that another person proposed.")
    async def countersign_triage(
        self,
        info: Info,
        input: CountersignTriageInput,  # noqa: A002
    ) -> CountersignTriagePayload:
        context = permitted(info, "countersignTriage", on=input.incident_id)
        doing = _of_incident(
            context,
            input.incident_id,
            "countersignature",
            expected_version=input.expected_version,
            approve=input.approve,
            reason=input.reason,
        )
        incident, errors = await outcome(doing, about="incidentId")
        return CountersignTriagePayload(incident=incident, errors=errors)

    @commanding("Close a claimed incident.")
    async def close_incident(self, info: Info, input: CloseIncidentInput) -> CloseIncidentPayload:  # noqa: A002
        context = permitted(info, "closeIncident", on=input.incident_id)
        doing = _of_incident(
            context, input.incident_id, "closing", expected_version=input.expected_version, reason=input.reason
        )
        incident, errors = await outcome(doing, about="incidentId")
        return CloseIncidentPayload(incident=incident, errors=errors)

    @commanding("Open a closed incident again.")
    async def reopen_incident(self, info: Info, input: ReopenIncidentInput) -> ReopenIncidentPayload:  # noqa: A002
        context = permitted(info, "reopenIncident", on=input.incident_id)
        doing = _of_incident(context, input.incident_id, "reopening", reason=input.reason)
        incident, errors = await outcome(doing, about="incidentId")
        return ReopenIncidentPayload(incident=incident, errors=errors)


async def _of_incident(context: Context, incident_id: str, command: str, **body: object) -> Incident | None:
    key = key_in(Kind.INCIDENT, incident_id, field="incidentId")
    return await changed_incident(context, f"/v1/incidents/{key}/{command}", body)


async def _next(context: Context, lane: Lane | None) -> Incident | None:
    states = await ask(context, "triage", "/v1/incidents/claim-next", {"lane": lane})
    if "incident" not in states:
        return None
    return await incident_of(context, state_of(states, "incident", IncidentTriaged).incident_id)
