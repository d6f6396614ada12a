"""Who may do what: the one table that the gateway, the services, the realm test and the documentation read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import auto
from types import MappingProxyType
from typing import Final

from amparo_common.vocabulary.codes import Code, Role


class Permission(Code):
    """Something that a principal may or may not do."""

    READ_ME = auto()
    READ_NODE = auto()
    REPORT_INCIDENT = auto()
    READ_INCIDENTS = auto()
    READ_SENSITIVE = auto()
    READ_HISTORY = auto()
    READ_REFERRALS = auto()
    READ_PACKAGE = auto()
    READ_PARTNERS = auto()
    READ_STATISTICS = auto()
    READ_AUDIT = auto()
    WORK_QUEUE = auto()
    SIGN = auto()
    RESPOND_TO_REFERRAL = auto()
    MANAGE_PARTNERS = auto()
    INTROSPECT = auto()
    RUN_ANY_DOCUMENT = auto()
    SUBMIT_REPORT = auto()
    FOLLOW_CASE = auto()
    FETCH_DATA_KEYS = auto()
    READ_DEAD_LETTERS = auto()
    REPLAY_DEAD_LETTERS = auto()
    REPLAY_PROJECTION = auto()
    READ_POLICY = auto()
    ACTIVATE_POLICY = auto()
    VERIFY_AUDIT = auto()
    MANAGE_USERS = auto()


class Reach(Code):
    """How far a permission reaches, from nothing to everything; a later one reaches farther."""

    NONE = auto()
    OWN = auto()
    ORGANISATION = auto()
    COUNTRIES = auto()
    ALL = auto()

    def __bool__(self) -> bool:
        """Say whether the permission is there at all, so that `if principal.may(...)` reads as it should."""
        return self is not Reach.NONE


_FARTHER: Final = {reach: rank for rank, reach in enumerate(Reach)}

#: What each permission covers, for people.
COVERS: Final[Mapping[Permission, str]] = {
    Permission.READ_ME: "`me`",
    Permission.READ_NODE: "`node`, for what the caller may see anyway",
    Permission.REPORT_INCIDENT: "`reportIncident`",
    Permission.READ_INCIDENTS: "`incidents`, `incident`, `incidentByReport`",
    Permission.READ_SENSITIVE: "`Incident.sensitive`, audited",
    Permission.READ_HISTORY: "`Incident.history`, `Incident.referrals`",
    Permission.READ_REFERRALS: "`referrals`, `referral`",
    Permission.READ_PACKAGE: "`Referral.package`, audited",
    Permission.READ_PARTNERS: "`partners`",
    Permission.READ_STATISTICS: "`statistics`",
    Permission.READ_AUDIT: "`auditEntries`",
    Permission.WORK_QUEUE: "claim, claim next, decide, link, unlink, close, re-open, create referral, message, tasks",
    Permission.SIGN: "countersign, approve, hold, release, erase",
    Permission.RESPOND_TO_REFERRAL: "`respondToReferral`, `POST /v1/acknowledgements`",
    Permission.MANAGE_PARTNERS: "`upsertPartner`, `setRoute`",
    Permission.INTROSPECT: "introspection of the graph",
    Permission.RUN_ANY_DOCUMENT: "documents that are not registered, in production",
    Permission.SUBMIT_REPORT: "`POST /v1/reports`",
    Permission.FOLLOW_CASE: "`POST /v1/cases/status`, `POST /v1/cases/messages`; the case code is the proof",
    Permission.FETCH_DATA_KEYS: "`POST /v1/keys`",
    Permission.READ_DEAD_LETTERS: "`amparo dlq list`, `show`",
    Permission.REPLAY_DEAD_LETTERS: "`amparo dlq replay`, `discard`",
    Permission.REPLAY_PROJECTION: "`amparo replay gateway`",
    Permission.READ_POLICY: "`amparo policy check`, `test`, `simulate`",
    Permission.ACTIVATE_POLICY: "activating a policy pack",
    Permission.VERIFY_AUDIT: "`amparo audit verify`",
    Permission.MANAGE_USERS: "`amparo users`",
}

_PEOPLE: Final = (
    Role.AGENT, Role.TRIAGER, Role.SUPERVISOR, Role.PARTNER, Role.INTEGRATOR, Role.AUDITOR, Role.ADMIN,
)  # fmt: skip


def _row(reaches: Mapping[Role, Reach]) -> Mapping[Role, Reach]:
    return MappingProxyType({role: reaches.get(role, Reach.NONE) for role in Role})


def _all(*roles: Role) -> Mapping[Role, Reach]:
    return _row(dict.fromkeys(roles, Reach.ALL))


_COUNTRIES_OF_STAFF: Final = {Role.TRIAGER: Reach.COUNTRIES, Role.SUPERVISOR: Reach.COUNTRIES}
_OWN_OF_AGENT: Final = _row(_COUNTRIES_OF_STAFF | {Role.AGENT: Reach.OWN})
_OWN_OF_PARTNER: Final = _row(_COUNTRIES_OF_STAFF | {Role.PARTNER: Reach.ORGANISATION})

#: Every permission with every role.
TABLE: Final[Mapping[Permission, Mapping[Role, Reach]]] = MappingProxyType(
    {
        Permission.READ_ME: _all(*_PEOPLE),
        Permission.READ_NODE: _all(*_PEOPLE),
        Permission.REPORT_INCIDENT: _all(*_PEOPLE),
        Permission.READ_INCIDENTS: _row(_COUNTRIES_OF_STAFF | {Role.AGENT: Reach.OWN, Role.INTEGRATOR: Reach.OWN}),
        Permission.READ_SENSITIVE: _OWN_OF_AGENT,
        Permission.READ_HISTORY: _OWN_OF_AGENT,
        Permission.READ_REFERRALS: _OWN_OF_PARTNER,
        Permission.READ_PACKAGE: _OWN_OF_PARTNER,
        Permission.READ_PARTNERS: _all(Role.TRIAGER, Role.SUPERVISOR, Role.ADMIN),
        Permission.READ_STATISTICS: _row(
            _COUNTRIES_OF_STAFF | dict.fromkeys((Role.INTEGRATOR, Role.AUDITOR, Role.ADMIN), Reach.ALL)
        ),
        Permission.READ_AUDIT: _all(Role.SUPERVISOR, Role.AUDITOR),
        Permission.WORK_QUEUE: _row(_COUNTRIES_OF_STAFF),
        Permission.SIGN: _row({Role.SUPERVISOR: Reach.COUNTRIES}),
        Permission.RESPOND_TO_REFERRAL: _row({Role.SUPERVISOR: Reach.COUNTRIES, Role.PARTNER: Reach.ORGANISATION}),
        Permission.MANAGE_PARTNERS: _all(Role.ADMIN),
        Permission.INTROSPECT: _all(Role.TRIAGER, Role.SUPERVISOR, Role.ADMIN),
        Permission.RUN_ANY_DOCUMENT: _all(Role.INTEGRATOR, Role.SUPERVISOR),
        Permission.SUBMIT_REPORT: _all(*Role),
        Permission.FOLLOW_CASE: _all(*Role),
        Permission.FETCH_DATA_KEYS: _all(Role.SERVICE),
        Permission.READ_DEAD_LETTERS: _all(Role.ADMIN),
        Permission.REPLAY_DEAD_LETTERS: _all(Role.ADMIN),
        Permission.REPLAY_PROJECTION: _all(Role.ADMIN),
        Permission.READ_POLICY: _all(Role.TRIAGER, Role.SUPERVISOR, Role.AUDITOR, Role.ADMIN),
        Permission.ACTIVATE_POLICY: _all(Role.ADMIN),
        Permission.VERIFY_AUDIT: _all(Role.SUPERVISOR, Role.AUDITOR),
        Permission.MANAGE_USERS: _all(Role.ADMIN),
    }
)


def reach(permission: Permission, roles: Iterable[Role]) -> Reach:
    """Return the farthest that any of `roles` reaches; NONE of no roles."""
    row = TABLE[permission]
    return max((row[role] for role in roles), key=_FARTHER.__getitem__, default=Reach.NONE)


_IN_WORDS: Final = {
    Reach.NONE: "-",
    Reach.OWN: "own",
    Reach.ORGANISATION: "own organisation's",
    Reach.COUNTRIES: "own countries'",
    Reach.ALL: "+",
}


def markdown() -> str:
    """Return the table as a Markdown page section: one row a permission, one column a role."""
    head = ["Permission", "Covers", *(f"`{role.lower()}`" for role in Role)]
    rows = [
        [f"`{permission}`", COVERS[permission], *(_IN_WORDS[reaches[role]] for role in Role)]
        for permission, reaches in TABLE.items()
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]) + "\n"
