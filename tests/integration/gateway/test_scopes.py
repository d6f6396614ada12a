"""Who sees what: every field that reads rows, as every role, against rows in and out of reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from amparo_common.auth.permissions import Permission, Reach
from amparo_common.vocabulary.codes import ReferralStatus, Role
from amparo_gateway import domain
from amparo_gateway.domain import Kind, global_id
from amparo_gateway.schema.context import PERMISSIONS, scope_of

pytestmark = pytest.mark.anyio

CALLERS = {
    role: {
        "countries": frozenset({"GT"}),
        "subject": "sub-me",
        "organisation": "demo-hotline" if role is Role.PARTNER else None,
    }
    for role in Role
}
OWNERS = {Role.AGENT: "agent:sub-me", Role.INTEGRATOR: "integrator:sub-me"}


@dataclass(frozen=True)
class Row:
    """A row and how far a permission must reach to show it."""

    name: str
    shown_to: frozenset[Reach]
    incident: dict[str, Any]
    referral: dict[str, Any]


ROWS = [
    Row(
        "in the country",
        frozenset({Reach.ALL, Reach.COUNTRIES}),
        {"country": "GT"},
        {"country": "GT", "organisation": None},
    ),
    Row("of another country", frozenset({Reach.ALL}), {"country": "BO"}, {"country": "BO", "organisation": None}),
    Row("one's own", frozenset({Reach.ALL, Reach.OWN}), {"country": "BO", "owners": None}, {}),
    Row(
        "of another owner", frozenset({Reach.ALL}), {"country": "BO", "owners": ("agent:sub-x", "integrator:sub-x")}, {}
    ),
    Row("of the organisation", frozenset({Reach.ALL, Reach.ORGANISATION}), {}, {"country": "BO"}),
    Row("of another organisation", frozenset({Reach.ALL}), {}, {"country": "BO", "organisation": "another-hotline"}),
    Row(
        "of the organisation, not yet released",
        frozenset({Reach.ALL}),
        {},
        {"country": "BO", "status": ReferralStatus.AWAITING_APPROVAL},
    ),
]
INCIDENT_FIELDS = {
    "Query.incidents": "query($ref: String!) { found: incidents(first: 9, filter: {reference: $ref}) "
    "{ edges { node { id } } } }",
    "Query.incident": "query($id: ID!) { found: incident(id: $id) { id } }",
    "Query.incidentByReport": "query($report: ID!) { found: incidentByReport(reportId: $report) { id } }",
}
REFERRAL_FIELDS = {
    "Query.referrals": "query($ref: String!) { found: referrals(first: 9, filter: {reference: $ref}) "
    "{ edges { node { id } } } }",
    "Query.referral": "query($id: ID!) { found: referral(id: $id) { id } }",
}
NODE = "query($id: ID!) { found: node(id: $id) { id } }"


def id_in(found: Any) -> str | None:
    """Return the id that an answer holds; None when it holds nothing."""
    if found and "edges" in found:
        found = next((edge["node"] for edge in found["edges"]), None)
    return found["id"] if found else None


@pytest.mark.parametrize("row", [row for row in ROWS if row.incident], ids=lambda row: row.name)
@pytest.mark.parametrize("role", list(Role))
async def test_an_incident_is_seen_by_whom_the_table_shows_it(gateway, caller, error_codes, role, row):
    principal = caller(role, **CALLERS[role])
    owners = row.incident.get("owners", ()) if "owners" in row.incident else ()
    owners = tuple(OWNERS.values()) if owners is None else owners
    incident = gateway.invented.incident(**row.incident | {"owners": owners})
    await gateway.learn(incident)
    key = global_id(Kind.INCIDENT, incident.incident_id)
    variables = {"id": key, "report": str(incident.incident_id), "ref": incident.reference}
    for field, document in INCIDENT_FIELDS.items():
        reach = principal.may(PERMISSIONS[field])
        answer = await gateway.ask(principal, document, **variables)
        assert error_codes(answer) == ([] if reach else ["FORBIDDEN"]), field
        assert (id_in(answer["data"]["found"]) == key) is (reach in row.shown_to), field
    answer = await gateway.ask(principal, NODE, id=key)
    may_node = bool(principal.may(Permission.READ_NODE))
    assert error_codes(answer) == ([] if may_node else ["FORBIDDEN"])
    shown = may_node and principal.may(Permission.READ_INCIDENTS) in row.shown_to
    assert (id_in(answer["data"]["found"]) == key) is shown


@pytest.mark.parametrize("row", [row for row in ROWS if row.referral], ids=lambda row: row.name)
@pytest.mark.parametrize("role", list(Role))
async def test_a_referral_is_seen_by_whom_the_table_shows_it(gateway, caller, error_codes, role, row):
    principal = caller(role, **CALLERS[role])
    incident = gateway.invented.incident(country="BO")
    referral = gateway.invented.referral(incident.incident_id, **row.referral)
    await gateway.learn(incident, referral)
    key = global_id(Kind.REFERRAL, referral.referral_id)
    for field, document in REFERRAL_FIELDS.items():
        reach = principal.may(PERMISSIONS[field])
        answer = await gateway.ask(principal, document, id=key, ref=referral.reference)
        assert error_codes(answer) == ([] if reach else ["FORBIDDEN"]), field
        assert (id_in(answer["data"]["found"]) == key) is (reach in row.shown_to), field
    answer = await gateway.ask(principal, NODE, id=key)
    shown = bool(principal.may(Permission.READ_NODE)) and principal.may(Permission.READ_REFERRALS) in row.shown_to
    assert (id_in((answer["data"] or {}).get("found")) == key) is shown


@pytest.mark.parametrize("field", ["history", "referrals"])
@pytest.mark.parametrize("role", list(Role))
async def test_what_hangs_on_an_incident_is_null_and_forbidden_where_the_table_says_so(
    gateway, caller, error_codes, role, field
):
    principal = caller(role, **CALLERS[role])
    incident = gateway.invented.incident(country="GT", owners=tuple(OWNERS.values()))
    await gateway.learn(incident, gateway.invented.referral(incident.incident_id))
    document = f"query($id: ID!) {{ incident(id: $id) {{ id {field}(first: 5) {{ edges {{ cursor }} }} }} }}"
    answer = await gateway.ask(principal, document, id=global_id(Kind.INCIDENT, incident.incident_id))
    if not principal.may(Permission.READ_INCIDENTS):
        assert error_codes(answer) == ["FORBIDDEN"]
        assert answer["data"] == {"incident": None}
    elif not principal.may(PERMISSIONS[f"Incident.{field}"]):
        assert error_codes(answer) == ["FORBIDDEN"]
        assert answer["data"]["incident"][field] is None
        assert answer["data"]["incident"]["id"]
    else:
        assert error_codes(answer) == []
        assert len(answer["data"]["incident"][field]["edges"]) == 1


async def test_a_joined_report_of_an_unseen_incident_leads_nowhere(gateway, invented, caller):
    key, report_id = domain.UUID(int=70), domain.UUID(int=71)
    await gateway.learn(invented.incident(key, country="BO"), invented.joined(key, report_id))
    document = "query($id: ID!) { incidentByReport(reportId: $id) { id } }"
    for principal in (caller(Role.TRIAGER, countries=frozenset({"GT"})), caller(Role.AGENT), caller(Role.INTEGRATOR)):
        assert await gateway.data(principal, document, id=str(report_id)) == {"incidentByReport": None}
    seen = await gateway.data(caller(Role.TRIAGER, countries=frozenset({"BO"})), document, id=str(report_id))
    assert seen["incidentByReport"]["id"] == global_id(Kind.INCIDENT, key)


@pytest.mark.parametrize("role", list(Role))
async def test_who_may_ask_at_all_learns_who_they_are(gateway, caller, error_codes, role):
    principal = caller(role)
    answer = await gateway.ask(principal, "{ me { name } }")
    if principal.may(Permission.READ_ME):
        assert answer == {"data": {"me": {"name": principal.name}}}
    else:
        assert answer["data"] is None
        assert error_codes(answer) == ["FORBIDDEN"]


async def test_a_partner_sees_its_referral_and_never_the_incident(gateway, invented, caller):
    incident = invented.incident()
    await gateway.learn(incident, invented.referral(incident.incident_id))
    document = "{ referrals(first: 5) { edges { node { reference incident { id } partner { name } } } } }"
    edges = (await gateway.data(caller(Role.PARTNER), document))["referrals"]["edges"]
    assert [edge["node"]["incident"] for edge in edges] == [None]


async def test_a_triager_of_the_referrals_country_does_not_see_another_countrys_incident(gateway, invented, caller):
    incident = invented.incident(country="BO")
    await gateway.learn(incident, invented.referral(incident.incident_id, country="GT"))
    triager = caller(Role.TRIAGER, countries=frozenset({"GT"}))
    document = "{ referrals(first: 5) { edges { node { incident { id } } } } }"
    assert (await gateway.data(triager, document))["referrals"]["edges"] == [{"node": {"incident": None}}]


@pytest.mark.parametrize(
    "unseen",
    ["", "not-an-id", "SQ", "' OR 1=1 --", "*", "%", "I" * 5_000, str(domain.UUID(int=5)), "\u0000", "Incident:1"],
)
@pytest.mark.parametrize("role", [Role.TRIAGER, Role.AGENT, Role.INTEGRATOR])
async def test_an_id_that_names_nothing_is_null_and_never_an_error(gateway, caller, role, unseen):
    document = (
        "query($id: ID!) { incident(id: $id) { id } incidentByReport(reportId: $id) { id } node(id: $id) { id } }"
    )
    data = await gateway.data(caller(role), document, id=unseen)
    assert data == {"incident": None, "incidentByReport": None, "node": None}


async def test_an_unseen_incident_answers_as_one_that_does_not_exist(gateway, invented, caller):
    """The same answer, byte for byte, so that nothing tells which ids are taken."""
    incident = invented.incident(country="BO")
    await gateway.learn(incident)
    document = "query($id: ID!, $report: ID!) { incident(id: $id) { id } incidentByReport(reportId: $report) { id } }"
    for principal in (caller(Role.AGENT), caller(Role.TRIAGER, countries=frozenset({"GT"}))):
        unseen = [
            await gateway.ask(principal, document, id=global_id(Kind.INCIDENT, key), report=str(key))
            for key in (incident.incident_id, domain.UUID(int=404))
        ]
        assert unseen[0] == unseen[1]


async def test_an_incident_with_several_owners_is_seen_by_each(gateway, invented, caller):
    key = domain.UUID(int=77)
    await gateway.learn(invented.incident(key, owners=("agent:sub-a",)))
    await gateway.learn(invented.incident(key, version=2, owners=("agent:sub-a", "agent:sub-b")))
    document = "{ incidents(first: 5) { edges { node { reference } } } }"
    for subject, seen in (("sub-a", 1), ("sub-b", 1), ("sub-c", 0)):
        data = await gateway.data(caller(Role.AGENT, subject=subject), document)
        assert len(data["incidents"]["edges"]) == seen, subject


@pytest.mark.parametrize(
    ("role", "fields"),
    [
        (Role.TRIAGER, {"countries": frozenset()}),
        (Role.PARTNER, {"organisation": None}),
        (Role.PARTNER, {"organisation": ""}),
        (Role.ANONYMOUS, {}),
        (Role.REPORTER_APP, {}),
        (Role.SERVICE, {}),
    ],
)
def test_without_the_claim_that_a_reach_needs_nothing_is_shown(caller, role, fields):
    principal = caller(role, **fields)
    shown = {scope_of(principal, permission) for permission in (Permission.READ_INCIDENTS, Permission.READ_REFERRALS)}
    assert shown == {domain.Nothing()}


def test_someone_without_a_role_reads_nothing(caller):
    principal = caller(())
    assert {scope_of(principal, permission) for permission in PERMISSIONS.values()} == {domain.Nothing()}
