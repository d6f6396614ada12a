"""Statistics of incidents and referrals."""

from __future__ import annotations

from datetime import timedelta

import pytest

from amparo_common.vocabulary.codes import Category, Channel, Destination, Level, ReferralStatus, Role

pytestmark = pytest.mark.anyio

FIGURES = """query($from: DateTime! = "2026-02-01T00:00:00Z", $to: DateTime! = "2026-04-01T00:00:00Z",
  $by: [StatisticsDimension!]!) { statistics(from: $from, to: $to, groupBy: $by) { dimensions count suppressed } }"""


@pytest.fixture
def integrator(caller):
    return caller(Role.INTEGRATOR)


async def figures(gateway, principal, *by, **variables):
    rows = (await gateway.data(principal, FIGURES, by=list(by), **variables))["statistics"]
    assert all(row["suppressed"] is (row["count"] is None) for row in rows)
    return {tuple(row["dimensions"].items()): row["count"] for row in rows}


async def learn(gateway, invented, number, **fields):
    await gateway.learn(*(invented.incident(**fields) for _ in range(number)))


@pytest.mark.parametrize(
    ("dimension", "counted"),
    [
        ("DAY", ({}, "2026-03-01")),
        ("COUNTRY", ({"country": "BO"}, "BO")),
        ("CHANNEL", ({"channels": (Channel.SMS, Channel.WEB)}, "SMS")),
        ("CATEGORY", ({"category": Category.GROOMING}, "GROOMING")),
        ("LEVEL", ({"level": Level.P2}, "P2")),
    ],
)
async def test_incidents_are_counted_by_each_dimension(gateway, invented, integrator, dimension, counted):
    fields, value = counted
    await learn(gateway, invented, 6, **fields)
    assert await figures(gateway, integrator, dimension) == {((dimension, value),): 6}


@pytest.mark.parametrize(("dimension", "value"), [("DESTINATION", "REGULATOR"), ("OUTCOME", "ACCEPTED")])
async def test_referrals_are_counted_by_where_they_went_and_what_came_of_them(
    gateway, invented, integrator, dimension, value
):
    for _ in range(3):
        incident = invented.incident(country="BO")
        fields = {"destination": Destination.REGULATOR, "status": ReferralStatus.ACCEPTED}
        await gateway.learn(incident, *(invented.referral(incident.incident_id, **fields) for _ in range(2)))
    assert await figures(gateway, integrator, dimension) == {((dimension, value),): 6}
    both = await figures(gateway, integrator, "COUNTRY", dimension)
    assert both == {(("COUNTRY", "BO"), (dimension, value)): 6}


async def test_a_cell_under_five_is_a_row_without_a_number_and_so_is_the_next(gateway, invented, integrator):
    for country, number in (("AD", 1), ("BO", 7), ("GT", 20)):
        await learn(gateway, invented, number, country=country)
    by_country = await figures(gateway, integrator, "COUNTRY")
    assert by_country == {
        (("COUNTRY", "AD"),): None,
        (("COUNTRY", "BO"),): None,
        (("COUNTRY", "GT"),): 20,
    }
    assert await figures(gateway, integrator) == {(): 28}
    assert await figures(gateway, integrator, "DAY") == {(("DAY", "2026-03-01"),): 28}


async def test_from_is_counted_and_to_is_not(gateway, invented, integrator):
    await learn(gateway, invented, 5)
    at = invented.at.isoformat()
    after = (invented.at + timedelta(milliseconds=1)).isoformat()
    assert await figures(gateway, integrator, "LEVEL", **{"from": at, "to": after}) == {(("LEVEL", "P3"),): 5}
    assert await figures(gateway, integrator, "LEVEL", **{"from": after}) == {}
    assert await figures(gateway, integrator, "LEVEL", to=at) == {}


async def test_staff_count_their_countries_and_the_others_all(gateway, invented, caller):
    await learn(gateway, invented, 6, country="GT")
    await learn(gateway, invented, 7, country="BO")
    here, there = (("COUNTRY", "GT"),), (("COUNTRY", "BO"),)
    for role in (Role.TRIAGER, Role.SUPERVISOR):
        assert await figures(gateway, caller(role, countries=frozenset({"GT"})), "COUNTRY") == {here: 6}
        assert await figures(gateway, caller(role, countries=frozenset()), "COUNTRY") == {}
    for principal in (caller(Role.INTEGRATOR), caller(Role.AUDITOR), caller(Role.ADMIN), caller(Role.TRIAGER)):
        assert await figures(gateway, principal, "COUNTRY") == {here: 6, there: 7}


async def test_a_dimension_asked_for_twice_is_one(gateway, invented, integrator):
    await learn(gateway, invented, 5)
    assert await figures(gateway, integrator, "LEVEL", "LEVEL") == {(("LEVEL", "P3"),): 5}


async def test_a_time_that_ends_before_it_begins_is_refused(gateway, integrator, error_codes):
    answer = await gateway.ask(integrator, FIGURES, by=["DAY"], to="2026-01-01T00:00:00Z")
    assert error_codes(answer) == ["INVALID"]
    assert answer["data"] == {"statistics": None}


async def test_an_incident_counts_as_it_is_now_and_once(gateway, invented, integrator):
    for number in range(5):
        first = invented.incident(level=Level.P4)
        await gateway.learn(first, invented.incident(first.incident_id, version=2 + number, level=Level.P1))
    assert await figures(gateway, integrator, "LEVEL") == {(("LEVEL", "P1"),): 5}
