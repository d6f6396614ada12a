"""The demo's users and secrets. All of this is public: it opens nothing but a demonstration on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from amparo_common.vocabulary.codes import Role

#: The secret of each confidential client in demo, and the list of confidential clients.
CLIENT_SECRETS: Final[Mapping[str, str]] = {
    "amparo-service": "amparo-service-demo",
    "amparo-reporter-app": "amparo-reporter-app-demo",
    "amparo-integrator": "amparo-integrator-demo",
}


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A user whose password is its name."""

    name: str
    role: Role
    countries: tuple[str, ...] = ()
    organisation: str | None = None

    @property
    def id(self) -> UUID:
        """Return the subject, the same in every demonstration."""
        return stable_id("user", self.name)


def stable_id(kind: str, name: str) -> UUID:
    """Return the subject of a demo user or of a client's service account."""
    return uuid5(NAMESPACE_URL, f"urn:amparo:{kind}:{name}")


USERS: Final = (
    DemoUser("agent", Role.AGENT),
    DemoUser("triager", Role.TRIAGER, countries=("*",)),
    DemoUser("supervisor", Role.SUPERVISOR, countries=("*",)),
    DemoUser("supervisor2", Role.SUPERVISOR, countries=("*",)),
    DemoUser("partner", Role.PARTNER, organisation="demo-hotline"),
    DemoUser("integrator", Role.INTEGRATOR),
    DemoUser("auditor", Role.AUDITOR),
    DemoUser("admin", Role.ADMIN),
)
