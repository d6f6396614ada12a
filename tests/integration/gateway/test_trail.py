"""The audit trail as supervisors and auditors read it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio

TRAIL = """query($first: Int! = 100, $after: String, $filter: AuditFilter) {
  auditEntries(first: $first, after: $after, filter: $filter) { pageInfo { hasNextPage endCursor }
    edges { node { sequence at service actor role action subject purpose allowed hash } } } }"""


@pytest.fixture
def auditor(caller):
    return caller(Role.AUDITOR)


async def trail(gateway, principal, **wish):
    data = await gateway.data(principal, TRAIL, filter=wish)
    return [edge["node"]["sequence"] for edge in data["auditEntries"]["edges"]]


async def test_an_entry_is_answered_whole(gateway, invented, auditor):
    await gateway.learn(invented.audited(1, role="TRIAGER", purpose="TRIAGE", action="incident.reveal"))
    data = await gateway.data(auditor, TRAIL)
    assert [edge["node"] for edge in data["auditEntries"]["edges"]] == [
        {
            "sequence": 1,
            "at": "2026-03-01T12:00:00.000Z",
            "service": "triage",
            "actor": "triager",
            "role": "triager",
            "action": "incident.reveal",
            "subject": "AM-0000-0001",
            "purpose": "TRIAGE",
            "allowed": True,
            "hash": f"{1:064x}",
        }
    ]


async def test_a_purpose_that_no_code_names_is_none(gateway, invented, auditor):
    await gateway.learn(invented.audited(1, purpose="CURIOSITY"))
    data = await gateway.data(auditor, TRAIL)
    assert data["auditEntries"]["edges"][0]["node"]["purpose"] is None


async def test_the_newest_of_all_services_comes_first_over_all_pages(gateway, invented, auditor):
    rows = [
        invented.audited(number, service=service, at=invented.at + timedelta(seconds=(number * 7 + shift) % 11))
        for number in range(1, 8)
        for shift, service in enumerate(("intake", "triage", "gateway"))
    ]
    await gateway.learn(*rows)
    told, after = [], None
    while True:
        page = (await gateway.data(auditor, TRAIL, first=4, after=after))["auditEntries"]
        told += [edge["node"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [node["at"] for node in told] == sorted((node["at"] for node in told), reverse=True)
    assert {(node["service"], node["sequence"]) for node in told} == {(row.service, row.sequence) for row in rows}
    assert len(told) == len(rows)


@pytest.mark.parametrize(
    ("wish", "seen"),
    [
        ({}, [4, 3, 2, 1]),
        ({"services": ["intake"]}, [2]),
        ({"services": ["intake", "triage"], "allowed": True}, [4, 2, 1]),
        ({"actor": "supervisor"}, [3]),
        ({"subject": "AM-7Q4K-2MXD"}, [4]),
        ({"actions": ["incident.reveal", "nothing"]}, [1]),
        ({"allowed": False}, [3]),
        ({"after": "2026-03-01T12:00:02Z"}, [4, 3]),
        ({"before": "2026-03-01T12:00:02Z"}, [1]),
        ({"after": "2026-03-01T12:00:01Z", "before": "2026-03-01T12:00:04Z"}, [3, 2]),
        ({"actor": ""}, []),
        ({"services": [], "actions": None}, [4, 3, 2, 1]),
    ],
)
async def test_each_filter_asks_for_what_it_says(gateway, invented, auditor, wish, seen):
    def at(seconds):
        return invented.at + timedelta(seconds=seconds)

    await gateway.learn(
        invented.audited(1, at=at(1), action="incident.reveal"),
        invented.audited(2, at=at(2), service="intake"),
        invented.audited(3, at=at(3), actor="supervisor", allowed=False),
        invented.audited(4, at=at(4), subject="AM-7Q4K-2MXD"),
    )
    assert await trail(gateway, auditor, **wish) == seen


async def test_who_may_not_read_the_trail_reads_none_of_it(gateway, invented, caller, error_codes):
    await gateway.learn(invented.audited(1))
    for role in Role:
        answer = await gateway.ask(caller(role), TRAIL)
        may = role in {Role.AUDITOR, Role.SUPERVISOR}
        assert error_codes(answer) == ([] if may else ["FORBIDDEN"]), role
        assert bool(answer["data"]["auditEntries"]) is may
