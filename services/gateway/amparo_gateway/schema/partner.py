"""The bodies that can act, with the routes that lead to them."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Self
from uuid import UUID

import msgspec
import strawberry

from amparo_common.auth.permissions import Permission
from amparo_common.events import types as events
from amparo_common.vocabulary.codes import Adapter, Category, Destination, Level, Release
from amparo_gateway import domain, repository
from amparo_gateway.domain import Kind, Scope, global_id
from amparo_gateway.repository import Standing
from amparo_gateway.schema.arguments import given
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import described
from amparo_gateway.schema.loaders import One
from amparo_gateway.schema.node import Node
from amparo_gateway.schema.paging import Page, PageInfo

_decode: Final = msgspec.json.Decoder(events.PartnerChanged).decode
_NEVER: Final = Standing(None, 0)


@strawberry.type(description="When referrals go to a partner.")
class Route:
    country: str
    destination: Destination
    priority: int = strawberry.field(description="The lowest that matches gets the referral.")
    release: Release
    categories: list[Category] = strawberry.field(description="Empty means every one.")
    levels: list[Level] = strawberry.field(description="Empty means every one.")
    enabled: bool

    @classmethod
    def of(cls, route: events.RouteStanding) -> Self:
        return cls(
            country=route.country,
            destination=route.destination,
            priority=route.priority,
            release=route.release,
            categories=list(route.categories),
            levels=list(route.levels),
            enabled=route.enabled,
        )


@strawberry.type(description="A body that can act.")
class Partner(Node):
    state: strawberry.Private[events.PartnerChanged]
    name: str
    destination: Destination
    countries: list[str] = strawberry.field(description="`*` is every country.")
    languages: list[str]
    adapter: Adapter
    accepts_emergency: bool
    last_verified_at: datetime | None

    @classmethod
    def of(cls, state: bytes) -> Self:
        return cls.of_event(_decode(state))

    @classmethod
    def of_event(cls, partner: events.PartnerChanged) -> Self:
        return cls(
            state=partner,
            id=strawberry.ID(global_id(Kind.PARTNER, partner.partner_id)),
            name=partner.name,
            destination=partner.destination,
            countries=list(partner.countries),
            languages=list(partner.languages),
            adapter=partner.adapter,
            accepts_emergency=partner.accepts_emergency,
            last_verified_at=partner.last_verified_at,
        )

    @described("Automatic routing warns after 90 days without verification and stops after 180.")
    def verification_stale(self, info: Info) -> bool:
        return domain.verification_is_stale(self.last_verified_at, now=info.context.now)

    @described("When a referral last reached it, among those that the caller may count.")
    async def last_delivered_at(self, info: Info) -> datetime | None:
        return (await self._standing(info)).last_delivered_at

    @described("How many released referrals have not reached it yet, among those that the caller may count.")
    async def waiting(self, info: Info) -> int:
        return (await self._standing(info)).waiting

    @strawberry.field
    def routes(self) -> list[Route]:
        return [Route.of(route) for route in self.state.routes]

    async def _standing(self, info: Info) -> Standing:
        question = One(_counted(info.context), self.state.partner_id)
        return await info.context.loaders.standing.load(question) or _NEVER


def _counted(context: Context) -> Scope:
    """Who works with cases counts those that they may see; who keeps the directory counts all, seeing none."""
    if context.principal.may(Permission.MANAGE_PARTNERS):
        return domain.EveryCountry()
    return context.reach(Permission.READ_REFERRALS)


@strawberry.type
class PartnerEdge:
    cursor: str
    node: Partner


@strawberry.type
class PartnerConnection:
    page_info: PageInfo
    edges: list[PartnerEdge]


async def partners_page(info: Info, *, first: int, after: str | None, country: str | None) -> PartnerConnection:
    """Return a page of the directory by name."""
    context = info.context
    scope = context.scope("Query.partners")
    page = Page(context, name="partners", first=first, after=after)
    asked = given(country)
    code = asked.strip().upper() if asked is not None else None
    found = await context.projection.read(
        lambda session: repository.partners(session, scope=scope, country=code, after=page.after, limit=page.limit)
    )
    edges = [PartnerEdge(cursor=page.cursor(place), node=Partner.of(state)) for place, state, _ in page.cut(found)]
    return PartnerConnection(page_info=page.info([edge.cursor for edge in edges], found=len(found)), edges=edges)


async def partner_or_none(context: Context, key: UUID, *, scope: Scope) -> Partner | None:
    """Return a partner as far as `scope` shows the directory."""
    state = await context.loaders.partner.load(One(scope, key))
    return Partner.of(state) if state is not None else None


async def partner_of(context: Context, referral: events.ReferralChanged) -> Partner:
    """Return the partner of a referral that the caller sees; before its entry is known, what the referral says."""
    found = await partner_or_none(context, referral.partner_id, scope=domain.EveryCountry())
    return found or Partner.of_event(_named(referral))


def _named(referral: events.ReferralChanged) -> events.PartnerChanged:
    return events.PartnerChanged(
        partner_id=referral.partner_id,
        version=0,
        changed_at=referral.changed_at,
        name=referral.partner_name,
        destination=referral.destination,
        countries=(referral.country,),
        languages=(),
        adapter=referral.adapter,
        organisation=referral.organisation,
        accepts_emergency=False,
        last_verified_at=None,
        routes=(),
    )
