"""Which reports become one incident."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from amparo_common.crypto.parts import Account, HashReference
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Category, Factor, Level

pytestmark = pytest.mark.anyio
PAGE = "https://gallery.example.net/p/77"


async def test_a_report_opens_an_incident_with_its_own_id_and_is_told_of(desk):
    report = desk.report("A page with a strange film.", category=Category.HARMFUL_CONTENT)
    await desk.take(report)
    incident = await desk.only_incident()
    (state,), (joining,) = await desk.states(), await desk.joinings()
    assert incident.id == state.incident_id == joining.incident_id == report.report_id
    assert state.version == joining.incident_version == 1
    assert joining.narrative == report.narrative
    assert state.provisional
    assert state.decision.reasons["es"]


async def test_a_second_report_with_the_same_address_joins_the_open_incident(desk):
    first = desk.report(urls=(PAGE,), category=Category.CSAM_SUSPECTED)
    await desk.take(first)
    second = desk.report("Still there.", urls=("HTTPS://GALLERY.example.net:443/p/77",))
    await desk.take(second)
    incident = await desk.only_incident()
    assert incident.id == first.report_id
    assert incident.report_count == 2
    assert [joining.incident_id for joining in await desk.joinings()] == [first.report_id, first.report_id]
    assert {Factor.REPEAT_SUBJECT, Factor.DUPLICATE} <= {one.factor for one in incident.findings}


async def test_an_address_written_in_the_text_alone_joins_too(desk):
    await desk.take(desk.report(urls=(PAGE,)))
    await desk.take(desk.report("Look: hxxps://gallery.example.net/p/77, it is still online."))
    assert (await desk.only_incident()).report_count == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"accounts": (Account(platform="game", handle="user_example_417"),)},
        {"accounts": (Account(platform="SMS", handle="+591 71234567"),)},
        {"hashes": (HashReference(algorithm="sha256", value="ab" * 32, source="Take It Down"),)},
    ],
    ids=["handle", "phone", "hash"],
)
async def test_an_equal_fact_of_any_kind_joins(desk, fields):
    await desk.take(desk.report(**fields))
    await desk.take(desk.report(**fields))
    assert (await desk.only_incident()).report_count == 2


async def test_two_reports_of_one_batch_with_one_address_become_one_incident(desk):
    await desk.take(desk.report(urls=(PAGE,)), desk.report(urls=(PAGE,)))
    assert (await desk.only_incident()).report_count == 2
    assert len(await desk.states()) == 1


async def test_of_two_batches_at_once_the_loser_joins(desk):
    batches = [[desk.delivery(desk.report(urls=(PAGE,)))] for _ in range(8)]
    await asyncio.gather(*(desk.triage.handle(batch) for batch in batches))
    incident = await desk.only_incident()
    assert incident.report_count == 8
    assert incident.version == 8


async def test_facts_chain_reports_through_the_incident(desk):
    account = Account(platform="chat", handle="someone_example")
    first = desk.report(urls=(PAGE,))
    await desk.take(first)
    await desk.take(desk.report(urls=(PAGE,), accounts=(account,)))
    await desk.take(desk.report(accounts=(account,)))
    incident = await desk.only_incident()
    assert (incident.id, incident.report_count) == (first.report_id, 3)


async def test_a_join_never_crosses_a_country_but_the_repeat_is_seen(desk):
    await desk.take(desk.report(urls=(PAGE,), country="MU"))
    second = desk.report(urls=(PAGE,), country="TZ")
    await desk.take(second)
    incidents = {incident.id: incident for incident in await desk.incidents()}
    assert len(incidents) == 2
    found = {one.factor for one in incidents[second.report_id].findings}
    assert {Factor.REPEAT_SUBJECT, Factor.DUPLICATE} <= found


async def test_an_account_named_elsewhere_is_a_repeat_but_no_duplicate(desk):
    account = (Account(platform="chat", handle="someone_example"),)
    await desk.take(desk.report(accounts=account, country="MU"))
    second = desk.report(accounts=account, country="TZ")
    await desk.take(second)
    found = {one.factor for one in (await desk.incidents())[-1].findings}
    assert Factor.REPEAT_SUBJECT in found
    assert Factor.DUPLICATE not in found


@pytest.mark.parametrize(
    "fields",
    [
        {"accounts": (Account(platform="game", handle="Unknown"),)},
        {"urls": ("https://www.facebook.com/",)},
        {},
    ],
    ids=["a placeholder", "a front page", "nothing"],
)
async def test_what_says_nothing_joins_nothing(desk, fields):
    await desk.take(desk.report(**fields))
    await desk.take(desk.report(**fields))
    assert len(await desk.incidents()) == 2


async def test_a_joined_report_can_only_raise(desk):
    first = desk.report(urls=(PAGE,), category=Category.CSAM_SUSPECTED, factors=(Factor.ONGOING_ABUSE,))
    await desk.take(first)
    await desk.take(desk.report(urls=(PAGE,), category=Category.HARMFUL_CONTENT, imminent_danger=False))
    incident = await desk.only_incident()
    assert incident.level is Level.P1
    assert incident.categories[0] is Category.CSAM_SUSPECTED


async def test_a_joined_report_raises_and_moves_the_incident_to_the_urgent_lane(desk):
    await desk.take(desk.report(urls=(PAGE,), category=Category.FRAUD_COMMERCIAL))
    await desk.take(desk.report(urls=(PAGE,), imminent_danger=True))
    before, after = sorted(await desk.states(), key=lambda state: state.version)
    assert (before.level, before.lane) == (Level.P4, "STANDARD")
    assert (after.level, after.lane, after.version) == (Level.P1, "URGENT", 2)
    assert after.due_at is not None
    assert before.due_at is not None
    assert after.due_at < before.due_at


async def test_the_same_delivery_twice_changes_nothing(desk):
    deliveries = await desk.take(desk.report(urls=(PAGE,)), desk.report(urls=(PAGE,)))
    before, told = await desk.incidents(), len(await desk.states())
    await desk.triage.handle(deliveries)
    await desk.triage.handle(list(reversed(deliveries)))
    assert await desk.incidents() == before
    assert len(await desk.states()) == told


async def test_a_report_told_again_under_another_event_changes_nothing(desk):
    report = desk.report(urls=(PAGE,))
    await desk.take(report)
    before = await desk.incidents()
    await desk.take(report, report)
    assert await desk.incidents() == before


async def test_replaying_the_log_into_an_empty_database_gives_equal_incidents(open_desk):
    first = await open_desk("first")
    reports = [
        first.report("He asks my daughter to keep it secret.", urls=(PAGE,), victim_age=11),
        first.report("They make fun of me every day.", language="fr"),
        first.report("Still online.", urls=(PAGE,), factors=(Factor.VIRAL,)),
        first.report("Mi hijo recibe anuncios con su nombre.", language="es", imminent_danger=True),
        first.report(urls=(PAGE,), country="GT"),
    ]
    events = [*reports, first.message(reports[1], "I want to die.")]
    for event in events:
        await first.take(event)
    second = await open_desk("second", keys=first.keys)
    await second.take(*events)
    assert await second.incidents() == await first.incidents()


async def test_the_oldest_of_several_owners_gets_the_report(desk):
    account = Account(platform="chat", handle="someone_example")
    older, newer = sorted((uuid7(), uuid7()))
    await desk.take(desk.report(report_id=newer, accounts=(account,)))
    await desk.take(desk.report(report_id=older, urls=(PAGE,)))
    third = desk.report(urls=(PAGE,), accounts=(account,))
    await desk.take(third)
    homes = {joining.report_id: joining.incident_id for joining in await desk.joinings()}
    assert homes[third.report_id] == older
    assert isinstance(older, UUID)
