"""Referrals of the graph, with what the partner answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Self
from uuid import UUID

import msgspec
import strawberry
from sqlalchemy.orm import Session
from strawberry.scalars import JSON

from amparo_common.auth.permissions import Permission
from amparo_common.events import types as events
from amparo_common.events.types import IncidentTriaged
from amparo_common.vocabulary.codes import (
    AcknowledgementCode,
    Category,
    Destination,
    LawfulBasis,
    Level,
    ReferralStatus,
    Release,
)
from amparo_gateway import repository
from amparo_gateway.domain import EveryCountry, Kind, global_id
from amparo_gateway.repository import Found, ReferralWish
from amparo_gateway.schema.arguments import given, given_once, given_reference
from amparo_gateway.schema.asked import Package
from amparo_gateway.schema.context import Info
from amparo_gateway.schema.fields import described, held_as
from amparo_gateway.schema.incident import Incident, incident_or_none
from amparo_gateway.schema.loaders import One, PageOf
from amparo_gateway.schema.node import Node
from amparo_gateway.schema.paging import Page, PageInfo, Placed
from amparo_gateway.schema.partner import Partner, partner_of
from amparo_gateway.schema.selected import selects

_decode: Final = msgspec.json.Decoder(events.ReferralChanged).decode


@strawberry.type(description="One attempt to reach the partner.")
class DeliveryAttempt:
    number: int
    at: datetime
    outcome: str
    status_code: int | None
    next_attempt_at: datetime | None


@strawberry.type(description="What the partner answered.")
class Acknowledgement:
    referral: strawberry.Private[events.ReferralChanged]
    acknowledgement_id: strawberry.Private[UUID]
    at: datetime
    code: AcknowledgementCode
    by: str
    partner_reference: str | None

    @described("What the partner wrote; reading it goes on record.")
    async def note(self, info: Info) -> str | None:
        info.context.scope("Acknowledgement.note", of=self.referral.reference)
        found = await info.context.asked.package(self.referral.referral_id)
        return next((one.note for one in found.notes if one.acknowledgement_id == self.acknowledgement_id), None)


@strawberry.type(description="A field that a package leaves out.")
class WithheldField:
    field: str
    safeguard: str = strawberry.field(description="The safeguard that asks for it.")
    reason: str


@strawberry.type(description="What the partner receives, and what was held back and why.")
class ReferralPackage:
    profile: str
    content: JSON
    withheld: list[WithheldField]

    @classmethod
    def of(cls, package: Package) -> Self:
        return cls(
            profile=package.profile,
            content=package.content,
            withheld=[WithheldField(field=w.field, safeguard=w.safeguard, reason=w.reason) for w in package.withheld],
        )


@strawberry.type(description="An incident on its way to a partner.")
class Referral(Node):
    state: strawberry.Private[events.ReferralChanged]
    #: Set where a page read its partners ahead.
    known_partner: strawberry.Private[Partner | None] = None
    reference: str
    destination: Destination
    status: ReferralStatus
    release: Release
    level: Level
    category: Category
    lawful_basis: LawfulBasis
    created_at: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    due_at: datetime | None = strawberry.field(description="When the partner's silence is escalated.")
    version: int
    is_test: bool

    @classmethod
    def of(cls, state: bytes) -> Self:
        referral = _decode(state)
        return cls(
            state=referral,
            id=strawberry.ID(global_id(Kind.REFERRAL, referral.referral_id)),
            reference=referral.reference,
            destination=referral.destination,
            status=referral.status,
            release=referral.release,
            level=referral.level,
            category=referral.category,
            lawful_basis=referral.lawful_basis,
            created_at=referral.created_at,
            delivered_at=referral.delivered_at,
            acknowledged_at=referral.acknowledged_at,
            due_at=referral.due_at,
            version=referral.version,
            is_test=referral.is_test,
        )

    @described("Null for a partner: it sees the package, not the incident.")
    async def incident(self, info: Info) -> Incident | None:
        scope = info.context.reach(Permission.READ_INCIDENTS)
        return incident_or_none(await info.context.loaders.incident.load(One(scope, self.state.incident_id)))

    @held_as("known_partner")
    async def partner(self, info: Info) -> Partner:
        return self.known_partner or await partner_of(info.context, self.state)

    @described("Reading it goes on record. Null, with FORBIDDEN, for roles that may not.")
    async def package(self, info: Info) -> ReferralPackage | None:
        info.context.scope("Referral.package", of=self.state.reference)
        return ReferralPackage.of(await info.context.asked.package(self.state.referral_id))

    @strawberry.field
    def attempts(self) -> list[DeliveryAttempt]:
        return [
            DeliveryAttempt(
                number=attempt.number,
                at=attempt.at,
                outcome=attempt.outcome,
                status_code=attempt.status_code,
                next_attempt_at=attempt.next_attempt_at,
            )
            for attempt in self.state.attempts
        ]

    @strawberry.field
    def acknowledgements(self) -> list[Acknowledgement]:
        return [
            Acknowledgement(
                referral=self.state,
                acknowledgement_id=answer.acknowledgement_id,
                at=answer.at,
                code=answer.code,
                by=answer.by,
                partner_reference=answer.partner_reference,
            )
            for answer in self.state.acknowledgements
        ]


@strawberry.type
class ReferralEdge(Placed):
    node: Referral


@strawberry.type
class ReferralConnection:
    page_info: PageInfo
    edges: list[ReferralEdge]


@strawberry.input(description="Which referrals; an empty list asks nothing.")
class ReferralFilter:
    statuses: list[ReferralStatus] | None = strawberry.UNSET
    destinations: list[Destination] | None = strawberry.UNSET
    overdue: bool | None = strawberry.UNSET
    reference: str | None = strawberry.UNSET

    def wish(self) -> ReferralWish:
        return ReferralWish(
            statuses=given_once(self.statuses, name="statuses"),
            destinations=given_once(self.destinations, name="destinations"),
            overdue=given(self.overdue),
            reference=given_reference(self.reference),
        )


async def referrals_page(
    info: Info, *, first: int, after: str | None, wished: ReferralFilter | None
) -> ReferralConnection:
    """Return a page of the referrals that the caller may see, newest first."""
    context = info.context
    scope = context.scope("Query.referrals")
    page = Page(context, name="referrals", first=first, after=after)
    wish = wished.wish() if wished else ReferralWish()
    with_partners = selects(info, "partner")

    def read(session: Session) -> ReferralConnection:
        found = repository.referrals(
            session,
            scope=scope,
            wish=wish,
            after=page.after,
            limit=page.limit,
            now=context.now,
            with_partners=with_partners,
        )
        edges = _edges(page, found)
        _set_partners(edges, {edge.node.state.partner_id: row.partner for edge, row in zip(edges, found, strict=False)})
        return ReferralConnection(page_info=page.info_of(edges, found=len(found)), edges=edges)

    return await context.projection.read(read)


async def referrals_of(info: Info, incident: IncidentTriaged, *, first: int, after: str | None) -> ReferralConnection:
    """Return a page of the referrals of an incident, newest first."""
    context = info.context
    incident_id = incident.incident_id
    scope = context.scope("Incident.referrals", of=incident.reference)
    page = Page(context, name=f"referrals|{incident_id}", first=first, after=after)
    found = await context.loaders.referrals.load(PageOf(scope, incident_id, page.after, page.limit))
    edges = _edges(page, found)
    if edges and selects(info, "partner"):
        keys = list({edge.node.state.partner_id for edge in edges})
        states = await context.loaders.partner.load_many([One(EveryCountry(), key) for key in keys])
        _set_partners(edges, dict(zip(keys, states, strict=True)))
    return ReferralConnection(page_info=page.info_of(edges, found=len(found)), edges=edges)


def _edges(page: Page, found: Sequence[Found]) -> list[ReferralEdge]:
    return [ReferralEdge(page=page, place=place, node=Referral.of(state)) for place, state, _ in page.cut(found)]


def _set_partners(edges: Sequence[ReferralEdge], states: Mapping[UUID, bytes | None]) -> None:
    partners = {key: Partner.of(state) for key, state in states.items() if state is not None}
    for edge in edges:
        edge.node.known_partner = partners.get(edge.node.state.partner_id)


def referral_or_none(state: bytes | None) -> Referral | None:
    return Referral.of(state) if state is not None else None
