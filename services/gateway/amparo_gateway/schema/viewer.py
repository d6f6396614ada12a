"""Who is asking."""

from __future__ import annotations

from typing import Self

import strawberry

from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal


@strawberry.type(description="The caller, as the token says.")
class Viewer:
    subject: strawberry.ID
    name: str
    roles: list[str] = strawberry.field(description="As the token writes them.")
    organisation: str | None
    permissions: list[str] = strawberry.field(description="What the roles may do, to whatever extent.")

    @classmethod
    def of(cls, principal: Principal) -> Self:
        return cls(
            subject=strawberry.ID(principal.subject),
            name=principal.name,
            roles=sorted(role.lower() for role in principal.roles),
            organisation=principal.organisation,
            permissions=[permission for permission in Permission if principal.may(permission)],
        )
