"""Referrals: made by people, approved by a second one, answered by partners."""

from __future__ import annotations

from datetime import datetime

import strawberry

from amparo_common.vocabulary.codes import AcknowledgementCode, Destination, LawfulBasis
from amparo_gateway.domain import Kind
from amparo_gateway.schema.arguments import given
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import commanding
from amparo_gateway.schema.mutations.command import changed_referral, key_in, permitted
from amparo_gateway.schema.mutations.outcome import DomainError, outcome
from amparo_gateway.schema.referral import Referral


@strawberry.input(description="Where an incident is to go. Without `partnerId` the routes decide.")
class CreateReferralInput:
    incident_id: strawberry.ID
    destination: Destination
    partner_id: strawberry.ID | None = strawberry.UNSET
    lawful_basis: LawfulBasis
    note: str | None = strawberry.UNSET


@strawberry.type(description="The new referral.")
class CreateReferralPayload:
    referral: Referral | None
    errors: list[DomainError]


@strawberry.input(description="A second person's yes or no. `expectedVersion` is the version of the referral seen.")
class ApproveReferralInput:
    referral_id: strawberry.ID
    expected_version: int | None = strawberry.UNSET
    approve: bool
    reason: str


@strawberry.type(description="The referral, released or revoked.")
class ApproveReferralPayload:
    referral: Referral | None
    errors: list[DomainError]


@strawberry.input(description="A classification as the partner made it, with the scheme and its version.")
class ClassificationInput:
    scheme: str
    version: str
    value: str


@strawberry.input(description="What the partner says about a referral.")
class RespondToReferralInput:
    referral_id: strawberry.ID
    code: AcknowledgementCode
    partner_reference: str | None = strawberry.UNSET
    note: str | None = strawberry.UNSET
    until: datetime | None = strawberry.UNSET
    forwarded_to: Destination | None = strawberry.UNSET
    classification: ClassificationInput | None = strawberry.UNSET


@strawberry.type(description="The referral with the answer.")
class RespondToReferralPayload:
    referral: Referral | None
    errors: list[DomainError]


@strawberry.type
class ReferringMutations:
    @commanding("Refer an incident to a body that can act.")
    async def create_referral(self, info: Info, input: CreateReferralInput) -> CreateReferralPayload:  # noqa: A002
        context = permitted(info, "createReferral", on=input.incident_id)
        referral, errors = await outcome(_created(context, input), about="incidentId")
        return CreateReferralPayload(referral=referral, errors=errors)

    @commanding("Let a referral go that waits for a second person, or refuse it.")
    async def approve_referral(self, info: Info, input: ApproveReferralInput) -> ApproveReferralPayload:  # noqa: A002
        context = permitted(info, "approveReferral", on=input.referral_id)
        body = {
            "expected_version": given(input.expected_version),
            "approve": input.approve,
            "reason": input.reason,
        }
        referral, errors = await outcome(_moved(context, input.referral_id, "approval", body), about="referralId")
        return ApproveReferralPayload(referral=referral, errors=errors)

    @commanding("Answer a referral as the partner that it went to.")
    async def respond_to_referral(
        self,
        info: Info,
        input: RespondToReferralInput,  # noqa: A002
    ) -> RespondToReferralPayload:
        context = permitted(info, "respondToReferral", on=input.referral_id)
        doing = _moved(context, input.referral_id, "response", _response(input))
        referral, errors = await outcome(doing, about="referralId")
        return RespondToReferralPayload(referral=referral, errors=errors)


async def _created(context: Context, wanted: CreateReferralInput) -> Referral | None:
    key = key_in(Kind.INCIDENT, wanted.incident_id, field="incidentId")
    partner = given(wanted.partner_id)
    body = {
        "destination": wanted.destination,
        "partner_id": key_in(Kind.PARTNER, partner, field="partnerId") if partner is not None else None,
        "lawful_basis": wanted.lawful_basis,
        "note": given(wanted.note),
    }
    return await changed_referral(context, f"/v1/incidents/{key}/referrals", body)


async def _moved(context: Context, referral_id: str, command: str, body: object) -> Referral | None:
    key = key_in(Kind.REFERRAL, referral_id, field="referralId")
    return await changed_referral(context, f"/v1/referrals/{key}/{command}", body)


def _response(answer: RespondToReferralInput) -> dict[str, object]:
    made = given(answer.classification)
    return {
        "code": answer.code,
        "partner_reference": given(answer.partner_reference),
        "note": given(answer.note),
        "until": given(answer.until),
        "forwarded_to": given(answer.forwarded_to),
        "classification": {"scheme": made.scheme, "version": made.version, "value": made.value} if made else None,
    }
