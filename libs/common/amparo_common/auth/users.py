"""The people who may sign in, as a port: the built-in issuer's file and Keycloak are its adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from amparo_common.vocabulary.codes import Role

#: What a person can be. A service is never a person.
ROLES_OF_PEOPLE: Final = (
    Role.AGENT, Role.TRIAGER, Role.SUPERVISOR, Role.PARTNER, Role.INTEGRATOR, Role.AUDITOR, Role.ADMIN,
)  # fmt: skip


class UserError(Exception):
    """A user that cannot be added, changed or found; the message is fit for the administrator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who may sign in unless `disabled`. `id` becomes the token's subject and never changes."""

    id: UUID
    name: str
    roles: frozenset[Role]
    countries: tuple[str, ...] = ()
    organisation: str | None = None
    disabled: bool = False


class Users(Protocol):
    """The directory of users. Every method raises UserError with a reason, TransientError when it does not answer."""

    async def list(self) -> Sequence[User]:
        """Return every user by name, the disabled ones too."""
        ...

    async def add(
        self, name: str, *, roles: frozenset[Role], countries: tuple[str, ...] = (), organisation: str | None = None
    ) -> tuple[User, str]:
        """Add a user and return it with its first password, which is shown once and kept nowhere."""
        ...

    async def grant(self, name: str, *, roles: frozenset[Role]) -> User:
        """Replace the roles of a user."""
        ...

    async def disable(self, name: str) -> User:
        """Let a user sign in no more; tokens already given end within their few minutes."""
        ...
