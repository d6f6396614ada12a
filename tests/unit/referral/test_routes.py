"""Which partner takes an incident."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from amparo_common.vocabulary.codes import Adapter, Category, Destination, Level, Release
from amparo_referral.domain.routes import Directory, PartnerEntry, Route

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
A, B = UUID(int=1), UUID(int=2)


def partner(partner_id: UUID = A, **fields: Any) -> PartnerEntry:
    given: dict[str, Any] = {
        "id": partner_id,
        "name": "Police",
        "destination": Destination.LAW_ENFORCEMENT,
        "organisation": None,
        "countries": ("*",),
        "languages": (),
        "adapter": Adapter.WEBHOOK,
        "address": "https://partner.example.org/",
        "has_secret": True,
        "accepts_emergency": True,
        "last_verified_at": NOW,
    }
    return PartnerEntry(**(given | fields))


def route(partner_id: UUID = A, **fields: Any) -> Route:
    given: dict[str, Any] = {
        "country": "*",
        "destination": Destination.LAW_ENFORCEMENT,
        "priority": 100,
        "release": Release.AUTOMATIC,
    }
    return Route(partner_id=partner_id, **(given | fields))


def chosen(*routes: Route, partners: tuple[PartnerEntry, ...] = (partner(A), partner(B)), **asked: Any) -> UUID | None:
    given: dict[str, Any] = {
        "country": "IS",
        "destination": Destination.LAW_ENFORCEMENT,
        "category": Category.GROOMING,
        "level": Level.P2,
        "now": NOW,
    }
    found = Directory({one.id: one for one in partners}, routes).choose(**(given | asked))
    return found.partner_id if found else None


def test_the_lowest_priority_number_takes_it() -> None:
    assert chosen(route(A, priority=100), route(B, priority=1, country="IS")) == B
    assert chosen(route(A, priority=1), route(B, priority=2, country="IS")) == A


def test_of_equal_numbers_the_countrys_own_route_comes_first() -> None:
    assert chosen(route(A), route(B, country="IS")) == B


@pytest.mark.parametrize(
    "fields",
    [
        {"country": "GT"},
        {"destination": Destination.HOTLINE},
        {"categories": (Category.SEXTORTION,)},
        {"levels": (Level.P3, Level.P4)},
        {"enabled": False},
    ],
)
def test_a_route_that_is_not_meant_for_it_does_not_take_it(fields: dict[str, Any]) -> None:
    assert chosen(route(A, **fields)) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"countries": ("GT",)},
        {"last_verified_at": None},
        {"last_verified_at": NOW - timedelta(days=181)},
        {"address": None},
        {"has_secret": False},
        {"adapter": Adapter.PORTAL_MANUAL, "address": None},
    ],
)
def test_a_partner_that_cannot_take_it_is_passed_over(fields: dict[str, Any]) -> None:
    assert chosen(route(A, priority=1), route(B), partners=(partner(A, **fields), partner(B))) == B


def test_partners_that_were_asked_are_not_asked_again() -> None:
    assert chosen(route(A, priority=1), route(B), tried=(A,)) == B
    assert chosen(route(A), route(B), tried=(A, B)) is None


def test_verification_warns_after_ninety_days_and_stops_after_half_a_year() -> None:
    old, older = (partner(last_verified_at=NOW - timedelta(days=days)) for days in (91, 181))
    assert (old.verification_stale(NOW), old.verified(NOW)) == (True, True)
    assert (older.verification_stale(NOW), older.verified(NOW)) == (True, False)
    assert not partner().verification_stale(NOW)
