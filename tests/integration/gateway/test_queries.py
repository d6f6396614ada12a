from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from amparo_common.events.types import ClockReading, ProposedLowering
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    ClockKind,
    ClockState,
    Destination,
    IncidentStatus,
    Lane,
    Level,
    ReferralStatus,
    Role,
)
from amparo_common.vocabulary.guidelines import GUIDELINES
from amparo_gateway.domain import Kind, global_id

pytestmark = pytest.mark.anyio

PAGE = """query($filter: IncidentFilter, $order: IncidentOrder! = QUEUE, $first: Int! = 100, $after: String) {
  incidents(first: $first, after: $after, filter: $filter, orderBy: $order) {
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { reference } } } }"""
INCIDENT = """
  id reference level provisional status category secondaryCategories country version reportCount claimedBy
  decision {
    pack packDigest baseLevel level human awaitingSignature proposedDestinations reasons(language: "en")
    rules { id floor factors } factors { factor source confirmed } guidelines { id edition area paraphrase }
  }
  referrals(first: 10) { edges { node { id reference status acknowledgements { code } } } }
"""
REFERRALS = """query($filter: ReferralFilter, $first: Int! = 100, $after: String) {
  referrals(first: $first, after: $after, filter: $filter) {
    pageInfo { hasNextPage endCursor } edges { node { reference } } } }"""


def found(data, field="incidents"):
    return [edge["node"]["reference"] for edge in data[field]["edges"]]


@pytest.fixture
def triager(caller):
    return caller(Role.TRIAGER)


async def test_an_incident_is_answered_whole_by_the_report_that_opened_it(gateway, invented, triager):
    incident = invented.incident(level=Level.P1, owners=())
    referral = invented.referral(incident.incident_id)
    await gateway.learn(incident, referral)
    document = f"query($id: ID!) {{ incidentByReport(reportId: $id) {{ {INCIDENT} }} }}"
    answer = (await gateway.data(triager, document, id=str(incident.incident_id)))["incidentByReport"]
    assert answer["level"] == "P1"
    assert answer["decision"]["rules"] == [{"id": "R01", "floor": "P1", "factors": ["IMMINENT_DANGER"]}]
    assert answer["decision"]["factors"] == [{"factor": "IMMINENT_DANGER", "source": "REPORTER", "confirmed": None}]
    assert answer["decision"]["reasons"] == ["A reason."]
    assert answer["referrals"]["edges"][0]["node"]["acknowledgements"] == [{"code": "RECEIVED"}]
    assert await gateway.data(
        triager, f"query($id: ID!) {{ incident(id: $id) {{ {INCIDENT} }} }}", id=answer["id"]
    ) == {"incident": answer}


async def test_a_joined_report_leads_to_its_incident_whatever_came_first(gateway, invented, triager):
    incident, report_id = invented.incident(), uuid7()
    document = "query($id: ID!) { incidentByReport(reportId: $id) { reference } }"
    await gateway.learn(invented.joined(incident.incident_id, report_id, version=2))
    assert await gateway.data(triager, document, id=str(report_id)) == {"incidentByReport": None}
    await gateway.learn(incident)
    expected = {"incidentByReport": {"reference": incident.reference}}
    assert await gateway.data(triager, document, id=str(report_id)) == expected
    assert await gateway.data(triager, document, id=str(incident.incident_id)) == expected


async def test_every_field_of_an_incident_says_what_the_event_said(gateway, invented, triager):
    lowering = ProposedLowering(level=Level.P3, category=Category.GROOMING, by="triager", at=invented.at)
    clock = ClockReading(
        kind=ClockKind.HUMAN_TRIAGE,
        state=ClockState.MET,
        started_at=invented.at,
        due_at=invented.at + timedelta(minutes=15),
        completed_at=invented.at + timedelta(minutes=3, microseconds=1500),
    )
    incident = invented.incident(
        level=Level.P1,
        provisional=False,
        awaiting_signature=True,
        proposed_lowering=lowering,
        clocks=(clock,),
        secondary_categories=(Category.SEXTORTION,),
        channels=(Channel.SMS, Channel.WEB),
        claimed_by="triager",
        claimed_until=invented.at + timedelta(minutes=30),
    )
    await gateway.learn(incident)
    document = """{ incidents(first: 1) { edges { node {
      __typename channels secondaryCategories receivedAt dueAt claimedBy claimedUntil
      clocks { kind state startedAt dueAt completedAt }
      decision { version score decidedBy decidedAt awaitingSignature proposedLowering { level category by at }
        spanish: reasons(language: "es-GT") none: reasons english: reasons(language: "fr") } } } } }"""
    node = (await gateway.data(triager, document))["incidents"]["edges"][0]["node"]
    assert node == {
        "__typename": "Incident",
        "channels": ["SMS", "WEB"],
        "secondaryCategories": ["SEXTORTION"],
        "receivedAt": "2026-03-01T12:00:00.000Z",
        "dueAt": "2026-03-01T13:00:00.000Z",
        "claimedBy": "triager",
        "claimedUntil": "2026-03-01T12:30:00.000Z",
        "clocks": [
            {
                "kind": "HUMAN_TRIAGE",
                "state": "MET",
                "startedAt": "2026-03-01T12:00:00.000Z",
                "dueAt": "2026-03-01T12:15:00.000Z",
                "completedAt": "2026-03-01T12:03:00.001Z",
            }
        ],
        "decision": {
            "version": 1,
            "score": 10,
            "decidedBy": None,
            "decidedAt": "2026-03-01T12:00:00.000Z",
            "awaitingSignature": True,
            "proposedLowering": {
                "level": "P3",
                "category": "GROOMING",
                "by": "triager",
                "at": "2026-03-01T12:00:00.000Z",
            },
            "spanish": ["Una razón."],
            "none": ["A reason."],
            "english": ["A reason."],
        },
    }


async def test_a_guideline_is_cited_in_full_and_an_unknown_one_keeps_its_id(gateway, invented, triager):
    known = next(iter(GUIDELINES.values()))
    incident = invented.incident()
    decision = type(incident.decision)(
        **{name: getattr(incident.decision, name) for name in incident.decision.__struct_fields__}
        | {"guidelines": (known.id, "G-GONE")}
    )
    await gateway.learn(invented.incident(decision=decision))
    document = "{ incidents(first: 1) { edges { node { decision { guidelines { id edition area paraphrase } } } } } }"
    node = (await gateway.data(triager, document))["incidents"]["edges"][0]["node"]
    first, second = node["decision"]["guidelines"]
    assert first == {"id": known.id, "edition": known.edition, "area": known.area, "paraphrase": known.paraphrase}
    assert second["id"] == "G-GONE"


async def test_the_queue_stands_by_level_due_score_receipt_and_id(gateway, invented, triager):
    at = invented.at
    soon, late = at + timedelta(hours=1), at + timedelta(hours=2)
    ordered = [
        invented.incident(UUID(int=9), level=Level.P1, due_at=late),
        invented.incident(UUID(int=8), level=Level.P1, due_at=None, score=99),
        invented.incident(UUID(int=7), level=Level.P2, due_at=soon, score=50),
        invented.incident(UUID(int=6), level=Level.P2, due_at=soon, score=40, received_at=at),
        invented.incident(UUID(int=4), level=Level.P2, due_at=soon, score=40, received_at=at + timedelta(seconds=1)),
        invented.incident(UUID(int=5), level=Level.P2, due_at=soon, score=40, received_at=at + timedelta(seconds=1)),
        invented.incident(UUID(int=3), level=Level.P4, due_at=at - timedelta(days=1)),
    ]
    await gateway.learn(*reversed(ordered))
    assert found(await gateway.data(triager, PAGE)) == [one.reference for one in ordered]


async def test_incidents_stand_newest_or_oldest_first_when_asked(gateway, invented, triager):
    made = [invented.incident(received_at=invented.at + timedelta(minutes=n)) for n in (2, 1, 3)]
    await gateway.learn(*made)
    oldest = [made[1].reference, made[0].reference, made[2].reference]
    assert found(await gateway.data(triager, PAGE, order="OLDEST")) == oldest
    assert found(await gateway.data(triager, PAGE, order="NEWEST")) == oldest[::-1]


async def test_each_filter_finds_its_own(gateway, invented, triager):
    at = invented.at
    plain = invented.incident(due_at=None)
    odd = invented.incident(
        level=Level.P1,
        status=IncidentStatus.CLOSED,
        category=Category.GROOMING,
        country="BO",
        channels=(Channel.SMS, Channel.APP),
        lane=Lane.URGENT,
        claimed_by="triager",
        awaiting_signature=True,
        due_at=at - timedelta(seconds=1),
        received_at=at - timedelta(days=1),
    )
    await gateway.learn(plain, odd)
    day_before = (at - timedelta(hours=12)).isoformat()
    filters = {
        "levels": (["P1", "P2"], ["P3"]),
        "statuses": (["CLOSED"], ["OPEN", "DECIDED"]),
        "categories": (["GROOMING"], ["CYBERBULLYING"]),
        "countries": (["BO", "SN"], ["GT"]),
        "channels": (["APP", "USSD"], ["WEB"]),
        "lane": ("URGENT", "STANDARD"),
        "claimedByMe": (True, False),
        "inQueue": (False, True),
        "awaitingSignature": (True, False),
        "overdue": (True, False),
        "reference": (odd.reference, plain.reference),
    }
    for name, (of_odd, of_plain) in filters.items():
        assert found(await gateway.data(triager, PAGE, filter={name: of_odd})) == [odd.reference], name
        assert found(await gateway.data(triager, PAGE, filter={name: of_plain})) == [plain.reference], name
    assert found(await gateway.data(triager, PAGE, filter={"receivedBefore": day_before})) == [odd.reference]
    assert found(await gateway.data(triager, PAGE, filter={"receivedAfter": day_before})) == [plain.reference]
    spoken = {"reference": f" {odd.reference.lower()} "}
    assert found(await gateway.data(triager, PAGE, filter=spoken)) == [odd.reference]
    both = {"levels": [], "statuses": None}
    assert len(found(await gateway.data(triager, PAGE, filter=both))) == 2
    assert found(await gateway.data(triager, PAGE, filter={"reference": "AM-NONE"})) == []


async def test_a_list_longer_than_any_real_one_is_refused(gateway, triager, error_codes):
    many = {"countries": [f"X{number}" for number in range(300)]}
    answer = await gateway.ask(triager, PAGE, filter=many)
    assert error_codes(answer) == ["INVALID"]
    assert "countries" in answer["errors"][0]["message"]
    assert found(await gateway.data(triager, PAGE, filter={"countries": ["GT"] * 300})) == []


async def test_pages_join_without_a_gap_or_a_repeat_while_incidents_come_in(gateway, invented, triager):
    at = invented.at
    known = [invented.incident(due_at=at + timedelta(minutes=n), score=n % 3) for n in range(20)]
    await gateway.learn(*known)
    seen, after = [], None
    while True:
        page = (await gateway.data(triager, PAGE, first=3, after=after))["incidents"]
        seen += [edge["node"]["reference"] for edge in page["edges"]]
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        after = page["pageInfo"]["endCursor"]
        # One new incident before everything and one behind it come between two pages.
        await gateway.learn(invented.incident(level=Level.P1), invented.incident(level=Level.P4))
        if not page["pageInfo"]["hasNextPage"]:
            break
        assert len(seen) < 60
    assert [reference for reference in seen if reference in {one.reference for one in known}] == [
        one.reference for one in known
    ]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("order", ["QUEUE", "NEWEST", "OLDEST"])
async def test_a_page_of_each_order_goes_on_where_the_last_ended(gateway, invented, triager, order):
    await gateway.learn(*(invented.incident(received_at=invented.at + timedelta(seconds=n)) for n in range(5)))
    whole = found(await gateway.data(triager, PAGE, order=order))
    first = (await gateway.data(triager, PAGE, order=order, first=2))["incidents"]
    rest = await gateway.data(triager, PAGE, order=order, after=first["pageInfo"]["endCursor"])
    assert found({"incidents": first}) + found(rest) == whole
    assert first["pageInfo"]["startCursor"] == first["edges"][0]["cursor"]


async def test_a_cursor_serves_its_own_list_and_caller_only(gateway, invented, caller, error_codes):
    await gateway.learn(*(invented.incident() for _ in range(3)))
    one, other = caller(Role.TRIAGER), caller(Role.TRIAGER, subject="sub-other")
    cursor = (await gateway.data(one, PAGE, first=1))["incidents"]["pageInfo"]["endCursor"]
    assert len(found(await gateway.data(one, PAGE, after=cursor))) == 2
    for principal, order in ((one, "NEWEST"), (other, "QUEUE")):
        answer = await gateway.ask(principal, PAGE, after=cursor, order=order)
        assert error_codes(answer) == ["INVALID"]
        assert answer["data"] == {"incidents": None}


@pytest.mark.parametrize(("first", "code"), [(0, "INVALID"), (-1, "INVALID"), (101, "LIMIT_EXCEEDED")])
async def test_a_page_has_from_one_to_a_hundred(gateway, triager, error_codes, first, code):
    answer = await gateway.ask(triager, PAGE, first=first)
    assert error_codes(answer) == [code]
    assert not (answer["data"] or {}).get("incidents")


async def test_referrals_are_found_newest_first_and_by_filter(gateway, invented, triager):
    at = invented.at
    old = invented.referral(uuid7(), created_at=at - timedelta(days=1), due_at=at - timedelta(minutes=1))
    new = invented.referral(uuid7(), status=ReferralStatus.QUEUED, destination=Destination.LAW_ENFORCEMENT)
    await gateway.learn(old, new)
    assert found(await gateway.data(triager, REFERRALS), "referrals") == [new.reference, old.reference]
    filters = {
        "statuses": (["QUEUED"], ["ACKNOWLEDGED", "ACCEPTED"]),
        "destinations": (["LAW_ENFORCEMENT"], ["HOTLINE"]),
        "overdue": (False, True),
        "reference": (new.reference, old.reference),
    }
    for name, (of_new, of_old) in filters.items():
        assert found(await gateway.data(triager, REFERRALS, filter={name: of_new}), "referrals") == [new.reference], (
            name
        )
        assert found(await gateway.data(triager, REFERRALS, filter={name: of_old}), "referrals") == [old.reference], (
            name
        )
    first = (await gateway.data(triager, REFERRALS, first=1))["referrals"]
    assert first["pageInfo"]["hasNextPage"]
    rest = await gateway.data(triager, REFERRALS, after=first["pageInfo"]["endCursor"])
    assert found(rest, "referrals") == [old.reference]


async def test_a_referral_leads_to_its_incident_its_partner_and_back_by_node(gateway, invented, triager):
    incident = invented.incident()
    referral = invented.referral(incident.incident_id)
    await gateway.learn(incident, referral)
    document = """query($id: ID!) { node(id: $id) { __typename id ... on Referral {
      partner { id name adapter } incident { reference } attempts { number } lawfulBasis isTest } } }"""
    key = global_id(Kind.REFERRAL, referral.referral_id)
    node = (await gateway.data(triager, document, id=key))["node"]
    assert node == {
        "__typename": "Referral",
        "id": key,
        "partner": {"id": global_id(Kind.PARTNER, referral.partner_id), "name": "Demo hotline", "adapter": "WEBHOOK"},
        "incident": {"reference": incident.reference},
        "attempts": [],
        "lawfulBasis": "VITAL_INTEREST",
        "isTest": False,
    }
    assert (await gateway.data(triager, document, id=node["partner"]["id"]))["node"] is None


async def test_history_tells_each_version_once_over_all_pages(gateway, invented, triager):
    key = uuid7()
    versions = [
        invented.incident(key),
        invented.incident(key, version=2, level=Level.P1, change="raised"),
        invented.incident(key, version=4, level=Level.P1, change="claimed", actor_role=Role.TRIAGER),
        invented.incident(key, version=7, level=Level.P1, change="closed", actor_role=Role.SUPERVISOR),
    ]
    await gateway.learn(*versions)
    document = """query($id: ID!, $after: String) { incident(id: $id) { history(first: 2, after: $after) {
      pageInfo { hasNextPage endCursor } edges { node { version kind actorRole summary at } } } } }"""
    told, after = [], None
    while True:
        data = await gateway.data(triager, document, id=global_id(Kind.INCIDENT, key), after=after)
        page = data["incident"]["history"]
        told += [tuple(edge["node"][name] for name in ("version", "kind", "actorRole")) for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert told == [
        (1, "triaged", "SYSTEM"),
        (2, "raised", "SYSTEM"),
        (4, "claimed", "TRIAGER"),
        (7, "closed", "SUPERVISOR"),
    ]


async def test_a_page_of_incidents_with_all_that_hangs_on_it_costs_five_statements(gateway, invented, triager):
    for _ in range(30):
        incident = invented.incident()
        await gateway.learn(incident, invented.referral(incident.incident_id), invented.referral(incident.incident_id))
    document = """{ incidents(first: 30) { edges { node { reference decision { level rules { id } }
      referrals(first: 5) { edges { node { reference partner { name } incident { reference } } } }
      history(first: 5) { edges { node { summary } } } } } } }"""
    statements = []

    def note(connection, cursor, statement, *rest):
        if statement.startswith("SELECT"):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        data = await gateway.data(triager, document)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    nodes = [edge["node"] for edge in data["incidents"]["edges"]]
    assert all(len(node["referrals"]["edges"]) == 2 for node in nodes)
    # The page, the referrals of all, the history of all, the incidents and the partners of all referrals.
    assert len(statements) == 5, statements


async def test_me_says_who_asks_and_what_the_role_may(gateway, caller):
    document = "{ me { subject name roles organisation permissions } }"
    me = (await gateway.data(caller(Role.PARTNER), document))["me"]
    assert (me["subject"], me["name"], me["roles"], me["organisation"]) == (
        "sub-partner",
        "partner",
        ["partner"],
        "demo-hotline",
    )
    assert "READ_REFERRALS" in me["permissions"]
    assert "READ_INCIDENTS" not in me["permissions"]
