"""The access matrix: every operation of the served schema, as every role, against rows of four kinds.

The operations come from the schema and the permissions from the table, so that neither grows without the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_required_input_field,
)

from amparo_common.auth.permissions import Permission, Reach
from amparo_common.events.types import IncidentTie
from amparo_common.vocabulary.codes import LinkKind, Role
from amparo_gateway.domain import Kind, global_id
from amparo_gateway.schema import SCHEMA
from amparo_gateway.schema.context import PERMISSIONS
from amparo_gateway.schema.streaming import RefusedStreamError, begin

pytestmark = pytest.mark.anyio

ME: Final = {Role.AGENT: "agent:sub-me", Role.INTEGRATOR: "integrator:sub-me"}
STRANGERS: Final = ("agent:sub-x", "integrator:sub-x")
AT: Final = "2027-01-01T00:00:00Z"
HOTLINE, CORE = "demo-hotline", SCHEMA._schema


@dataclass(frozen=True)
class Situation:
    """Rows that lie somewhere, and the reaches that show them there."""

    name: str
    shown_to: frozenset[Reach]
    country: str = "GT"
    owners: tuple[str, ...] = tuple(ME.values())
    organisation: str = HOTLINE


EVERYWHERE: Final = frozenset({Reach.ALL, Reach.COUNTRIES, Reach.OWN, Reach.ORGANISATION})
SITUATIONS: Final = (
    Situation("own", EVERYWHERE),
    Situation("another owner's", EVERYWHERE - {Reach.OWN}, owners=STRANGERS),
    Situation("another country's", EVERYWHERE - {Reach.COUNTRIES}, country="BO"),
    Situation("another organisation's", EVERYWHERE - {Reach.ORGANISATION}, organisation="another-hotline"),
)


@dataclass(frozen=True)
class Step:
    """What a caller needs on the way to an answer. `silent`: without the permission it is null, and nothing is said."""

    permission: Permission
    silent: bool = False
    #: False where the answer does not depend on where the rows lie.
    of_rows: bool = True


@dataclass(frozen=True)
class Read:
    """A document, and what is needed for the answer that it calls `found`."""

    document: str
    steps: tuple[Step, ...]
    #: The fields of the matrix that the steps stand for.
    covers: tuple[str, ...]


def read(selection: str, *covers: str, steps: tuple[Step, ...] | None = None, declared: str = "$id: ID!") -> Read:
    return Read(
        f"query({declared}) {{ {selection} }}" if declared else f"{{ {selection} }}",
        steps or tuple(Step(PERMISSIONS[name]) for name in covers),
        covers,
    )


def of_incident(selection: str, *covers: str) -> Read:
    return read(f"incident(id: $id) {{ {selection} }}", "Query.incident", *covers)


def of_referral(selection: str, *covers: str, steps: tuple[Step, ...] | None = None) -> Read:
    return read(f"referral(id: $id) {{ {selection} }}", "Query.referral", *covers, steps=steps)


def of_all(selection: str, name: str) -> Read:
    return read(selection, name, steps=(Step(PERMISSIONS[name], of_rows=False),), declared="")


def node_of(permission: Permission, *, of_rows: bool = True) -> Read:
    steps = Step(Permission.READ_NODE, of_rows=False), Step(permission, silent=True, of_rows=of_rows)
    return read("node(id: $id) { found: id }", "Query.node", steps=steps)


_BY_REF: Final = "$ref: String!"
_YEAR: Final = 'from: "2026-01-01T00:00:00Z", to: "2027-01-01T00:00:00Z"'
#: By the row whose id they are asked with.
READS: Final[Mapping[Kind, tuple[Read, ...]]] = {
    Kind.INCIDENT: (
        read("incidents(first: 9, filter: {reference: $ref}) { edges { node { found: id } } }", "Query.incidents",
             declared=_BY_REF),
        read("incidentByReport(reportId: $report) { found: id }", "Query.incidentByReport", declared="$report: ID!"),
        of_incident("found: id"),
        of_incident("found: sensitive(purpose: TRIAGE) { reports { text } }", "Incident.sensitive"),
        of_incident("found: referrals(first: 1) { edges { cursor } }", "Incident.referrals"),
        of_incident("found: history(first: 1) { edges { cursor } }", "Incident.history"),
        of_incident("found: links { reference }", "Incident.links"),
        of_incident("found: holds { id }", "Incident.holds"),
        of_incident("found: links { reason }", "Incident.links", "IncidentLink.reason"),
        node_of(Permission.READ_INCIDENTS),
    ),
    Kind.REFERRAL: (
        read("referrals(first: 9, filter: {reference: $ref}) { edges { node { found: id } } }", "Query.referrals",
             declared=_BY_REF),
        of_referral("found: id"),
        of_referral("found: package { profile }", "Referral.package"),
        of_referral("acknowledgements { found: note }", "Acknowledgement.note"),
        of_referral("found: incident { id }", "Referral.incident",
                    steps=(Step(Permission.READ_REFERRALS), Step(Permission.READ_INCIDENTS, silent=True))),
        node_of(Permission.READ_REFERRALS),
    ),
    Kind.TASK: (
        read("tasks(first: 9) { edges { node { found: id } } }", "Query.tasks", declared=""),
        read("tasks(first: 9) { edges { node { found: referral { id } } } }", "Query.tasks", "Task.referral",
             declared=""),
        node_of(Permission.WORK_QUEUE),
    ),
    Kind.PARTNER: (
        of_all("partners(first: 9) { edges { found: node { waiting lastDeliveredAt } } }", "Query.partners"),
        of_all("found: me { name }", "Query.me"),
        of_all(f"found: statistics({_YEAR}, groupBy: [DAY]) {{ suppressed }}", "Query.statistics"),
        of_all("found: auditEntries(first: 1) { pageInfo { hasNextPage } }", "Query.auditEntries"),
        node_of(Permission.READ_PARTNERS, of_rows=False),
    ),
}  # fmt: skip
COMMANDS: Final = tuple(f"Mutation.{name}" for name in CORE.mutation_type.fields)
LISTENING: Final = {
    "Subscription.queueChanged": ("subscription { queueChanged { removed } }", False),
    "Subscription.incidentChanged": ("subscription($id: ID!) { incidentChanged(id: $id) { id } }", True),
    "Subscription.referralReceived": ("subscription { referralReceived { id } }", False),
}
#: Fields that ask something of the request for a row that the caller already sees, under that row's own permission.
OF_A_SEEN_ROW: Final = {
    "Partner.verificationStale", "Partner.lastDeliveredAt", "Partner.waiting", "Referral.partner",
    "IncidentSensitive.notes", "SensitiveReport.evidence",
}  # fmt: skip
CELLS: Final = len(Role) * len(SITUATIONS) * (sum(map(len, READS.values())) + len(COMMANDS) + len(LISTENING))


@dataclass
class Scene:
    """The rows of a situation: ids as the graph writes them, and what else a document asks with."""

    incident: Any
    referral: Any
    task: Any
    ids: dict[Kind, str] = field(default_factory=dict)

    def variables(self, kind: Kind) -> dict[str, Any]:
        row = self.referral if kind is Kind.REFERRAL else self.incident
        return {"id": self.ids[kind], "ref": row.reference, "report": str(self.incident.incident_id)}


# ---------------------------------------------------------------- nothing without a policy


def test_every_field_that_asks_something_of_the_request_has_a_policy():
    """A new field of a root, or one with `info`, fails here until it is in the table of permissions."""
    unjudged = set()
    for kind in CORE.type_map.values():
        if not isinstance(kind, GraphQLObjectType) or kind.name.startswith("__"):
            continue
        root = kind in {CORE.query_type, CORE.mutation_type, CORE.subscription_type}
        for name, served in kind.fields.items():
            resolver = getattr(served.extensions.get("strawberry-definition"), "base_resolver", None)
            if root or (resolver is not None and resolver.info_parameter is not None):
                unjudged.add(f"{kind.name}.{name}")
    assert unjudged - OF_A_SEEN_ROW == set(PERMISSIONS)
    assert unjudged >= OF_A_SEEN_ROW


def test_every_policy_is_in_the_matrix():
    covered = {name for reads in READS.values() for one in reads for name in one.covers}
    assert covered | set(COMMANDS) | set(LISTENING) == set(PERMISSIONS)


#: The contract's table, written out: agent, triager, supervisor, partner, integrator, a*u*ditor, a*d*min.
ROLES: Final = dict(
    zip("atspiud", (Role.AGENT, Role.TRIAGER, Role.SUPERVISOR, Role.PARTNER, Role.INTEGRATOR, Role.AUDITOR, Role.ADMIN),
        strict=True)
)  # fmt: skip
PROMISED: Final = {
    "atspiud": "Query.me Query.node Mutation.reportIncident",
    "atsi": "Query.incidents Query.incident Query.incidentByReport Incident.links Referral.incident "
            "Subscription.queueChanged Subscription.incidentChanged",
    "ats": "Incident.sensitive Incident.history Incident.referrals IncidentLink.reason",
    "tsp": "Query.referrals Query.referral Referral.package Acknowledgement.note Task.referral "
           "Subscription.referralReceived",
    "tsd": "Query.partners",
    "tsiud": "Query.statistics",
    "su": "Query.auditEntries",
    "ts": "Query.tasks Incident.holds Mutation.claimIncident Mutation.claimNextIncident Mutation.decideTriage "
          "Mutation.linkIncidents Mutation.unlinkIncidents Mutation.closeIncident Mutation.reopenIncident "
          "Mutation.createReferral Mutation.messageReporter Mutation.completeTask",
    "s": "Mutation.countersignTriage Mutation.approveReferral Mutation.placeHold Mutation.releaseHold "
         "Mutation.eraseIncident",
    "sp": "Mutation.respondToReferral",
    "d": "Mutation.upsertPartner Mutation.setRoute",
}  # fmt: skip


def test_the_policies_are_those_of_the_contract(caller):
    promised = {
        name: {ROLES[letter] for letter in roles} for roles, names in PROMISED.items() for name in names.split()
    }
    may = {name: {role for role in Role if caller(role).may(PERMISSIONS[name])} for name in PERMISSIONS}
    assert may == promised


# ---------------------------------------------------------------- the cells


@pytest.fixture
def owner_urls(owning):
    return dict.fromkeys(("intake", "triage", "referral"), owning.url)


@pytest.fixture
async def scenes(gateway, invented, owning):
    return [await _staged(gateway, invented, owning, situation, number) for number, situation in enumerate(SITUATIONS)]


async def _staged(gateway, invented, owning, situation, number):
    partner = UUID(int=500)
    given = {"country": situation.country, "owners": situation.owners}
    other = invented.incident(**given)
    tie = IncidentTie(
        incident_id=other.incident_id, reference=other.reference, kind=LinkKind.RELATED, by="x", at=invented.at
    )
    incident = invented.incident(links=(tie,), **given)
    referral = invented.referral(
        incident.incident_id, country=situation.country, organisation=situation.organisation, partner_id=partner
    )
    task = invented.task(referral)
    await gateway.learn(other, incident, referral, task, invented.partner(partner), invented.audited(number))
    key = incident.incident_id
    owning.will("POST", f"/v1/incidents/{key}/sensitive", {"reports": [], "messages": []})
    owning.will("GET", f"/v1/incidents/{key}/notes", {"notes": [], "links": [], "evidence": []})
    hold = {"hold_id": key, "record_classes": ["CGNAT"], "requested_by": "A unit", "placed_at": AT, "until": AT}
    owning.will("GET", f"/v1/incidents/{key}/holds", {"holds": [hold | {"released_at": None}]})
    answer = str(referral.acknowledgements[0].acknowledgement_id)
    notes = [{"acknowledgement_id": answer, "note": "Seen."}]
    package = {"profile": "p", "content": {}, "withheld": [], "notes": notes}
    owning.will("GET", f"/v1/referrals/{referral.referral_id}/package", package)
    keys = {Kind.INCIDENT: key, Kind.REFERRAL: referral.referral_id, Kind.TASK: task.task_id, Kind.PARTNER: partner}
    ids = {kind: global_id(kind, one) for kind, one in keys.items()}
    return Scene(incident=incident, referral=referral, task=task, ids=ids)


def principal_of(caller, role):
    organisation = HOTLINE if role is Role.PARTNER else None
    return caller(role, subject="sub-me", countries=frozenset({"GT"}), organisation=organisation)


def expected_of(principal, steps, situation):
    """Say what the table promises: FORBIDDEN, HIDDEN or SHOWN."""
    for step in steps:
        reach = principal.may(step.permission)
        if not reach and not step.silent:
            return "FORBIDDEN"
        if not reach or (step.of_rows and reach not in situation.shown_to):
            return "HIDDEN"
    return "SHOWN"


def found_in(answer):
    """Return what stands under `found`, wherever; None when there is nothing."""
    if isinstance(answer, list):
        inside = [one for one in map(found_in, answer) if one is not None]
        return [each for one in inside for each in (one if isinstance(one, list) else [one])] or None
    if not isinstance(answer, Mapping):
        return None
    return answer["found"] if "found" in answer else found_in(list(answer.values()))


ABSENT: Final = {
    "id": global_id(Kind.INCIDENT, UUID(int=404)), "ref": "AM-NONE", "report": str(UUID(int=404)),
}  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_reads_what_the_table_shows_it_and_learns_nothing_of_the_rest(
    gateway, scenes, caller, error_codes, role
):
    principal, cells = principal_of(caller, role), 0
    for situation, scene in zip(SITUATIONS, scenes, strict=True):
        for kind, reads in READS.items():
            for one in reads:
                where = f"{role} reads {one.document} {situation.name}"
                answer = await gateway.ask(principal, one.document, **scene.variables(kind))
                found, expected = found_in(answer["data"]), expected_of(principal, one.steps, situation)
                in_list = kind is Kind.TASK and isinstance(found, list)
                if in_list:
                    mine = {scene.ids[Kind.TASK], scene.ids[Kind.REFERRAL]}
                    found = [each for each in found if (each["id"] if isinstance(each, dict) else each) in mine] or None
                if expected == "FORBIDDEN":
                    assert set(error_codes(answer)) == {"FORBIDDEN"}, where
                    assert not found, where
                else:
                    assert error_codes(answer) == [], where
                    assert (found is not None) is (expected == "SHOWN"), where
                if expected == "HIDDEN" and not in_list and "Referral.incident" not in one.covers:
                    assert answer == await gateway.ask(principal, one.document, **ABSENT), where
                cells += 1
    assert cells == len(SITUATIONS) * sum(map(len, READS.values()))


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_commands_what_the_table_lets_it(gateway, owning, scenes, caller, role):
    """Where the row lies is for its owner to judge: an owner that shows nothing answers 404, as here."""
    principal, cells = principal_of(caller, role), 0
    for situation, scene in zip(SITUATIONS, scenes, strict=True):
        for name in COMMANDS:
            where = f"{role} uses {name}, {situation.name}"
            document, fields = command(name.partition(".")[2], ids=scene.ids)
            owning.asked.clear()
            answer = await gateway.ask(principal, document, input=fields)
            if principal.may(PERMISSIONS[name]):
                assert "FORBIDDEN" not in {error["extensions"]["code"] for error in answer.get("errors", ())}, where
            else:
                assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"], where
                assert answer["data"] is None, where
                assert owning.asked == [], where
            cells += 1
    assert cells == len(SITUATIONS) * len(COMMANDS)


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_listens_to_what_the_table_lets_it(gateway, scenes, caller, role):
    principal, cells = principal_of(caller, role), 0
    for situation, scene in zip(SITUATIONS, scenes, strict=True):
        for name, (document, of_rows) in LISTENING.items():
            expected = expected_of(principal, (Step(PERMISSIONS[name], of_rows=of_rows),), situation)
            variables = {"id": scene.ids[Kind.INCIDENT]} if of_rows else {}
            context = gateway.desk.context(principal, trace_id="0" * 32)
            codes = set()
            try:
                stream = await begin(document, variables=variables, operation=None, context=context)
                stream.close()
            except RefusedStreamError as refused:
                codes = {error.extensions["code"] for error in refused.errors}
            said = {"SHOWN": set(), "HIDDEN": {"NOT_FOUND"}, "FORBIDDEN": {"FORBIDDEN"}}[expected]
            assert codes == said, f"{role} listens to {name}, {situation.name}"
            cells += 1
    assert cells == len(SITUATIONS) * len(LISTENING)


def test_the_matrix_has_as_many_cells_as_are_asserted(capsys):
    with capsys.disabled():
        print(f"\naccess matrix: {CELLS} cells, each asserted")
    assert len(Role) * len(SITUATIONS) * len(PERMISSIONS) <= CELLS


# ---------------------------------------------------------------- a command with every required field


def command(name: str, *, ids: Mapping[Kind, str]) -> tuple[str, dict[str, Any]]:
    """Write a mutation from the schema, with a value for each field that it requires."""
    served = CORE.mutation_type.fields[name]
    kind = get_named_type(served.args["input"].type)
    nouns = [
        f"{field_name} {{ id }}"
        for field_name, one in get_named_type(served.type).fields.items()
        if "id" in getattr(get_named_type(one.type), "fields", {})
    ]
    document = f"mutation($input: {kind.name}!) {{ {name}(input: $input) {{ {' '.join(nouns)} errors {{ code }} }} }}"
    return document, _value(kind, name="input", ids=ids)


_KIND_OF_FIELD: Final = {
    "incidentId": Kind.INCIDENT, "otherIncidentId": Kind.INCIDENT, "referralId": Kind.REFERRAL,
    "partnerId": Kind.PARTNER, "taskId": Kind.TASK, "holdId": Kind.HOLD,
}  # fmt: skip
_PLAIN: Final = {"String": "GT", "Int": 1, "Boolean": True, "DateTime": AT}


def _value(kind: Any, *, name: str, ids: Mapping[Kind, str]) -> Any:
    if isinstance(kind, GraphQLNonNull):
        return _value(kind.of_type, name=name, ids=ids)
    if isinstance(kind, GraphQLList):
        return [_value(kind.of_type, name=name, ids=ids)]
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        required = {key: one.type for key, one in kind.fields.items() if is_required_input_field(one)}
        return {key: _value(one, name=key, ids=ids) for key, one in required.items()}
    if kind.name == "ID":
        return ids.get(_KIND_OF_FIELD[name], global_id(Kind.HOLD, UUID(int=9)))
    return _PLAIN[kind.name]
