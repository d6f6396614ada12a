"""What is asked of owners beside sensitive text: reasons of links, holds, packages, partners' notes."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text

from amparo_common.events.types import IncidentTie
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import LinkKind, Role
from amparo_gateway.domain import Kind, global_id

pytestmark = pytest.mark.anyio

AT = "2026-03-01T12:00:00.000Z"
NOTES = {
    "notes": [],
    "links": [{"incident_id": str(UUID(int=8)), "reason": "The same handle."}],
    "evidence": [],
}


@pytest.fixture
def owner_urls(owning):
    return dict.fromkeys(("intake", "triage", "referral"), owning.url)


def key_of(incident):
    return global_id(Kind.INCIDENT, incident.incident_id)


async def recorded(gateway):
    query = text("SELECT actor, role, action, subject, purpose, allowed FROM audit_entry ORDER BY sequence")
    return await gateway.own.read(lambda session: [tuple(row) for row in session.execute(query)])


LINKS = "query($id: ID!) { incident(id: $id) { links { incidentId kind reference %s } } }"


async def linked(gateway, invented, *, country):
    """Learn of an incident with a link to number 8, which is of `country`."""
    other = invented.incident(UUID(int=8), country=country, owners=("integrator:sub-integrator",))
    tie = IncidentTie(
        incident_id=other.incident_id,
        reference=other.reference,
        kind=LinkKind.SAME_SUBJECT,
        by="triager",
        at=invented.at,
    )
    one = invented.incident(links=(tie,), owners=("integrator:sub-integrator",))
    await gateway.learn(one, other)
    return one, other


async def test_a_link_shows_the_other_incident_and_asks_for_the_reason_only_when_selected(
    gateway, invented, owning, caller
):
    one, other = await linked(gateway, invented, country="GT")
    path = f"/v1/incidents/{one.incident_id}/notes"
    owning.will("GET", path, NOTES)
    link = {"incidentId": key_of(other), "kind": "SAME_SUBJECT", "reference": other.reference}
    data = await gateway.data(caller(Role.TRIAGER), LINKS % "", id=key_of(one))
    assert data == {"incident": {"links": [link]}}
    assert owning.asked == []
    data = await gateway.data(caller(Role.TRIAGER), LINKS % "reason", id=key_of(one))
    assert data == {"incident": {"links": [link | {"reason": "The same handle."}]}}
    assert owning.asked == [("GET", path, None)]


async def test_a_link_to_an_unseen_incident_is_not_there(gateway, invented, caller):
    one, _ = await linked(gateway, invented, country="BO")
    triager = caller(Role.TRIAGER, countries=frozenset({"GT"}))
    assert await gateway.data(triager, LINKS % "", id=key_of(one)) == {"incident": {"links": []}}


async def test_an_integrator_sees_links_among_its_own_and_no_reason(gateway, invented, owning, caller, error_codes):
    one, other = await linked(gateway, invented, country="GT")
    integrator = caller(Role.INTEGRATOR)
    links = (await gateway.data(integrator, LINKS % "", id=key_of(one)))["incident"]["links"]
    assert [link["reference"] for link in links] == [other.reference]
    answer = await gateway.ask(integrator, LINKS % "reason", id=key_of(one))
    assert error_codes(answer) == ["FORBIDDEN"]
    assert answer["data"] == {"incident": None}
    assert owning.asked == []


async def test_holds_are_asked_of_intake(gateway, invented, owning, caller, error_codes):
    incident = invented.incident(owners=("agent:sub-agent",))
    await gateway.learn(incident)
    hold = {
        "hold_id": str(UUID(int=9)),
        "incident_id": str(incident.incident_id),
        "record_classes": ["CGNAT", "LOGIN"],
        "requested_by": None,
        "placed_by": "supervisor",
        "placed_at": AT,
        "until": "2026-06-01T00:00:00.000Z",
        "released_at": None,
    }
    owning.will("GET", f"/v1/incidents/{incident.incident_id}/holds", {"holds": [hold]})
    document = """query($id: ID!) { incident(id: $id) {
      holds { id recordClasses requestedBy placedAt until releasedAt } } }"""
    data = await gateway.data(caller(Role.TRIAGER), document, id=key_of(incident))
    assert data["incident"]["holds"] == [
        {
            "id": global_id(Kind.HOLD, UUID(int=9)),
            "recordClasses": ["CGNAT", "LOGIN"],
            "requestedBy": "",
            "placedAt": AT,
            "until": "2026-06-01T00:00:00.000Z",
            "releasedAt": None,
        }
    ]
    owning.asked.clear()
    answer = await gateway.ask(caller(Role.AGENT), document, id=key_of(incident))
    assert error_codes(answer) == ["FORBIDDEN"]
    assert owning.asked == []


# ---------------------------------------------------------------- packages

PACKAGE = "query($id: ID!) { referral(id: $id) { package { profile content withheld { field safeguard reason } } } }"
NOTED = "query($id: ID!) { referral(id: $id) { acknowledgements { code note } } }"


@pytest.fixture
async def referral(gateway, invented, owning):
    """A referral that the service referral answers about."""
    one = invented.referral(uuid7())
    await gateway.learn(one)
    owning.will(
        "GET",
        f"/v1/referrals/{one.referral_id}/package",
        {
            "profile": "hotline.v1",
            "content": {"summary": {"level": "P3"}},
            "withheld": [{"field": "reporter.contact", "safeguard": "SG-07", "reason": "Not asked for."}],
            "notes": [
                {"acknowledgement_id": str(one.acknowledgements[0].acknowledgement_id), "note": "We look at it."}
            ],
        },
    )
    return one


async def test_a_package_and_the_notes_come_from_referral_in_one_call(gateway, owning, referral, caller):
    document = """query($id: ID!) { referral(id: $id) {
      package { profile content withheld { field safeguard reason } } acknowledgements { code note } } }"""
    for role in (Role.TRIAGER, Role.SUPERVISOR, Role.PARTNER):
        owning.asked.clear()
        data = await gateway.data(caller(role), document, id=global_id(Kind.REFERRAL, referral.referral_id))
        assert data["referral"] == {
            "package": {
                "profile": "hotline.v1",
                "content": {"summary": {"level": "P3"}},
                "withheld": [{"field": "reporter.contact", "safeguard": "SG-07", "reason": "Not asked for."}],
            },
            "acknowledgements": [{"code": "RECEIVED", "note": "We look at it."}],
        }
        assert len(owning.asked) == 1


async def test_another_organisations_package_is_never_asked_for(gateway, owning, referral, caller):
    key = global_id(Kind.REFERRAL, referral.referral_id)
    other = caller(Role.PARTNER, organisation="another-hotline")
    assert await gateway.data(other, PACKAGE, id=key) == {"referral": None}
    assert owning.asked == []


async def test_an_agent_sees_its_incidents_referrals_without_package_and_notes(
    gateway, invented, owning, caller, error_codes
):
    one = invented.incident(owners=("agent:sub-agent",))
    sent = invented.referral(one.incident_id)
    await gateway.learn(one, sent)
    document = """query($id: ID!) { incident(id: $id) { referrals(first: 1) { edges { node {
      reference package { profile } acknowledgements { code note } } } } } }"""
    answer = await gateway.ask(caller(Role.AGENT), document, id=key_of(one))
    node = answer["data"]["incident"]["referrals"]["edges"][0]["node"]
    assert node == {
        "reference": sent.reference,
        "package": None,
        "acknowledgements": [{"code": "RECEIVED", "note": None}],
    }
    assert error_codes(answer) == ["FORBIDDEN", "FORBIDDEN"]
    assert owning.asked == []
    assert {row[2:4] for row in await recorded(gateway)} == {
        ("Referral.package", sent.reference),
        ("Acknowledgement.note", sent.reference),
    }


async def test_a_referral_without_a_package_selected_asks_nobody(gateway, owning, referral, caller):
    await gateway.data(
        caller(Role.TRIAGER), NOTED.replace(" note", ""), id=global_id(Kind.REFERRAL, referral.referral_id)
    )
    assert owning.asked == []
