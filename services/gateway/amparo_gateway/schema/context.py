"""What the resolvers of one request share: the caller, the projection, the loaders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

import strawberry

from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import EVERY_COUNTRY, Principal
from amparo_common.db.port import Database
from amparo_common.events.codec import Received
from amparo_gateway import domain
from amparo_gateway.budget import Budget
from amparo_gateway.commands.client import Owners
from amparo_gateway.cursors import CursorSeal
from amparo_gateway.live.hub import Hub
from amparo_gateway.schema.asked import Asked
from amparo_gateway.schema.errors import ForbiddenError
from amparo_gateway.schema.loaders import Loaders

#: The permission behind every field that reads rows. A field that is not here cannot ask for a scope: it shows nothing.
PERMISSIONS: Final[Mapping[str, Permission]] = {
    "Query.me": Permission.READ_ME,
    "Query.node": Permission.READ_NODE,
    "Query.incidents": Permission.READ_INCIDENTS,
    "Query.incident": Permission.READ_INCIDENTS,
    "Query.incidentByReport": Permission.READ_INCIDENTS,
    "Query.referrals": Permission.READ_REFERRALS,
    "Query.referral": Permission.READ_REFERRALS,
    "Query.partners": Permission.READ_PARTNERS,
    "Query.tasks": Permission.WORK_QUEUE,
    "Query.statistics": Permission.READ_STATISTICS,
    "Query.auditEntries": Permission.READ_AUDIT,
    "Incident.sensitive": Permission.READ_SENSITIVE,
    "Incident.referrals": Permission.READ_HISTORY,
    "Incident.history": Permission.READ_HISTORY,
    "Incident.links": Permission.READ_INCIDENTS,
    "Incident.holds": Permission.WORK_QUEUE,
    "IncidentLink.reason": Permission.READ_SENSITIVE,
    "Referral.incident": Permission.READ_INCIDENTS,
    "Referral.package": Permission.READ_PACKAGE,
    "Acknowledgement.note": Permission.READ_PACKAGE,
    "Task.referral": Permission.READ_REFERRALS,
    "Mutation.reportIncident": Permission.REPORT_INCIDENT,
    "Mutation.claimIncident": Permission.WORK_QUEUE,
    "Mutation.claimNextIncident": Permission.WORK_QUEUE,
    "Mutation.decideTriage": Permission.WORK_QUEUE,
    "Mutation.countersignTriage": Permission.SIGN,
    "Mutation.linkIncidents": Permission.WORK_QUEUE,
    "Mutation.unlinkIncidents": Permission.WORK_QUEUE,
    "Mutation.reopenIncident": Permission.WORK_QUEUE,
    "Mutation.closeIncident": Permission.WORK_QUEUE,
    "Mutation.createReferral": Permission.WORK_QUEUE,
    "Mutation.approveReferral": Permission.SIGN,
    "Mutation.respondToReferral": Permission.RESPOND_TO_REFERRAL,
    "Mutation.placeHold": Permission.SIGN,
    "Mutation.releaseHold": Permission.SIGN,
    "Mutation.eraseIncident": Permission.SIGN,
    "Mutation.messageReporter": Permission.WORK_QUEUE,
    "Mutation.upsertPartner": Permission.MANAGE_PARTNERS,
    "Mutation.setRoute": Permission.MANAGE_PARTNERS,
    "Mutation.completeTask": Permission.WORK_QUEUE,
    "Subscription.queueChanged": Permission.READ_INCIDENTS,
    "Subscription.incidentChanged": Permission.READ_INCIDENTS,
    "Subscription.referralReceived": Permission.READ_REFERRALS,
}


@dataclass(frozen=True)
class Context:
    """One request. `now` is the moment it came in, for everything that is overdue."""

    principal: Principal
    projection: Database
    seal: CursorSeal
    #: The services that own what the projection shows, called as the caller.
    owners: Owners
    now: datetime
    #: Takes states into the projection as though they had come from the log, and tells who listens.
    apply: Callable[[Sequence[Received]], Awaitable[None]]
    hub: Hub = field(default_factory=Hub)
    budget: Budget = field(default_factory=Budget)

    def reach(self, permission: Permission) -> domain.Scope:
        """Return which rows `permission` shows to the caller; Nothing when it does not have it."""
        return scope_of(self.principal, permission)

    def scope(self, field: str, *, of: str | None = None) -> domain.Scope:
        """Return which rows the field `Type.name` shows; raises ForbiddenError when the role may not use it.

        `of` is the reference of what the field is asked of, for the record.
        """
        permission = PERMISSIONS[field]
        if not self.principal.may(permission):
            raise ForbiddenError(action=field, subject=of)
        return self.reach(permission)

    @cached_property
    def loaders(self) -> Loaders:
        return Loaders(self.projection)

    def forget_what_was_read(self) -> None:
        """Read anew from here on: a command of this request changed what the loaders keep."""
        for kept in ("loaders", "asked"):
            self.__dict__.pop(kept, None)

    @cached_property
    def asked(self) -> Asked:
        return Asked(self.owners, principal=self.principal)


Info = strawberry.Info[Context, None]


def scope_of(principal: Principal, permission: Permission) -> domain.Scope:
    """Turn how far a permission reaches into the rows that it reaches."""
    match principal.may(permission):
        case Reach.ALL:
            return domain.EveryCountry()
        case Reach.COUNTRIES if EVERY_COUNTRY in principal.countries:
            return domain.EveryCountry()
        case Reach.COUNTRIES if principal.countries:
            return domain.InCountries(principal.countries)
        case Reach.ORGANISATION if principal.organisation:
            return domain.OfOrganisation(principal.organisation)
        case Reach.OWN if principal.owner:
            return domain.OwnedBy(principal.owner)
        case _:
            return domain.Nothing()
