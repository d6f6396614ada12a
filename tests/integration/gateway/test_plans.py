"""Every usual list is walked along an index: no sorting, so that a page costs the same whatever the table holds."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from amparo_gateway import repository
from amparo_gateway.domain import EveryCountry, InCountries, OfOrganisation, OwnedBy
from amparo_gateway.repository import NEWEST, OLDEST, QUEUE, IncidentWish, ReferralWish

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
