"""Every usual list is walked along an index: no sorting, so that a page costs the same whatever the table holds."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from amparo_gateway import repository
from amparo_gateway.domain import EveryCountry, InCountries, OfOrganisation, OwnedBy
from amparo_gateway.domain_figures import Dimension
from amparo_gateway.repository import NEWEST, OLDEST, QUEUE, IncidentWish, ReferralWish, TrailWish

pytestmark = pytest.mark.anyio

GT = InCountries(frozenset({"GT"}))
INCIDENTS = {
    "everything in queue order": (EveryCountry(), IncidentWish(), QUEUE),
    "everything, newest first": (EveryCountry(), IncidentWish(), NEWEST),
    "the queue": (EveryCountry(), IncidentWish(in_queue=True), QUEUE),
    "a country in queue order": (GT, IncidentWish(), QUEUE),
    "a country, newest first": (GT, IncidentWish(), NEWEST),
    "a country's queue": (GT, IncidentWish(in_queue=True), QUEUE),
    "one's own in queue order": (OwnedBy("agent:a"), IncidentWish(), QUEUE),
    "one's own, oldest first": (OwnedBy("agent:a"), IncidentWish(), OLDEST),
}
REFERRALS = {
    "all referrals": EveryCountry(),
    "a country's referrals": GT,
    "an organisation's referrals": OfOrganisation("demo-hotline"),
}


async def plan_of(projection, query):
    statements = []

    def note(connection, cursor, statement, parameters, *rest):
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await projection.read(query)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    ((statement, parameters),) = statements
    return await projection.read(
        lambda session: [
            row[3] for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    )


@pytest.mark.parametrize("name", INCIDENTS)
@pytest.mark.parametrize("after", [None, b"\x01" * 37], ids=["first page", "next page"])
async def test_a_page_of_incidents_is_read_without_sorting(gateway, invented, name, after):
    scope, wish, order = INCIDENTS[name]
    plan = await plan_of(
        gateway.projection,
        lambda session: repository.incidents(
            session, scope=scope, wish=wish, order=order, after=after, limit=51, now=invented.at
        ),
    )
    assert "USING INDEX" in plan[0], plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize("name", REFERRALS)
async def test_a_page_of_referrals_is_read_without_sorting(gateway, invented, name):
    plan = await plan_of(
        gateway.projection,
        lambda session: repository.referrals(
            session, scope=REFERRALS[name], wish=ReferralWish(), after=None, limit=51, now=invented.at
        ),
    )
    assert "USING INDEX" in plan[0], plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


TRAILS = {
    "all of it": TrailWish(),
    "an actor's": TrailWish(actor="triager"),
    "a subject's": TrailWish(subject="AM-7Q4K-2MXD"),
}


@pytest.mark.parametrize("name", TRAILS)
@pytest.mark.parametrize("after", [None, b"\x01" * 16], ids=["first page", "next page"])
async def test_a_page_of_the_trail_is_read_without_sorting(gateway, name, after):
    plan = await plan_of(
        gateway.projection,
        lambda session: repository.trail(session, scope=EveryCountry(), wish=TRAILS[name], after=after, limit=51),
    )
    assert "USING INDEX" in plan[0], plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


async def test_the_trail_since_a_time_starts_and_ends_in_the_index(gateway, invented):
    wish = TrailWish(after=invented.at, before=invented.at)
    plan = await plan_of(
        gateway.projection,
        lambda session: repository.trail(session, scope=EveryCountry(), wish=wish, after=None, limit=51),
    )
    assert "newest_place>? AND newest_place<?" in plan[0], plan


@pytest.mark.parametrize("scope", [EveryCountry(), GT], ids=["all", "a country's"])
async def test_a_page_of_tasks_is_read_without_sorting(gateway, scope):
    plan = await plan_of(
        gateway.projection,
        lambda session: repository.tasks(session, scope=scope, is_open=True, after=None, limit=51),
    )
    assert "USING INDEX task_" in plan[0], plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize("country", [None, "GT"])
async def test_a_page_of_partners_is_read_without_sorting(gateway, country):
    plan = await plan_of(
        gateway.projection,
        lambda session: repository.partners(session, scope=EveryCountry(), country=country, after=None, limit=51),
    )
    assert "USING INDEX partner_name" in plan[0], plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


async def test_what_waits_for_a_partner_is_counted_in_its_own_index(gateway, invented):
    plan = await plan_of(
        gateway.projection,
        lambda session: repository.standings_of_partners(
            session, scope=EveryCountry(), ids=[invented.partner().partner_id]
        ),
    )
    assert any("referral_partner_delivered" in step for step in plan), plan
    assert any("referral_partner_status" in step for step in plan), plan
    assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan if "CONSTANT" not in step), plan


async def test_figures_are_counted_in_one_index(gateway, invented):
    plan = await plan_of(
        gateway.projection,
        lambda session: repository.figures(
            session,
            scope=EveryCountry(),
            since=invented.at,
            until=invented.at,
            by=[Dimension.COUNTRY, Dimension.LEVEL],
            limit=100,
        ),
    )
    assert "COVERING INDEX incident_figures" in plan[0], plan
