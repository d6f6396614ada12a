"""The directory of partners, and work for a person."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import ReferralStatus, Role
from amparo_gateway.domain import Kind, global_id

pytestmark = pytest.mark.anyio

PARTNERS = """query($first: Int! = 100, $after: String, $country: String) {
  partners(first: $first, after: $after, country: $country) {
    pageInfo { hasNextPage endCursor } edges { node { id name waiting lastDeliveredAt verificationStale } } } }"""
TASKS = """query($first: Int! = 100, $after: String, $open: Boolean! = true) {
  tasks(first: $first, after: $after, open: $open) { pageInfo { hasNextPage endCursor }
    edges { node { id kind completedBy instructions referral { reference } } } } }"""
NODE = "query($id: ID!) { node(id: $id) { id ... on Partner { name } ... on Task { kind } } }"


def nodes(data, field):
    return [edge["node"] for edge in data[field]["edges"]]


@pytest.fixture
def triager(caller):
    return caller(Role.TRIAGER)


async def test_partners_stand_by_name_over_all_pages(gateway, invented, triager):
    names = ["delta", "Alpha", "charlie", "Bravo", "Écoute"]
    await gateway.learn(*(invented.partner(name=name) for name in names))
    told, after = [], None
    while True:
        data = await gateway.data(triager, PARTNERS, first=2, after=after)
        told += [node["name"] for node in nodes(data, "partners")]
        after = data["partners"]["pageInfo"]["endCursor"]
        if not data["partners"]["pageInfo"]["hasNextPage"]:
            break
    assert told == ["Alpha", "Bravo", "charlie", "delta", "Écoute"]


@pytest.mark.parametrize(
    ("country", "seen"),
    [("GT", {"here", "everywhere"}), (" gt ", {"here", "everywhere"}), ("BO", {"there", "everywhere"}),
     ("G", {"everywhere"}), ("%", {"everywhere"}), ("*", {"everywhere"}), (None, {"here", "there", "everywhere"})],
)  # fmt: skip
async def test_a_country_shows_who_works_for_it_and_who_works_for_all(gateway, invented, triager, country, seen):
    await gateway.learn(
        invented.partner(name="here", countries=("SV", "GT")),
        invented.partner(name="there", countries=("BO",)),
        invented.partner(name="everywhere", countries=("*",)),
    )
    data = await gateway.data(triager, PARTNERS, country=country)
    assert {node["name"] for node in nodes(data, "partners")} == seen


async def test_a_partner_is_answered_whole(gateway, invented, triager):
    await gateway.learn(invented.partner(UUID(int=5)))
    document = """{ partners(first: 1) { edges { node { id name destination countries languages adapter acceptsEmergency
      lastVerifiedAt routes { country destination priority release categories levels enabled } } } } }"""
    assert nodes(await gateway.data(triager, document), "partners") == [
        {
            "id": global_id(Kind.PARTNER, UUID(int=5)),
            "name": "Demo hotline",
            "destination": "HOTLINE",
            "countries": ["GT"],
            "languages": ["es"],
            "adapter": "WEBHOOK",
            "acceptsEmergency": False,
            "lastVerifiedAt": "2026-03-01T12:00:00.000Z",
            "routes": [
                {
                    "country": "GT",
                    "destination": "HOTLINE",
                    "priority": 100,
                    "release": "AUTOMATIC",
                    "categories": [],
                    "levels": ["P1"],
                    "enabled": True,
                }
            ],
        }
    ]


async def test_what_waits_and_what_last_arrived_come_from_the_referrals(gateway, invented, caller):
    key, hour = UUID(int=5), timedelta(hours=1)
    to_it = {"partner_id": key, "delivered_at": None}
    await gateway.learn(
        invented.partner(key, countries=("*",)),
        invented.referral(uuid7(), **to_it | {"status": ReferralStatus.QUEUED}),
        invented.referral(uuid7(), **to_it | {"status": ReferralStatus.QUEUED, "country": "BO"}),
        invented.referral(uuid7(), **to_it | {"status": ReferralStatus.AWAITING_REVIEW}),
        invented.referral(uuid7(), **to_it | {"delivered_at": invented.at - hour}),
        invented.referral(uuid7(), **to_it | {"delivered_at": invented.at - 3 * hour}),
        invented.referral(uuid7(), **to_it | {"delivered_at": invented.at, "country": "BO"}),
        invented.referral(uuid7(), partner_id=UUID(int=6), delivered_at=invented.at + hour),
    )
    for principal, waiting, last in (
        (caller(Role.TRIAGER), 2, "2026-03-01T12:00:00.000Z"),
        (caller(Role.ADMIN), 2, "2026-03-01T12:00:00.000Z"),
        (caller(Role.TRIAGER, countries=frozenset({"GT"})), 1, "2026-03-01T11:00:00.000Z"),
        (caller(Role.TRIAGER, countries=frozenset({"PY"})), 0, None),
    ):
        (node,) = nodes(await gateway.data(principal, PARTNERS), "partners")
        assert (node["waiting"], node["lastDeliveredAt"]) == (waiting, last), principal


async def test_a_page_of_partners_or_tasks_costs_two_statements_however_long_it_is(gateway, invented, triager):
    for _ in range(30):
        partner = invented.partner()
        referral = invented.referral(uuid7(), partner_id=partner.partner_id)
        await gateway.learn(partner, referral, invented.task(referral))
    statements = []

    def note(connection, cursor, statement, *rest):
        if statement.startswith("SELECT"):
            statements.append(statement)

    for document, field in ((PARTNERS, "partners"), (TASKS, "tasks")):
        statements.clear()
        event.listen(Engine, "before_cursor_execute", note)
        try:
            data = await gateway.data(triager, document)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert len(nodes(data, field)) == 30
        assert len(statements) == 2, statements


@pytest.mark.parametrize(("days", "stale"), [(0, False), (90, False), (91, True), (None, True)])
async def test_an_entry_that_nobody_verified_for_ninety_days_is_stale(gateway, invented, triager, days, stale):
    verified_at = None if days is None else invented.at - timedelta(days=days)
    await gateway.learn(invented.partner(last_verified_at=verified_at))
    (node,) = nodes(await gateway.data(triager, PARTNERS), "partners")
    assert node["verificationStale"] is stale


async def test_a_referral_shows_its_partner_whole_or_what_it_says_of_it(gateway, invented, triager):
    known, unknown = invented.partner(UUID(int=5), name="Kept in the directory"), UUID(int=6)
    await gateway.learn(known, *(invented.referral(uuid7(), partner_id=key) for key in (known.partner_id, unknown)))
    document = "{ referrals(first: 5) { edges { node { partner { id name languages destination waiting } } } } }"
    found = {
        node["partner"]["name"]: node["partner"] for node in nodes(await gateway.data(triager, document), "referrals")
    }
    assert found["Kept in the directory"]["languages"] == ["es"]
    assert found["Demo hotline"] == {
        "id": global_id(Kind.PARTNER, unknown),
        "name": "Demo hotline",
        "languages": [],
        "destination": "HOTLINE",
        "waiting": 0,
    }


async def test_tasks_stand_by_when_they_are_due_and_completed_ones_apart(gateway, invented, triager):
    referral = invented.referral(uuid7())
    late, soon, done = (invented.at + timedelta(hours=hours) for hours in (9, 1, 2))
    await gateway.learn(
        referral,
        invented.task(referral, due_at=late),
        invented.task(referral, due_at=soon),
        invented.task(referral, due_at=done, completed_at=invented.at, completed_by="triager"),
    )
    waiting = [(await gateway.data(triager, TASKS, first=1))["tasks"]]
    waiting.append((await gateway.data(triager, TASKS, first=1, after=waiting[0]["pageInfo"]["endCursor"]))["tasks"])
    assert [page["pageInfo"]["hasNextPage"] for page in waiting] == [True, False]
    assert len({page["edges"][0]["node"]["id"] for page in waiting}) == 2
    (node,) = nodes(await gateway.data(triager, TASKS, open=False), "tasks")
    assert node["completedBy"] == "triager"
    assert node["referral"]["reference"] == referral.reference


async def test_instructions_come_in_the_language_asked_for(gateway, invented, triager):
    referral = invented.referral(uuid7())
    await gateway.learn(referral, invented.task(referral))
    document = '{ tasks(first: 1) { edges { node { en: instructions es: instructions(language: "es-BO") } } } }'
    (node,) = nodes(await gateway.data(triager, document), "tasks")
    assert node == {"en": "Call the duty desk.", "es": "Llame a la mesa de guardia."}


async def test_a_task_is_seen_only_with_its_referral(gateway, invented, caller):
    here, there = invented.referral(uuid7()), invented.referral(uuid7(), country="BO")
    unknown = invented.referral(uuid7())
    tasks = [invented.task(here), invented.task(there), invented.task(unknown), invented.task(there, country="GT")]
    await gateway.learn(here, there, *tasks)
    triager = caller(Role.TRIAGER, countries=frozenset({"GT"}))
    seen = {node["id"] for node in nodes(await gateway.data(triager, TASKS), "tasks")}
    assert seen == {global_id(Kind.TASK, tasks[0].task_id)}
    for task in tasks:
        key = global_id(Kind.TASK, task.task_id)
        assert bool((await gateway.data(triager, NODE, id=key))["node"]) is (key in seen)


async def test_partner_and_task_are_found_by_their_ids(gateway, invented, triager, caller):
    referral = invented.referral(uuid7())
    partner, task = invented.partner(), invented.task(referral)
    await gateway.learn(partner, referral, task)
    ids = global_id(Kind.PARTNER, partner.partner_id), global_id(Kind.TASK, task.task_id)
    assert [(await gateway.data(triager, NODE, id=key))["node"] for key in ids] == [
        {"id": ids[0], "name": "Demo hotline"},
        {"id": ids[1], "kind": "PHONE_THEN_WRITTEN"},
    ]
    for role in (Role.AGENT, Role.PARTNER, Role.INTEGRATOR, Role.AUDITOR):
        assert [(await gateway.data(caller(role), NODE, id=key))["node"] for key in ids] == [None, None]


async def test_only_newer_entries_change_the_directory(gateway, invented, triager):
    key = UUID(int=5)
    await gateway.learn(invented.partner(key, version=3, name="third"))
    await gateway.learn(invented.partner(key, version=2, name="second"))
    assert [node["name"] for node in nodes(await gateway.data(triager, PARTNERS), "partners")] == ["third"]
