"""The audit trail of all services."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from amparo_common.vocabulary.codes import Purpose
from amparo_gateway import repository
from amparo_gateway.repository import Audited, TrailWish
from amparo_gateway.schema.arguments import given, given_once
from amparo_gateway.schema.context import Info
from amparo_gateway.schema.paging import Page, PageInfo


@strawberry.type(description="What somebody did, or was denied: a row of a service's hash chain.")
class AuditEntry:
    sequence: int = strawberry.field(description="Its place in the chain of its service.")
    at: datetime
    service: str
    actor: str = strawberry.field(description="The login name.")
    role: str = strawberry.field(description="As the token writes it.")
    action: str
    subject: str = strawberry.field(description="The reference of what it was done with, such as AM-7Q4K-2MXD.")
    purpose: Purpose | None
    allowed: bool
    hash: str

    @classmethod
    def of(cls, row: Audited) -> Self:
        return cls(
            sequence=row.sequence,
            at=row.at,
            service=row.service,
            actor=row.actor,
            role=row.role.lower(),
            action=row.action,
            subject=row.subject,
            purpose=Purpose.__members__.get(row.purpose or ""),
            allowed=row.allowed,
            hash=row.hash,
        )


@strawberry.type
class AuditEntryEdge:
    cursor: str
    node: AuditEntry


@strawberry.type
class AuditEntryConnection:
    page_info: PageInfo
    edges: list[AuditEntryEdge]


@strawberry.input(description="Which entries; an empty list asks nothing. `after` and `before` are times.")
class AuditFilter:
    services: list[str] | None = strawberry.UNSET
    actor: str | None = strawberry.UNSET
    subject: str | None = strawberry.UNSET
    actions: list[str] | None = strawberry.UNSET
    allowed: bool | None = strawberry.UNSET
    after: datetime | None = strawberry.UNSET
    before: datetime | None = strawberry.UNSET

    def wish(self) -> TrailWish:
        return TrailWish(
            services=given_once(self.services, name="services"),
            actor=given(self.actor),
            subject=given(self.subject),
            actions=given_once(self.actions, name="actions"),
            allowed=given(self.allowed),
            after=given(self.after),
            before=given(self.before),
        )


async def trail_page(info: Info, *, first: int, after: str | None, wished: AuditFilter | None) -> AuditEntryConnection:
    """Return a page of the trail, newest first."""
    context = info.context
    scope = context.scope("Query.auditEntries")
    page = Page(context, name="auditEntries", first=first, after=after)
    wish = wished.wish() if wished else TrailWish()
    found = await context.projection.read(
        lambda session: repository.trail(session, scope=scope, wish=wish, after=page.after, limit=page.limit)
    )
    edges = [AuditEntryEdge(cursor=page.cursor(row.place), node=AuditEntry.of(row)) for row in page.cut(found)]
    return AuditEntryConnection(page_info=page.info([edge.cursor for edge in edges], found=len(found)), edges=edges)
