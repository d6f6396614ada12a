"""Incidents of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Final, Self

import msgspec
import strawberry

from amparo_common.events.types import IncidentTriaged
from amparo_common.vocabulary.codes import Category, Channel, IncidentStatus, Lane, Level, Purpose
from amparo_gateway import repository
from amparo_gateway.domain import Kind, global_id
from amparo_gateway.repository import Found, IncidentWish
from amparo_gateway.schema import vocabulary as _vocabulary  # noqa: F401 - its enums must stand before the types that use them
from amparo_gateway.schema.arguments import given, given_once, given_reference
from amparo_gateway.schema.context import Info
from amparo_gateway.schema.decision import Clock, TriageDecision
from amparo_gateway.schema.fields import described
from amparo_gateway.schema.history import HistoryConnection, history_of
from amparo_gateway.schema.node import Node
from amparo_gateway.schema.paging import After, First, Page, PageInfo, Placed
from amparo_gateway.schema.sensitive import IncidentSensitive, sensitive_of
from amparo_gateway.schema.ties import Hold, IncidentLink, holds_of, links_of

if TYPE_CHECKING:
    from amparo_gateway.schema.referral import ReferralConnection

_decode: Final = msgspec.json.Decoder(IncidentTriaged).decode


@strawberry.type(description="One or more reports about the same facts, with the level that they got.")
class Incident(Node):
    state: strawberry.Private[IncidentTriaged]
    reference: str = strawberry.field(
        description="Readable and opaque, such as AM-7Q4K-2MXD; safe to say on the phone."
    )
    level: Level
    provisional: bool = strawberry.field(description="True until a person has confirmed the level.")
    status: IncidentStatus
    category: Category
    secondary_categories: list[Category]
    country: str
    channels: list[Channel]
    received_at: datetime
    due_at: datetime | None = strawberry.field(description="The earliest running clock.")
    version: int
    report_count: int
    claimed_by: str | None = strawberry.field(description="Login name of the person who holds the queue lock.")
    claimed_until: datetime | None

    @classmethod
    def of(cls, state: bytes) -> Self:
        incident = _decode(state)
        return cls(
            state=incident,
            id=strawberry.ID(global_id(Kind.INCIDENT, incident.incident_id)),
            reference=incident.reference,
            level=incident.level,
            provisional=incident.provisional,
            status=incident.status,
            category=incident.category,
            secondary_categories=list(incident.secondary_categories),
            country=incident.country,
            channels=list(incident.channels),
            received_at=incident.received_at,
            due_at=incident.due_at,
            version=incident.version,
            report_count=incident.report_count,
            claimed_by=incident.claimed_by,
            claimed_until=incident.claimed_until,
        )

    @strawberry.field
    def decision(self) -> TriageDecision:
        return TriageDecision.of(self.state)

    @strawberry.field
    def clocks(self) -> list[Clock]:
        return [Clock.of(reading) for reading in self.state.clocks]

    @described("Opened for a purpose, on record each time. Null, with a code, for roles that may not read it.")
    async def sensitive(self, info: Info, purpose: Purpose) -> IncidentSensitive | None:
        return await sensitive_of(info, incident=self.state, purpose=purpose)

    @described("Links to incidents that the caller may see.")
    async def links(self, info: Info) -> list[IncidentLink]:
        return await links_of(info, self.state)

    @described("Records that somebody outside Amparo is asked to keep.")
    async def holds(self, info: Info) -> list[Hold]:
        return await holds_of(info, self.state)

    @described("Newest first. Null, with FORBIDDEN, for roles that may not read them.")
    async def referrals(
        self, info: Info, first: First, after: After = strawberry.UNSET
    ) -> Annotated[ReferralConnection, strawberry.lazy("amparo_gateway.schema.referral")] | None:
        from amparo_gateway.schema.referral import referrals_of  # noqa: PLC0415 - the two types name each other

        return await referrals_of(info, self.state, first=first, after=after)

    @described("Oldest first. Null, with FORBIDDEN, for roles that may not read it.")
    async def history(self, info: Info, first: First, after: After = strawberry.UNSET) -> HistoryConnection | None:
        return await history_of(info, self.state, first=first, after=after)


@strawberry.type
class IncidentEdge(Placed):
    node: Incident


@strawberry.type
class IncidentConnection:
    page_info: PageInfo
    edges: list[IncidentEdge]


@strawberry.enum(description="QUEUE: level, due time (none last), score, time of receipt.")
class IncidentOrder(Enum):
    QUEUE = "QUEUE"
    NEWEST = "NEWEST"
    OLDEST = "OLDEST"


_ORDERS: Final = {
    IncidentOrder.QUEUE: repository.QUEUE,
    IncidentOrder.NEWEST: repository.NEWEST,
    IncidentOrder.OLDEST: repository.OLDEST,
}


@strawberry.input(description="Which incidents; an empty list asks nothing.")
class IncidentFilter:
    levels: list[Level] | None = strawberry.UNSET
    statuses: list[IncidentStatus] | None = strawberry.UNSET
    categories: list[Category] | None = strawberry.UNSET
    countries: list[str] | None = strawberry.UNSET
    channels: list[Channel] | None = strawberry.UNSET
    lane: Lane | None = strawberry.UNSET
    claimed_by_me: bool | None = strawberry.UNSET
    in_queue: bool | None = strawberry.UNSET
    awaiting_signature: bool | None = strawberry.UNSET
    overdue: bool | None = strawberry.UNSET
    reference: str | None = strawberry.UNSET
    received_after: datetime | None = strawberry.UNSET
    received_before: datetime | None = strawberry.UNSET

    def wish(self, *, me: str) -> IncidentWish:
        mine = given(self.claimed_by_me)
        return IncidentWish(
            levels=given_once(self.levels, name="levels"),
            statuses=given_once(self.statuses, name="statuses"),
            categories=given_once(self.categories, name="categories"),
            countries=given_once(self.countries, name="countries"),
            channels=given_once(self.channels, name="channels"),
            lane=given(self.lane),
            claimed_by=me if mine is True else None,
            not_claimed_by=me if mine is False else None,
            in_queue=given(self.in_queue),
            awaiting_signature=given(self.awaiting_signature),
            overdue=given(self.overdue),
            reference=given_reference(self.reference),
            received_after=given(self.received_after),
            received_before=given(self.received_before),
        )


async def incidents_page(
    info: Info, *, first: int, after: str | None, wished: IncidentFilter | None, order: IncidentOrder
) -> IncidentConnection:
    """Return a page of the incidents that the caller may see."""
    context = info.context
    scope = context.scope("Query.incidents")
    page = Page(context, name=f"incidents|{order.name}", first=first, after=after)
    wish = wished.wish(me=context.principal.name) if wished else IncidentWish()
    found = await context.projection.read(
        lambda session: repository.incidents(
            session,
            scope=scope,
            wish=wish,
            order=_ORDERS[order],
            after=page.after,
            limit=page.limit,
            now=context.now,
        )
    )
    return _connection(page, found)


def _connection(page: Page, found: Sequence[Found]) -> IncidentConnection:
    edges = [IncidentEdge(page=page, place=place, node=Incident.of(state)) for place, state, _ in page.cut(found)]
    return IncidentConnection(page_info=page.info_of(edges, found=len(found)), edges=edges)


def incident_or_none(state: bytes | None) -> Incident | None:
    return Incident.of(state) if state is not None else None
