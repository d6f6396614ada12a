"""The directory of partners and the routes to them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from amparo_common.auth.permissions import Permission
from amparo_common.events.types import PartnerChanged
from amparo_common.vocabulary.codes import Adapter, Category, Destination, Level, Release
from amparo_gateway.domain import Kind
from amparo_gateway.schema.arguments import given
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import commanding
from amparo_gateway.schema.mutations.command import ask, key_in, permitted, state_of
from amparo_gateway.schema.mutations.outcome import DomainError, outcome
from amparo_gateway.schema.partner import Partner, partner_or_none


@strawberry.input(description="A directory entry. What may be left out stays as it stands.")
class UpsertPartnerInput:
    id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="Left out for a new partner.")
    name: str
    destination: Destination
    countries: list[str]
    languages: list[str]
    adapter: Adapter
    address: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Webhook and XML adapters: the https address; e-mail: the mailbox; phone: the number.",
    )
    secret: str | None = strawberry.field(
        default=strawberry.UNSET, description="Standard Webhooks signing secret (whsec_...). Write only."
    )
    organisation: str | None = strawberry.UNSET
    accepts_emergency: bool | None = strawberry.UNSET
    last_verified_at: datetime | None = strawberry.UNSET


@strawberry.type(description="The directory entry.")
class UpsertPartnerPayload:
    partner: Partner | None
    errors: list[DomainError]


@strawberry.input(description="A route is (country, destination, partner): set again, it is replaced.")
class SetRouteInput:
    country: str
    destination: Destination
    partner_id: strawberry.ID
    priority: int
    release: Release
    enabled: bool | None = strawberry.UNSET
    categories: list[Category] | None = strawberry.field(
        default=strawberry.UNSET, description="Empty means every category."
    )
    levels: list[Level] | None = strawberry.field(default=strawberry.UNSET, description="Empty means every level.")


@strawberry.type(description="The partner with all its routes.")
class SetRoutePayload:
    partner: Partner | None
    errors: list[DomainError]


@strawberry.type
class PartnerMutations:
    @commanding("Enter a partner into the directory, or change its entry.")
    async def upsert_partner(self, info: Info, input: UpsertPartnerInput) -> UpsertPartnerPayload:  # noqa: A002
        context = permitted(info, "upsertPartner")
        partner, errors = await outcome(_entered(context, input), about="id")
        return UpsertPartnerPayload(partner=partner, errors=errors)

    @commanding("Set a route to a partner.")
    async def set_route(self, info: Info, input: SetRouteInput) -> SetRoutePayload:  # noqa: A002
        context = permitted(info, "setRoute")
        partner, errors = await outcome(_routed(context, input), about="partnerId")
        return SetRoutePayload(partner=partner, errors=errors)


async def _entered(context: Context, entry: UpsertPartnerInput) -> Partner | None:
    known = given(entry.id)
    body = {
        "id": key_in(Kind.PARTNER, known, field="id") if known is not None else None,
        "name": entry.name,
        "destination": entry.destination,
        "countries": entry.countries,
        "languages": entry.languages,
        "adapter": entry.adapter,
        "address": given(entry.address),
        "secret": given(entry.secret),
        "organisation": given(entry.organisation),
        "accepts_emergency": given(entry.accepts_emergency),
        "last_verified_at": given(entry.last_verified_at),
    }
    return await _changed(context, "/v1/partners", body)


async def _routed(context: Context, route: SetRouteInput) -> Partner | None:
    body = {
        "country": route.country,
        "destination": route.destination,
        "partner_id": key_in(Kind.PARTNER, route.partner_id, field="partnerId"),
        "priority": route.priority,
        "release": route.release,
        "enabled": given(route.enabled),
        "categories": given(route.categories),
        "levels": given(route.levels),
    }
    return await _changed(context, "/v1/routes", body)


async def _changed(context: Context, path: str, body: object) -> Partner | None:
    states = await ask(context, "referral", path, body, method="PUT")
    key = state_of(states, "partner", PartnerChanged).partner_id
    scope = context.reach(Permission.READ_PARTNERS)
    context.forget_what_was_read()
    return await partner_or_none(context, key, scope=scope)
