"""What the resolvers of one request share: the caller, the projection, the loaders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import strawberry

from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import EVERY_COUNTRY, Principal
from amparo_common.db.port import Database
from amparo_gateway import domain
from amparo_gateway.commands.client import Owners
from amparo_gateway.cursors import CursorSeal
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
    "Incident.referrals": Permission.READ_HISTORY,
    "Incident.history": Permission.READ_HISTORY,
    "Referral.incident": Permission.READ_INCIDENTS,
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

    def reach(self, permission: Permission) -> domain.Scope:
        """Return which rows `permission` shows to the caller; Nothing when it does not have it."""
        return scope_of(self.principal, permission)

    def scope(self, field: str) -> domain.Scope:
        """Return which rows the field `Type.name` shows; raises ForbiddenError when the role may not use it."""
        permission = PERMISSIONS[field]
        if not self.principal.may(permission):
            raise ForbiddenError
        return self.reach(permission)

    @cached_property
    def loaders(self) -> Loaders:
        return Loaders(self.projection)


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
