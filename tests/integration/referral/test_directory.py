"""Keeping the directory: what is refused names its field, and nothing of it is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from amparo_common import webhooks
from amparo_common.errors import Refused
from amparo_common.events.types import PartnerChanged
from amparo_common.http import GuardedClient
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Adapter, Destination, Release, Role
from amparo_referral.domain.routes import Route
from amparo_referral.partners import By, PartnerInput, set_route, upsert_partner
from amparo_referral.tables import PARTNER, ROUTE

pytestmark = pytest.mark.anyio

ADMIN = By("admin", Role.ADMIN)


@pytest.fixture
async def guarded() -> AsyncIterator[GuardedClient]:
    async with GuardedClient([("127.0.0.1", 18990)]) as client:
        yield client


def given(**fields: Any) -> PartnerInput:
    known: dict[str, Any] = {
        "name": "Police",
        "destination": Destination.LAW_ENFORCEMENT,
        "countries": ("IS",),
        "languages": ("is", "en"),
        "adapter": Adapter.WEBHOOK,
        "address": "https://partner.example.org/amparo",
    }
    return PartnerInput(**(known | fields))


def route(partner_id: Any, **fields: Any) -> Route:
    known: dict[str, Any] = {
        "country": "IS",
        "destination": Destination.LAW_ENFORCEMENT,
        "priority": 1,
        "release": Release.AUTOMATIC,
    }
    return Route(partner_id=partner_id, **(known | fields))


async def test_a_partner_is_made_changed_and_routed_and_its_secret_is_never_stored_in_clear(
    world: Any, guarded: GuardedClient
) -> None:
    secret = webhooks.new_secret()
    now = world.clock.now()
    made = await upsert_partner(
        world.desk,
        given(secret=secret, address="http://127.0.0.1:18990/amparo", last_verified_at=now),
        judge=guarded.judge,
        by=ADMIN,
    )
    changed = await upsert_partner(
        world.desk, given(id=made.partner_id, name="Police of Iceland", address=None), judge=guarded.judge, by=ADMIN
    )
    (row,) = await world.rows(PARTNER)
    assert (row["name"], row["address"]) == ("Police of Iceland", "http://127.0.0.1:18990/amparo")
    assert row["secret"] is not None
    routed = await set_route(world.desk, route(made.partner_id), by=ADMIN)
    again = await set_route(world.desk, route(made.partner_id, priority=7), by=ADMIN)
    assert [one.priority for one in (*routed.routes, *again.routes)] == [1, 7]
    assert await world.told_of(PartnerChanged) == [made, changed, routed, again]
    assert [one.version for one in (made, changed, routed, again)] == [1, 2, 3, 4]
    assert webhooks.secret_bytes(secret) not in row["secret"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"countries": ()}, "countries"),
        ({"countries": ("XX",)}, "countries"),
        ({"languages": ("klingon",)}, "languages"),
        ({"destination": Destination.NONE_CLOSE}, "destination"),
        ({"secret": "whsec_short"}, "secret"),
        ({"organisation": ""}, "organisation"),
        ({"address": None}, "address"),
        ({"address": ""}, "address"),
        ({"address": "http://127.0.0.1:1/"}, "address"),
        ({"address": "https://[::1]/"}, "address"),
        ({"address": "https://user:word@partner.example.org/"}, "address"),
        ({"address": "file:///etc/passwd"}, "address"),
        ({"adapter": Adapter.ENCRYPTED_EMAIL, "address": "nobody"}, "address"),
        ({"adapter": Adapter.PHONE_THEN_WRITTEN, "address": "call me"}, "address"),
    ],
)
async def test_a_wrong_field_is_refused_by_name_and_nothing_is_stored(
    world: Any, guarded: GuardedClient, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        await upsert_partner(world.desk, given(**fields), judge=guarded.judge, by=ADMIN)
    assert [(one.code, one.field) for one in refused.value.refusals] == [("INVALID", field)]
    assert await world.rows(PARTNER) == []


async def test_a_verification_in_the_future_is_none(world: Any, guarded: GuardedClient) -> None:
    later = world.clock.now() + timedelta(days=1)
    with pytest.raises(Refused, match="INVALID"):
        await upsert_partner(world.desk, given(last_verified_at=later), judge=guarded.judge, by=ADMIN)


async def test_an_unknown_partner_is_not_found(world: Any, guarded: GuardedClient) -> None:
    with pytest.raises(Refused, match="NOT_FOUND"):
        await upsert_partner(world.desk, given(id=uuid7()), judge=guarded.judge, by=ADMIN)
    with pytest.raises(Refused, match="NOT_FOUND"):
        await set_route(world.desk, route(uuid7()), by=ADMIN)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"country": "GT"}, "INVALID"),
        ({"country": "XX"}, "INVALID"),
        ({"destination": Destination.RETURN_TO_REPORTER}, "INVALID"),
        ({"priority": -1}, "INVALID"),
        ({}, "PARTNER_NOT_VERIFIED"),
    ],
)
async def test_a_route_that_makes_no_sense_is_refused(world: Any, fields: dict[str, Any], code: str) -> None:
    partner = await world.partner(countries=("IS",), last_verified_at=None)
    with pytest.raises(Refused, match=code):
        await set_route(world.desk, route(partner.id, **fields), by=ADMIN)
    assert await world.rows(ROUTE) == []
