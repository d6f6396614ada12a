"""Keeping the directory over HTTP: administrators only, every field judged, every change told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from amparo_common import webhooks
from amparo_common.clock import rfc3339
from amparo_common.db.tables import OUTBOX
from amparo_common.events.types import PartnerChanged, TaskChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Adapter, ReferralStatus
from amparo_referral import demo
from amparo_referral.adapters.port import Outcome
from amparo_referral.partners import tell_untold
from amparo_referral.repository import directory as entries
from amparo_referral.tables import PARTNER, ROUTE

pytestmark = pytest.mark.anyio

BAD_ADDRESSES = (
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:1/",
    "https://127.1/",
    "https://[::1]/",
    "https://[::ffff:169.254.169.254]/",
    "http://2130706433/",
    "http://0x7f000001/",
    "https://localhost/",
    "https://10.0.0.8/hook",
    "https://0.0.0.0/",
    "file:///etc/passwd",
    "gopher://partner.example.org/",
    "https://user@partner.example.org/",
    "https://user:word@partner.example.org/",
    "partner.example.org",
    "",
)


def given(**fields: Any) -> dict[str, Any]:
    known = {
        "id": None,
        "name": "Police of Iceland",
        "destination": "LAW_ENFORCEMENT",
        "countries": ["IS"],
        "languages": ["is", "en"],
        "adapter": "WEBHOOK",
        "address": "https://partner.example.org/amparo",
        "secret": None,
        "organisation": None,
        "accepts_emergency": None,
        "last_verified_at": None,
    }
    return known | fields


async def put(people: Any, *, by: str = "admin", **fields: Any) -> Any:
    return await people.call(by, "PUT", "/v1/partners", given(**fields))


def route(partner_id: str, **fields: Any) -> dict[str, Any]:
    known = {"country": "IS", "destination": "LAW_ENFORCEMENT", "partner_id": partner_id, "priority": 1}
    return known | {"release": "AFTER_REVIEW", "enabled": None, "categories": [], "levels": []} | fields


async def test_an_administrator_makes_changes_and_routes_a_partner_and_each_is_told(world: Any, people: Any) -> None:
    secret = webhooks.new_secret()
    verified = rfc3339(world.clock.now())
    made = await put(people, secret=secret, organisation="police", accepts_emergency=True, last_verified_at=verified)
    assert made.status_code == 200
    assert made.json()["partner"] == await people.told(PartnerChanged)
    partner = made.json()["partner"]
    kept = await put(people, id=partner["partner_id"], name="Police", address=None)
    assert kept.json()["partner"] == partner | {
        "name": "Police",
        "version": 2,
        "changed_at": kept.json()["partner"]["changed_at"],
    }
    routed = await people.call(
        "admin", "PUT", "/v1/routes", route(partner["partner_id"], release="AUTOMATIC", levels=["P1"])
    )
    assert routed.json()["partner"] == await people.told(PartnerChanged)
    assert routed.json()["partner"]["routes"] == [
        {
            "country": "IS",
            "destination": "LAW_ENFORCEMENT",
            "priority": 1,
            "release": "AUTOMATIC",
            "categories": [],
            "levels": ["P1"],
            "enabled": True,
        }
    ]
    assert secret not in made.text + kept.text + routed.text
    for row in await world.rows(OUTBOX):
        assert secret.encode() not in row["value"]
        assert b"partner.example.org" not in row["value"]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
async def test_an_address_inside_or_strange_is_refused_by_its_field(world: Any, people: Any, address: str) -> None:
    assert people.refusals(await put(people, address=address)) == [("INVALID", "address")]
    fresh = (await put(people)).json()["partner"]
    assert people.refusals(await put(people, id=fresh["partner_id"], address=address)) == [("INVALID", "address")]
    (row,) = await world.rows(PARTNER)
    assert row["address"] == "https://partner.example.org/amparo"


@pytest.mark.parametrize(
    "adapter",
    [
        "WEBHOOK",
        "NCMEC_CYBERTIPLINE",
        "ENCRYPTED_EMAIL",
        "IODEF",
        "PLATFORM_NOTICE",
        "PHONE_THEN_WRITTEN",
        "PORTAL_MANUAL",
    ],
)
async def test_an_adapter_that_needs_an_address_asks_for_it(people: Any, adapter: str) -> None:
    assert people.refusals(await put(people, adapter=adapter, address=None)) == [("INVALID", "address")]


async def test_an_inbox_needs_no_address(people: Any) -> None:
    assert (await put(people, adapter="PARTNER_INBOX", address=None)).status_code == 200


async def test_the_allowed_pair_may_be_plain_and_on_loopback(people: Any) -> None:
    assert (await put(people, address="http://127.0.0.1:18990/amparo")).status_code == 200


async def test_wrong_fields_are_refused_together_and_nothing_is_told(world: Any, people: Any) -> None:
    reply = await put(people, name=" ", countries=["XX"], languages=["klingon"], secret="whsec_short")
    assert {field for _, field in people.refusals(reply)} == {"name", "countries", "languages", "secret"}
    unknown = await put(people, id=str(uuid7()))
    assert people.refusals(unknown) == [("NOT_FOUND", "id")]
    lost = await people.call("admin", "PUT", "/v1/routes", route(str(uuid7())))
    assert people.refusals(lost) == [("NOT_FOUND", "partner_id")]
    assert await world.told_of(PartnerChanged) == []


@pytest.mark.parametrize("role", ["agent", "triager", "supervisor", "partner", "integrator", "auditor"])
async def test_only_administrators_keep_the_directory(world: Any, people: Any, role: str) -> None:
    partner = (await put(people)).json()["partner"]
    assert (await put(people, by=role, name="Mine")).status_code == 403
    assert (await people.call(role, "PUT", "/v1/routes", route(partner["partner_id"]))).status_code == 403
    assert await people.denials() == [(role, "partner.set", "directory"), (role, "route.set", "directory")]
    assert [row["name"] for row in await world.rows(PARTNER)] == ["Police of Iceland"]
    assert await world.rows(ROUTE) == []


# ---------------------------------------------------------------- the demo's seed


async def test_the_seed_is_told_once_and_again_only_when_it_changed(world: Any) -> None:
    for _ in range(2):
        await demo.seed(world.desk, pair=("127.0.0.1", 8090))
        world.clock.move(timedelta(hours=1))
    told = await world.told_of(PartnerChanged)
    assert {one.partner_id for one in told} == {partner.id for partner in demo.PARTNERS}
    assert [one.version for one in told] == [1, 1]
    assert {len(one.routes) for one in told} == {len(demo.DESTINATIONS)}
    await demo.seed(world.desk, pair=("127.0.0.1", 9090))
    world.clock.move(timedelta(days=31))
    await demo.seed(world.desk, pair=("127.0.0.1", 9090))
    assert [one.version for one in await world.told_of(PartnerChanged)] == [1, 1, 2, 2, 3, 3]


async def test_a_directory_that_stood_before_it_was_told_is_told_at_the_next_start(world: Any) -> None:
    await demo.seed(world.desk, pair=("127.0.0.1", 8090))
    await world.database.write(lambda c: c.execute(PARTNER.update().values(version=0)))
    before = len(await world.told_of(PartnerChanged))
    await demo.seed(world.desk, pair=("127.0.0.1", 8090))
    assert len(await world.told_of(PartnerChanged)) == before + 2
    assert len(await world.database.read(entries.partners)) == 2


# ---------------------------------------------------------------- a partner that is reached in another way


async def test_what_waits_for_a_webhook_becomes_a_call_when_the_partner_is_called_from_now_on(
    world: Any, people: Any
) -> None:
    partner = await world.routed()
    world.adapter.answers = [Outcome(slug="failed", status_code=500)]
    case, referral = await world.open()
    await world.send()
    changed = await put(
        people, id=str(partner.id), countries=["*"], adapter="PHONE_THEN_WRITTEN", address="+354 555 0100"
    )
    assert changed.status_code == 200
    await world.build()
    (task,) = await world.told_of(TaskChanged)
    assert (task.referral_id, task.kind) == (referral.id, Adapter.PHONE_THEN_WRITTEN)
    world.clock.move(timedelta(days=1))
    assert await world.send() == 0
    assert (await world.of(case))[0].status is ReferralStatus.QUEUED


async def test_what_was_being_sent_to_a_machine_that_is_none_any_more_goes_to_the_next_partner(world: Any) -> None:
    first = await world.routed("First", priority=1)
    await world.routed("Second", priority=2)
    case, referral = await world.open()
    (claimed,) = await world.sender._claim()
    world.sender._running[claimed.partner.id] += 1
    by_phone = msgspec.structs.replace(claimed.partner, adapter=Adapter.PHONE_THEN_WRITTEN)
    await world.sender._send(msgspec.structs.replace(claimed, partner=by_phone))
    (lost, second) = await world.of(case)
    assert (lost.id, lost.partner_id, lost.status) == (referral.id, first.id, ReferralStatus.UNDELIVERABLE)
    assert second.status is ReferralStatus.QUEUED
    assert world.adapter.parcels == []


async def test_partners_that_nobody_was_told_of_are_told_at_the_start_once(world: Any) -> None:
    partner = await world.partner("Police")
    assert await tell_untold(world.desk) == 1
    assert await tell_untold(world.desk) == 0
    assert [(one.partner_id, one.version) for one in await world.told_of(PartnerChanged)] == [(partner.id, 1)]
