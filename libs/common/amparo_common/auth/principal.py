"""Who is calling, as one value that every decision is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from amparo_common.auth.permissions import Permission, Reach, reach
from amparo_common.vocabulary.codes import Role

EVERY_COUNTRY: Final = "*"

#: The role that speaks for a principal with several, first match first.
_SPEAKS_FOR: Final = (
    Role.SUPERVISOR, Role.TRIAGER, Role.AGENT, Role.ADMIN, Role.AUDITOR, Role.INTEGRATOR, Role.PARTNER, Role.SERVICE,
    Role.REPORTER_APP,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A verified caller. `token` is what commands to other services carry on; `repr` hides it."""

    subject: str
    name: str
    roles: frozenset[Role]
    organisation: str | None = None
    countries: frozenset[str] = frozenset()
    azp: str | None = None
    expires_at: datetime
    token: str = field(repr=False)

    @property
    def role(self) -> Role:
        """Return the one role that a record of this caller names; ANONYMOUS without any."""
        return next((role for role in _SPEAKS_FOR if role in self.roles), Role.ANONYMOUS)

    @property
    def is_client(self) -> bool:
        """Say whether a client signed in for itself (client credentials), not a person through it."""
        return self.azp is not None and self.name == f"service-account-{self.azp}"

    @property
    def owner(self) -> str | None:
        """Return the mark of one's own reports, `agent:SUB` or `integrator:CLIENT`; None for other roles."""
        if self.role is Role.AGENT:
            return f"agent:{self.subject}"
        if self.role is Role.INTEGRATOR:
            return f"integrator:{self.azp if self.is_client else self.organisation or self.subject}"
        return None

    def may(self, permission: Permission) -> Reach:
        """Return how far `permission` reaches for this caller; NONE is falsy."""
        return reach(permission, self.roles)

    def sees_country(self, code: str) -> bool:
        """Say whether the claim `countries` covers `code`; without the claim nothing is covered."""
        return EVERY_COUNTRY in self.countries or code in self.countries


ANONYMOUS: Final = Principal(
    subject="",
    name="anonymous",
    roles=frozenset({Role.ANONYMOUS}),
    expires_at=datetime.max.replace(tzinfo=UTC),
    token="",
)
