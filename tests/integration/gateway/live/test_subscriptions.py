"""What listeners are told, and what they are not."""

from __future__ import annotations

import pytest

from amparo_common.events.types import IncidentTie
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import IncidentStatus, Lane, Level, LinkKind, ReferralStatus, Role
from amparo_gateway.domain import Kind, global_id

pytestmark = pytest.mark.anyio

QUEUE = """subscription($lanes: [Lane!]) {
  queueChanged(lanes: $lanes) { removed incident { reference level country claimedBy } }
}"""
INCIDENT = "subscription($id: ID!) { incidentChanged(id: $id) { reference level version } }"
REFERRAL = "subscription { referralReceived { reference status version } }"
GUATEMALA = frozenset({"GT"})


async def test_a_new_incident_comes_into_the_queue_of_everyone_who_may_see_it(live, invented, caller):
    incident = invented.incident(level=Level.P1, lane=Lane.URGENT)
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(QUEUE)
        await live.listeners(1)
        await live.learn(incident)
        change = (await client.next())["queueChanged"]
    assert change["removed"] is False
    assert (change["incident"]["reference"], change["incident"]["level"]) == (incident.reference, "P1")


async def test_a_claim_and_a_new_level_are_changes_within_the_queue(live, invented, caller):
    key = uuid7()
    await live.learn(invented.incident(key))
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(QUEUE)
        await live.listeners(1)
        await live.learn(invented.incident(key, version=2, claimed_by="triager"))
        await live.learn(invented.incident(key, version=3, claimed_by="triager", level=Level.P1, lane=Lane.URGENT))
        changes = [(await client.next())["queueChanged"] for _ in range(2)]
    assert [change["removed"] for change in changes] == [False, False]
    assert [change["incident"]["claimedBy"] for change in changes] == ["triager", "triager"]
    assert changes[1]["incident"]["level"] == "P1"


@pytest.mark.parametrize(
    "left",
    [{"provisional": False}, {"status": IncidentStatus.CLOSED, "provisional": True}],
    ids=["decided", "closed"],
)
async def test_an_incident_that_leaves_the_queue_is_removed_once(live, invented, caller, left):
    key = uuid7()
    await live.learn(invented.incident(key))
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(QUEUE)
        await live.listeners(1)
        await live.learn(invented.incident(key, version=2, **left))
        assert (await client.next())["queueChanged"]["removed"] is True
        await live.learn(invented.incident(key, version=3, **left, report_count=2))
        assert await client.nothing()


async def test_an_incident_that_moves_to_another_country_is_removed_as_it_was_known(live, invented, caller):
    key = uuid7()
    await live.learn(invented.incident(key, country="GT"))
    async with live.client(caller(Role.TRIAGER, countries=GUATEMALA)) as client:
        await client.subscribe(QUEUE)
        await live.listeners(1)
        await live.learn(invented.incident(key, version=2, country="HN"))
        change = (await client.next())["queueChanged"]
        assert (change["removed"], change["incident"]["country"]) == (True, "GT")
        await live.learn(invented.incident(key, version=3, country="HN", level=Level.P1))
        assert await client.nothing()


async def test_one_change_is_judged_for_each_listener(live, invented, caller):
    key = uuid7()
    await live.learn(invented.incident(key, country="GT"))
    here, there = caller(Role.TRIAGER, countries=GUATEMALA), caller(Role.TRIAGER, countries=frozenset({"HN"}))
    async with live.client(here) as first, live.client(there) as second, live.client(caller(Role.AGENT)) as third:
        for client in (first, second, third):
            await client.subscribe(QUEUE)
        await live.listeners(3)
        await live.learn(invented.incident(key, version=2, country="HN"))
        assert (await first.next())["queueChanged"] == {
            "removed": True,
            "incident": {
                "reference": invented.incident(key).reference,
                "level": "P3",
                "country": "GT",
                "claimedBy": None,
            },
        }
        assert (await second.next())["queueChanged"]["removed"] is False
        assert await third.nothing()


async def test_lanes_narrow_the_queue_and_a_raise_moves_an_incident_between_them(live, invented, caller):
    key = uuid7()
    await live.learn(invented.incident(key))
    async with live.client(caller(Role.TRIAGER)) as standard, live.client(caller(Role.TRIAGER)) as urgent:
        await standard.subscribe(QUEUE, lanes=["STANDARD"])
        await urgent.subscribe(QUEUE, lanes=["URGENT"])
        await live.listeners(2)
        await live.learn(invented.incident(key, version=2, lane=Lane.URGENT, level=Level.P1))
        assert (await standard.next())["queueChanged"]["removed"] is True
        assert (await urgent.next())["queueChanged"]["removed"] is False


async def test_an_agent_hears_of_its_own_reports_only(live, invented, caller):
    agent = caller(Role.AGENT)
    mine = invented.incident(owners=(agent.owner,))
    async with live.client(agent) as client:
        await client.subscribe(QUEUE)
        await live.listeners(1)
        await live.learn(invented.incident(owners=("agent:somebody-else",)), mine)
        assert (await client.next())["queueChanged"]["incident"]["reference"] == mine.reference
        assert await client.nothing()


async def test_what_was_known_already_and_what_comes_late_is_told_to_nobody(live, invented, caller):
    key = uuid7()
    first, second = invented.incident(key), invented.incident(key, version=2)
    await live.learn(second)
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(QUEUE)
        await live.listeners(1)
        await live.learn(first)
        await live.learn(second)
        assert await client.nothing()


async def test_of_a_batch_the_newest_version_is_told_once(live, invented, caller):
    key = uuid7()
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(INCIDENT.replace("$id: ID!", "").replace("()", "").replace("(id: $id)", ""))
        refusal = await client.receive()
        assert refusal["type"] == "error"
        await client.subscribe(QUEUE)
        await live.listeners(1)
        await live.learn(invented.incident(key), invented.incident(key, version=2, level=Level.P2))
        assert (await client.next())["queueChanged"]["incident"]["level"] == "P2"
        assert await client.nothing()


async def test_an_incident_is_followed_until_it_may_no_longer_be_seen(live, invented, caller):
    key = uuid7()
    await live.learn(invented.incident(key), invented.incident())
    async with live.client(caller(Role.TRIAGER, countries=GUATEMALA)) as client:
        await client.subscribe(INCIDENT, id=global_id(Kind.INCIDENT, key))
        await live.listeners(1)
        await live.learn(invented.incident(key, version=2, provisional=False, level=Level.P2))
        await live.learn(invented.incident())
        assert (await client.next())["incidentChanged"] == {
            "reference": invented.incident(key).reference,
            "level": "P2",
            "version": 2,
        }
        await live.learn(invented.incident(key, version=3, country="HN"))
        assert await client.receive() == {"type": "complete", "id": "1"}
        await live.listeners(0)


@pytest.mark.parametrize("which", ["unknown", "another country's", "of another kind", "no id"])
async def test_an_incident_that_cannot_be_seen_and_one_that_does_not_exist_are_refused_alike(
    live, invented, caller, which
):
    hidden = invented.incident(country="HN")
    await live.learn(hidden)
    asked = {
        "unknown": global_id(Kind.INCIDENT, uuid7()),
        "another country's": global_id(Kind.INCIDENT, hidden.incident_id),
        "of another kind": global_id(Kind.REFERRAL, hidden.incident_id),
        "no id": "nonsense",
    }[which]
    (refusal,) = await refused(live, caller(Role.TRIAGER, countries=GUATEMALA), INCIDENT, id=asked)
    assert refusal["extensions"] == {"code": "NOT_FOUND"}
    assert refusal["message"] == "There is no incident of this id."


async def refused(live, principal, document, **variables):
    async with live.client(principal) as client:
        await client.subscribe(document, **variables)
        message = await client.receive()
    assert message["type"] == "error", message
    assert live.hub.count() == 0
    return message["payload"]


async def test_a_partner_gets_its_referral_when_it_is_released_and_no_sooner(live, invented, caller):
    key, incident = uuid7(), uuid7()
    waiting = invented.referral(incident, key=key, status=ReferralStatus.AWAITING_APPROVAL)
    released = invented.referral(incident, key=key, version=2, status=ReferralStatus.QUEUED)
    delivered = invented.referral(incident, key=key, version=3, status=ReferralStatus.DELIVERED)
    renewed = invented.referral(incident, key=key, version=4, status=ReferralStatus.DELIVERED, package_version=2)
    others = invented.referral(incident, organisation="another-body")
    async with live.client(caller(Role.PARTNER)) as client:
        await client.subscribe(REFERRAL)
        await live.listeners(1)
        for event in (waiting, others, released, delivered, renewed):
            await live.learn(event)
        assert (await client.next())["referralReceived"]["version"] == 2
        assert (await client.next())["referralReceived"]["version"] == 4
        assert await client.nothing()


async def test_a_referral_that_was_revoked_is_not_received(live, invented, caller):
    referral = invented.referral(uuid7(), status=ReferralStatus.REVOKED)
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(REFERRAL)
        await live.listeners(1)
        await live.learn(referral)
        assert await client.nothing()


@pytest.mark.parametrize(
    ("role", "document"),
    [(Role.PARTNER, QUEUE), (Role.AGENT, REFERRAL), (Role.INTEGRATOR, REFERRAL)],
    ids=["partner, queue", "agent, referrals", "integrator, referrals"],
)
async def test_a_role_is_refused_what_its_queries_are_refused(live, caller, role, document, gateway):
    (refusal,) = await refused(live, caller(role), document)
    assert refusal["extensions"]["code"] == "FORBIDDEN"
    rows = await gateway.own.read(
        lambda session: session.connection().exec_driver_sql("SELECT allowed, subject FROM audit_entry").all()
    )
    assert [row.allowed for row in rows] == [0]


async def test_a_selection_that_asks_for_more_than_facts_is_answered_for_its_own_caller(live, invented, caller):
    """Two callers of one document: what hangs on the caller is not shared between them."""
    key = uuid7()
    await live.learn(invented.incident(key, owners=("agent:sub-agent",)))
    document = """subscription($id: ID!) { incidentChanged(id: $id) {
      history(first: 9) { edges { cursor node { version } } }
      referrals(first: 1) { edges { node { reference } } } } }"""
    node = global_id(Kind.INCIDENT, key)
    async with live.client(caller(Role.TRIAGER)) as triager, live.client(caller(Role.AGENT)) as agent:
        for client in (triager, agent):
            await client.subscribe(document, id=node)
        await live.listeners(2)
        for version in (2, 3):
            await live.learn(invented.incident(key, version=version, owners=("agent:sub-agent",), report_count=version))
            mine, theirs = (await triager.next())["incidentChanged"], (await agent.next())["incidentChanged"]
            versions = [edge["node"]["version"] for edge in mine["history"]["edges"]]
            assert versions == list(range(1, version + 1)), "a loader of an earlier event would know fewer"
            assert mine["history"]["edges"][0]["cursor"] != theirs["history"]["edges"][0]["cursor"]


async def test_what_integrators_may_not_read_is_null_in_every_event_too(live, invented, caller):
    integrator, key = caller(Role.INTEGRATOR), uuid7()
    await live.learn(invented.incident(key, owners=(integrator.owner,)))
    document = "subscription($id: ID!) { incidentChanged(id: $id) { level history(first: 1) { edges { cursor } } } }"
    async with live.client(integrator) as client:
        await client.subscribe(document, id=global_id(Kind.INCIDENT, key))
        await live.listeners(1)
        await live.learn(invented.incident(key, version=2, level=Level.P2, owners=(integrator.owner,)))
        message = await client.receive()
    assert message["payload"]["data"] == {"incidentChanged": {"level": "P2", "history": None}}
    assert message["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_facts_are_executed_once_for_all_listeners(live, invented, caller, monkeypatch):
    from amparo_gateway.schema.streaming import Stream  # noqa: PLC0415 - counted in this test alone

    executed = []
    real = Stream.execute_shared

    def counted(self, sighting, *, context):
        executed.append(sighting.aspect)
        return real(self, sighting, context=context)

    monkeypatch.setattr(Stream, "execute_shared", counted)
    async with live.client(caller(Role.TRIAGER)) as first, live.client(caller(Role.SUPERVISOR)) as second:
        for client in (first, second):
            await client.subscribe(QUEUE)
            await client.subscribe(QUEUE, name="2", lanes=["STANDARD"])
        await live.listeners(4)
        await live.learn(invented.incident())
        answers = [await client.receive() for client in (first, second) for _ in range(2)]
    assert all(answer["payload"] == answers[0]["payload"] for answer in answers)
    assert len(executed) == 2, "one for each different document and variables"


async def test_links_change_an_incident_like_anything_else(live, invented, caller):
    key = uuid7()
    await live.learn(invented.incident(key))
    tie = IncidentTie(
        incident_id=uuid7(), reference="AM-0000-0009", kind=LinkKind.RELATED, by="triager", at=invented.at
    )
    async with live.client(caller(Role.TRIAGER)) as client:
        await client.subscribe(INCIDENT, id=global_id(Kind.INCIDENT, key))
        await live.listeners(1)
        await live.learn(invented.incident(key, version=2, links=(tie,)))
        assert (await client.next())["incidentChanged"]["version"] == 2
