"""The operations that read."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import strawberry

from amparo_common.auth.permissions import Permission
from amparo_gateway import domain
from amparo_gateway.domain import Kind
from amparo_gateway.domain_figures import Dimension
from amparo_gateway.schema.audit import AuditEntryConnection, AuditFilter, trail_page
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import described
from amparo_gateway.schema.incident import (
    Incident,
    IncidentConnection,
    IncidentFilter,
    IncidentOrder,
    incident_or_none,
    incidents_page,
)
from amparo_gateway.schema.loaders import One
from amparo_gateway.schema.node import Node
from amparo_gateway.schema.paging import After, First
from amparo_gateway.schema.partner import PartnerConnection, partner_or_none, partners_page
from amparo_gateway.schema.referral import (
    Referral,
    ReferralConnection,
    ReferralFilter,
    referral_or_none,
    referrals_page,
)
from amparo_gateway.schema.statistics import Since, StatisticsRow, Until, statistics_of
from amparo_gateway.schema.task import TaskConnection, task_or_none, tasks_page
from amparo_gateway.schema.viewer import Viewer

_UUID_LENGTH: Final = 36


@strawberry.type
class Query:
    @described("The caller.")
    def me(self, info: Info) -> Viewer:
        info.context.scope("Query.me")
        return Viewer.of(info.context.principal)

    @described("Whatever has this id, when the caller may see it.")
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:  # noqa: A002 - the contract's name
        info.context.scope("Query.node")
        match domain.from_global_id(id):
            case (Kind.INCIDENT, key):
                return await _incident(info.context, key, scope=info.context.reach(Permission.READ_INCIDENTS))
            case (Kind.REFERRAL, key):
                return await _referral(info.context, key, scope=info.context.reach(Permission.READ_REFERRALS))
            case (Kind.PARTNER, key):
                return await partner_or_none(info.context, key, scope=info.context.reach(Permission.READ_PARTNERS))
            case (Kind.TASK, key):
                return await task_or_none(info.context, key, scope=info.context.reach(Permission.WORK_QUEUE))
            case _:
                return None

    @described("The incidents that the caller may see.")
    async def incidents(
        self,
        info: Info,
        first: First,
        after: After = strawberry.UNSET,
        filter: IncidentFilter | None = strawberry.UNSET,  # noqa: A002 - the contract's name
        order_by: IncidentOrder = IncidentOrder.QUEUE,
    ) -> IncidentConnection | None:
        return await incidents_page(info, first=first, after=after, wished=filter, order=order_by)

    @strawberry.field
    async def incident(self, info: Info, id: strawberry.ID) -> Incident | None:  # noqa: A002 - the contract's name
        scope = info.context.scope("Query.incident")
        key = domain.key_of(Kind.INCIDENT, id)
        return await _incident(info.context, key, scope=scope) if key else None

    @described("By the report_id of a receipt; null until triaged, or when the caller may not see it.")
    async def incident_by_report(self, info: Info, report_id: strawberry.ID) -> Incident | None:
        scope = info.context.scope("Query.incidentByReport")
        key = _plain_uuid(report_id)
        return incident_or_none(await info.context.loaders.incident_of_report.load(One(scope, key))) if key else None

    @described("The referrals that the caller may see, newest first.")
    async def referrals(
        self,
        info: Info,
        first: First,
        after: After = strawberry.UNSET,
        filter: ReferralFilter | None = strawberry.UNSET,  # noqa: A002 - the contract's name
    ) -> ReferralConnection | None:
        return await referrals_page(info, first=first, after=after, wished=filter)

    @strawberry.field
    async def referral(self, info: Info, id: strawberry.ID) -> Referral | None:  # noqa: A002 - the contract's name
        scope = info.context.scope("Query.referral")
        key = domain.key_of(Kind.REFERRAL, id)
        return await _referral(info.context, key, scope=scope) if key else None

    @described("The directory of partners by name; with a country, those that work for it.")
    async def partners(
        self,
        info: Info,
        first: First,
        after: After = strawberry.UNSET,
        country: str | None = strawberry.UNSET,
    ) -> PartnerConnection | None:
        return await partners_page(info, first=first, after=after, country=country)

    @described("Work for a person, the earliest due first: what waits, or what is done.")
    async def tasks(
        self,
        info: Info,
        first: First,
        after: After = strawberry.UNSET,
        open: bool = True,  # noqa: A002 - the contract's name and default
    ) -> TaskConnection | None:
        return await tasks_page(info, first=first, after=after, is_open=open)

    @described(
        "Incidents that came in between two times, counted as they are now, within the caller's countries; with "
        "DESTINATION or OUTCOME their referrals."
    )
    async def statistics(
        self, info: Info, since: Since, until: Until, group_by: list[Dimension]
    ) -> list[StatisticsRow] | None:
        return await statistics_of(info, since=since, until=until, group_by=group_by)

    @described("The audit trail of all services, newest first.")
    async def audit_entries(
        self,
        info: Info,
        first: First,
        after: After = strawberry.UNSET,
        filter: AuditFilter | None = strawberry.UNSET,  # noqa: A002 - the contract's name
    ) -> AuditEntryConnection | None:
        return await trail_page(info, first=first, after=after, wished=filter)


async def _incident(context: Context, key: UUID, *, scope: domain.Scope) -> Incident | None:
    return incident_or_none(await context.loaders.incident.load(One(scope, key)))


async def _referral(context: Context, key: UUID, *, scope: domain.Scope) -> Referral | None:
    return referral_or_none(await context.loaders.referral.load(One(scope, key)))


def _plain_uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == _UUID_LENGTH else None
    except ValueError:
        return None
