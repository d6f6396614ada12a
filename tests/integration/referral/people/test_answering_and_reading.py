"""Answers by hand and the reading of packages: by country, by organisation, once, and on record."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from amparo_common.db.tables import AUDIT_ENTRY, OUTBOX
from amparo_common.events.types import ReferralChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Adapter, Level, Purpose, ReferralStatus, Release, Role
from amparo_referral.tables import ACKNOWLEDGEMENT

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sent(world: Any) -> tuple[Any, Any]:
    """Give an incident and its referral, delivered to the demo user's organisation."""
    await world.routed(organisation="demo-hotline")
    case, _ = await world.open()
    await world.send()
    return case, (await world.of(case))[0]


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("name", ["partner", "supervisor"])
async def test_an_answer_by_hand_is_told_with_the_name_of_who_gave_it(
    world: Any, people: Any, sent: Any, name: str
) -> None:
    _, referral = sent
    reply = await people.respond(referral.id, "ACCEPTED", by=name, partner_reference="CASE-12")
    assert reply.status_code == 200
    told = reply.json()["referral"]
    assert told == await people.told(ReferralChanged)
    assert told["status"] == "ACCEPTED"
    answers = [(one["code"], one["by"], one["partner_reference"]) for one in told["acknowledgements"]]
    assert answers == [("ACCEPTED", name, "CASE-12")]


async def test_pressing_twice_is_one_answer_and_the_same_another_day_is_another(
    world: Any, people: Any, sent: Any
) -> None:
    _, referral = sent
    world.clock.move(timedelta(seconds=59))
    first = await people.respond(referral.id, "CONTENT_STILL_REACHABLE")
    before = len(await world.rows(OUTBOX))
    world.clock.move(timedelta(seconds=2))
    again = await people.respond(referral.id, "CONTENT_STILL_REACHABLE")
    assert first.json() == again.json()
    assert len(await world.rows(OUTBOX)) == before
    world.clock.move(timedelta(minutes=3))
    await people.respond(referral.id, "CONTENT_STILL_REACHABLE")
    assert len(await world.rows(ACKNOWLEDGEMENT)) == 2


async def test_after_the_end_nothing_more_is_taken(world: Any, people: Any, sent: Any) -> None:
    _, referral = sent
    await people.respond(referral.id, "CLOSED_NO_ACTION")
    late = await people.respond(referral.id, "ACCEPTED")
    assert people.refusals(late) == [("TRANSITION_NOT_ALLOWED", "code")]
    assert len(await world.rows(ACKNOWLEDGEMENT)) == 1


@pytest.mark.parametrize(
    ("code", "field"),
    [
        ("FORWARDED", "forwarded_to"),
        ("PRESERVE_REQUESTED", "until"),
        ("HOLD_EXTENDED", "until"),
        ("CLASSIFIED", "classification"),
    ],
)
async def test_an_answer_that_means_nothing_without_a_field_asks_for_it(
    world: Any, people: Any, sent: Any, code: str, field: str
) -> None:
    _, referral = sent
    given = {
        "forwarded_to": "HOTLINE",
        "until": "2027-01-01T00:00:00+01:00",
        "classification": {"scheme": "schema", "version": "1", "value": "baseline"},
    }
    assert people.refusals(await people.respond(referral.id, code)) == [("INVALID", field)]
    assert (await people.respond(referral.id, code, **{field: given[field]})).status_code == 200


async def test_two_who_reject_at_once_have_one_winner(world: Any, people: Any, sent: Any) -> None:
    case, referral = sent
    codes = ("REJECTED_DUPLICATE", "REJECTED_JURISDICTION", "REJECTED_INSUFFICIENT")
    replies = await asyncio.gather(*(people.respond(referral.id, code) for code in codes))
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409]
    assert len(await world.rows(ACKNOWLEDGEMENT)) == 1
    assert (await world.of(case))[0].status is ReferralStatus.REJECTED


async def test_closing_and_accepting_at_once_end_in_the_order_they_were_taken(
    world: Any, people: Any, sent: Any
) -> None:
    case, referral = sent
    closing, accepting = await asyncio.gather(
        people.respond(referral.id, "CLOSED_ACTION_TAKEN", by="partner"),
        people.respond(referral.id, "ACCEPTED", by="supervisor"),
    )
    assert closing.status_code == 200
    assert accepting.status_code in {200, 409}
    assert len(await world.rows(ACKNOWLEDGEMENT)) == (2 if accepting.status_code == 200 else 1)
    assert (await world.of(case))[0].status is ReferralStatus.CLOSED


async def test_another_organisation_another_country_and_no_referral_look_alike(
    world: Any, people: Any, sent: Any
) -> None:
    _, referral = sent
    people.known("stranger", Role.PARTNER, organisation="other")
    people.known("unbound", Role.PARTNER)
    people.known("abroad", Role.SUPERVISOR, countries=("FR",))
    for name in ("stranger", "unbound", "abroad"):
        foreign, unknown = await people.respond(referral.id, by=name), await people.respond(uuid7(), by=name)
        assert (foreign.status_code, foreign.json()) == (404, unknown.json())
        foreign, unknown = await people.package(referral.id, by=name), await people.package(uuid7(), by=name)
        assert (foreign.status_code, foreign.json()) == (404, unknown.json())
    assert await world.rows(ACKNOWLEDGEMENT) == []


@pytest.mark.parametrize("role", ["agent", "triager", "integrator", "auditor", "admin"])
async def test_other_roles_do_not_answer(world: Any, people: Any, sent: Any, role: str) -> None:
    _, referral = sent
    assert (await people.respond(referral.id, by=role)).status_code == 403
    assert [(actor, action) for actor, action, _ in await people.denials()] == [(role, "referral.acknowledged")]


# ---------------------------------------------------------------- packages


@pytest.mark.parametrize("name", ["triager", "supervisor", "partner"])
async def test_a_package_is_read_inert_with_what_is_withheld_and_on_record(
    world: Any, people: Any, sent: Any, name: str
) -> None:
    case, referral = sent
    await people.respond(referral.id, note="See https://reply.example.org/a.b?c=d for ours")
    reply = await people.package(referral.id, by=name)
    assert reply.status_code == 200
    opened = reply.json()
    assert opened["profile"] == "law_enforcement.v1"
    report = opened["content"]["reports"][0]
    assert report["urls"] == ["hxxps://chat[.]example[.]com/room/4"]
    assert report["text"] == "A man from a game asks my daughter to meet him."
    assert "reporter.contact" in [one["field"] for one in opened["withheld"]]
    assert [one["note"] for one in opened["notes"]] == ["See hxxps://reply[.]example[.]org/a.b?c=d for ours"]
    ids = [one["acknowledgement_id"] for one in (await people.told(ReferralChanged))["acknowledgements"]]
    assert [one["acknowledgement_id"] for one in opened["notes"]] == ids
    assert opened["address"] is None
    rows = [row for row in await world.rows(AUDIT_ENTRY) if row["action"] == "referral.package"]
    assert [(row["actor"], row["subject"], row["allowed"], row["purpose"]) for row in rows] == [
        (name, case.state.reference, True, Purpose.REFERRAL)
    ]


async def test_the_delivery_itself_holds_the_exact_address(world: Any, sent: Any) -> None:
    assert world.data()["package"]["reports"][0]["urls"] == ["https://chat.example.com/room/4"]


async def test_a_denied_reading_is_on_record_with_the_incident(world: Any, people: Any, sent: Any) -> None:
    case, referral = sent
    people.known("abroad", Role.TRIAGER, countries=("FR",))
    await people.package(referral.id, by="abroad")
    await people.package(referral.id, by="agent")
    denials = await people.denials()
    assert denials == [
        ("abroad", "referral.package", case.state.reference),
        ("agent", "referral.package", case.state.reference),
    ]


async def test_a_partner_learns_of_a_referral_only_once_it_was_let_go(world: Any, people: Any) -> None:
    await world.routed(
        adapter=Adapter.PARTNER_INBOX,
        address=None,
        has_secret=False,
        organisation="demo-hotline",
        release=Release.AFTER_REVIEW,
    )
    case, referral = await world.open()
    await world.build()
    assert (await people.package(referral.id)).status_code == 200
    assert (await people.package(referral.id, by="partner")).status_code == 404
    assert (await people.respond(referral.id, by="partner")).status_code == 404
    await people.refer(case)
    await world.build()
    assert (await people.package(referral.id, by="partner")).status_code == 200


async def test_a_partner_reads_the_version_that_was_approved_and_the_supervisor_the_newest(
    world: Any, people: Any
) -> None:
    await world.routed(organisation="demo-hotline", release=Release.WITH_APPROVAL)
    case, referral = await world.open()
    await people.refer(case)
    await world.build()
    await people.sign(referral.id, reason="Agreed with the prosecutor.")
    await world.send()
    await world.take(case.at(2, level=Level.P1))
    await world.build()
    theirs, ours = await people.package(referral.id, by="partner"), await people.package(referral.id)
    assert theirs.json()["content"]["assessment"]["level"] == "P2"
    assert ours.json()["content"]["assessment"]["level"] == "P1"
    assert theirs.json()["approvals"] == []
    assert [one["reason"] for one in ours.json()["approvals"]] == ["Agreed with the prosecutor."]


async def test_of_an_erased_incident_no_package_and_no_note_is_read(world: Any, people: Any, sent: Any) -> None:
    case, referral = sent
    await people.respond(referral.id, note="Ours now")
    await world.take(world.erased(case))
    assert (await people.package(referral.id)).status_code == 404
    assert [row["note"] for row in await world.rows(ACKNOWLEDGEMENT)] == [None]


async def test_while_intake_gives_no_key_nothing_is_read_and_nothing_written(
    world: Any, people: Any, sent: Any
) -> None:
    _, referral = sent
    world.keys.down = True
    assert (await people.package(referral.id)).status_code == 503
    assert (await people.respond(referral.id, note="Ours now")).status_code == 503
    assert await world.rows(ACKNOWLEDGEMENT) == []


async def test_the_answer_of_a_command_is_what_the_outbox_holds_to_the_byte(world: Any, people: Any, sent: Any) -> None:
    _, referral = sent
    reply = await people.respond(referral.id)
    rows = sorted(await world.rows(OUTBOX), key=lambda row: row["seq"])
    (last,) = [row for row in rows if row["topic"] == "amparo.referrals"][-1:]
    assert msgspec.json.decode(reply.content)["referral"] == msgspec.json.decode(last["value"])
