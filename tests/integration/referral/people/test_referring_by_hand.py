"""A person refers: what goes on their word, what is refused and why, and what asking again does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from amparo_common.db.tables import AUDIT_ENTRY, OUTBOX
from amparo_common.events.types import ReferralChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Adapter, Destination, IncidentStatus, Level, ReferralStatus, Release, Role
from amparo_referral.tables import NO_ROUTE, REFERRAL

pytestmark = pytest.mark.anyio

CANARY = "Tell Ms Marzipan Canary that the school knows"


async def closed_to_the_machine(world: Any, **fields: Any) -> Any:
    """Give an incident that the machine refers nowhere."""
    case = world.case(destinations=(Destination.NONE_CLOSE,), **fields)
    await world.take(case.joined, case.state)
    return case


async def test_a_triager_refers_and_the_answer_is_the_event_of_the_outbox(world: Any, people: Any) -> None:
    partner = await world.routed(release=Release.AFTER_REVIEW)
    case = await closed_to_the_machine(world)
    reply = await people.refer(case, lawful_basis="PUBLIC_TASK", note=CANARY)
    assert reply.status_code == 200
    told = reply.json()["referral"]
    assert told == await people.told(ReferralChanged)
    assert told["status"] == "QUEUED", "a person's word needs no review by a person"
    assert (told["partner_id"], told["lawful_basis"], told["release"]) == (
        str(partner.id),
        "PUBLIC_TASK",
        "AFTER_REVIEW",
    )
    await world.build()
    await world.send()
    assert world.data()["package"]["note"] == CANARY
    assert world.data()["lawful_basis"] == "PUBLIC_TASK"
    rows = [row for row in await world.rows(AUDIT_ENTRY) if row["action"] == "referral.created"]
    assert [(row["actor"], row["role"].upper(), row["subject"]) for row in rows] == [
        ("triager", "TRIAGER", case.state.reference)
    ]


async def test_a_note_is_nowhere_on_disk_in_clear(world: Any, people: Any, tmp_path: Path) -> None:
    await world.routed(release=Release.WITH_APPROVAL)
    case = await closed_to_the_machine(world)
    referral_id = (await people.refer(case, note=CANARY)).json()["referral"]["referral_id"]
    await world.build()
    assert (await people.sign(referral_id, reason=CANARY)).status_code == 200
    assert (await people.respond(referral_id, note=CANARY)).status_code == 200
    assert (await people.package(referral_id)).json()["notes"][0]["note"] == CANARY
    await world.database.read(lambda session: None)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.name.startswith("referral.db") for file in files)
    for file in files:
        assert b"Marzipan" not in file.read_bytes(), file.name


async def test_the_package_is_there_with_the_answer_and_later_while_intake_gives_no_keys(
    world: Any, people: Any
) -> None:
    await world.routed()
    case, late = await closed_to_the_machine(world), await closed_to_the_machine(world)
    told = (await people.refer(case, note=CANARY)).json()["referral"]
    assert told["package_version"] == 1
    assert (await people.package(told["referral_id"])).json()["content"]["note"] == CANARY
    assert await world.send() == 1
    world.keys.down = True
    told = (await people.refer(late)).json()["referral"]
    assert (told["status"], told["package_version"]) == ("QUEUED", 0)
    world.keys.down = False
    assert (await people.package(told["referral_id"])).status_code == 404
    await world.build()
    assert await world.send() == 1


@pytest.mark.parametrize("role", ["agent", "partner", "integrator", "auditor", "admin"])
async def test_other_roles_may_not_refer_and_that_is_on_record(world: Any, people: Any, role: str) -> None:
    await world.routed()
    case = await closed_to_the_machine(world)
    assert (await people.refer(case, by=role)).status_code == 403
    assert await world.rows(REFERRAL) == []
    assert await people.denials() == [(role, "referral.created", case.state.reference)]


async def test_without_a_token_nobody_refers(world: Any, people: Any) -> None:
    case = await closed_to_the_machine(world)
    reply = await people.http.post(f"/v1/incidents/{case.id}/referrals", json={})
    assert reply.status_code == 401


async def test_an_incident_of_another_country_looks_like_none(world: Any, people: Any) -> None:
    await world.routed()
    people.known("abroad", Role.TRIAGER, countries=("FR",))
    people.known("nowhere", Role.TRIAGER)
    case = await closed_to_the_machine(world, country="GT")
    for name in ("abroad", "nowhere"):
        foreign = await people.refer(case, by=name)
        unknown = await people.call(
            name,
            "POST",
            f"/v1/incidents/{uuid7()}/referrals",
            {"destination": "HOTLINE", "lawful_basis": "PUBLIC_TASK"},
        )
        garbled = await people.call(name, "POST", "/v1/incidents/no-id/referrals", {})
        assert foreign.status_code == unknown.status_code == garbled.status_code == 404
        assert foreign.json() == unknown.json() == garbled.json()
    assert await world.rows(REFERRAL) == []
    assert ("abroad", "referral.created", case.state.reference) in await people.denials()


async def test_a_field_that_is_wrong_is_pointed_at_and_not_repeated(world: Any, people: Any) -> None:
    case = await closed_to_the_machine(world)
    reply = await people.refer(case, destination="NOWHERE", note="", more=CANARY)
    assert reply.status_code == 422
    assert {one["pointer"] for one in reply.json()["errors"]} == {"/destination", "/note", "/more"}
    assert "Marzipan" not in reply.text


@pytest.mark.parametrize(
    ("destination", "basis", "fits"),
    [
        ("CHILD_HELPLINE", "VITAL_INTEREST", False),
        ("CHILD_HELPLINE", "PUBLIC_TASK", False),
        ("CHILD_HELPLINE", "CONSENT", True),
        ("CHILD_HELPLINE", "BEST_INTEREST_OVERRIDE", True),
        ("LAW_ENFORCEMENT", "CONSENT", False),
        ("LAW_ENFORCEMENT", "LEGAL_OBLIGATION", True),
        ("REGULATOR", "VITAL_INTEREST", False),
        ("HOTLINE", "PUBLIC_TASK", True),
    ],
)
async def test_a_basis_that_does_not_carry_the_referral_is_missing(
    world: Any, people: Any, destination: str, basis: str, *, fits: bool
) -> None:
    partner = await world.partner()
    await world.route(partner, destination=Destination(destination))
    case = await closed_to_the_machine(world)
    reply = await people.refer(case, destination=destination, lawful_basis=basis)
    if fits:
        assert reply.status_code == 200
    else:
        assert people.refusals(reply) == [("LAWFUL_BASIS_MISSING", "lawful_basis")]
        assert await world.rows(REFERRAL) == []


async def test_nothing_is_referred_to_the_reporter_or_to_nowhere(world: Any, people: Any) -> None:
    case = await closed_to_the_machine(world)
    for destination in ("RETURN_TO_REPORTER", "NONE_CLOSE"):
        assert people.refusals(await people.refer(case, destination=destination)) == [("INVALID", "destination")]


async def test_without_a_route_nothing_is_referred(world: Any, people: Any) -> None:
    case = await closed_to_the_machine(world)
    assert people.refusals(await people.refer(case)) == [("NO_ROUTE", "destination")]
    aside = await world.partner("Aside")
    assert people.refusals(await people.refer(case, partner_id=aside.id)) == [("NO_ROUTE", "destination")]
    assert people.refusals(await people.refer(case, partner_id=uuid7())) == [("NOT_FOUND", "partner_id")]


async def test_a_person_may_name_a_partner_whose_route_is_for_other_levels(world: Any, people: Any) -> None:
    await world.routed("First")
    desk = await world.partner("Desk")
    await world.route(desk, levels=(Level.P4,), release=Release.WITH_APPROVAL)
    case = await closed_to_the_machine(world)
    told = (await people.refer(case, partner_id=desk.id)).json()["referral"]
    assert (told["partner_name"], told["status"]) == ("Desk", "AWAITING_APPROVAL")


@pytest.mark.parametrize("days", [None, 181])
async def test_a_partner_that_nobody_verified_lately_gets_nothing(world: Any, people: Any, days: int | None) -> None:
    verified = None if days is None else world.clock.now() - timedelta(days=days)
    partner = await world.routed(last_verified_at=verified)
    case = await closed_to_the_machine(world)
    for partner_id in (None, partner.id):
        reply = await people.refer(case, partner_id=partner_id)
        assert people.refusals(reply) == [("PARTNER_NOT_VERIFIED", "partner_id")]
    assert await world.rows(REFERRAL) == []


async def test_a_demo_lets_a_person_name_a_partner_that_was_never_verified_but_none_gone_stale(
    world: Any, people: Any
) -> None:
    world.desk.demo = True
    fresh = await world.routed("Fresh", last_verified_at=None)
    stale = await world.routed("Stale", last_verified_at=world.clock.now() - timedelta(days=181))
    case = await closed_to_the_machine(world)
    assert people.refusals(await people.refer(case, partner_id=stale.id)) == [("PARTNER_NOT_VERIFIED", "partner_id")]
    assert (await people.refer(case, partner_id=fresh.id)).status_code == 200


async def test_nothing_goes_while_a_lowering_waits_for_its_signature(world: Any, people: Any) -> None:
    await world.routed()
    case = world.case(level=Level.P1, destinations=(Destination.NONE_CLOSE,), awaiting_signature=True)
    await world.take(case.joined, case.state)
    assert people.refusals(await people.refer(case)) == [("LOWERING_NEEDS_SIGNATURE", None)]


async def test_nothing_of_a_closed_or_erased_incident_leaves(world: Any, people: Any) -> None:
    await world.routed()
    closed = await closed_to_the_machine(world, status=IncidentStatus.CLOSED)
    erased = await closed_to_the_machine(world)
    await world.take(world.erased(erased))
    for case in (closed, erased):
        for note in (None, CANARY):
            assert people.refusals(await people.refer(case, note=note)) == [("TRANSITION_NOT_ALLOWED", None)]


async def test_a_note_that_cannot_be_sealed_now_is_asked_for_again(world: Any, people: Any) -> None:
    await world.routed()
    case = await closed_to_the_machine(world)
    world.keys.down = True
    assert (await people.refer(case, note=CANARY)).status_code == 503
    assert await world.rows(REFERRAL) == []


# ---------------------------------------------------------------- the same destination again


async def test_a_referral_that_waits_for_a_review_goes_on_a_persons_word(world: Any, people: Any) -> None:
    await world.routed(release=Release.AFTER_REVIEW)
    case, referral = await world.open()
    assert referral.status is ReferralStatus.AWAITING_REVIEW
    told = (await people.refer(case)).json()["referral"]
    assert (told["referral_id"], told["status"]) == (str(referral.id), "QUEUED")
    assert told == await people.told(ReferralChanged)
    await world.build()
    assert await world.send() == 1


async def test_asking_again_with_nothing_new_returns_the_same_and_tells_nobody(world: Any, people: Any) -> None:
    await world.routed()
    case = await closed_to_the_machine(world)
    first = (await people.refer(case, note=CANARY)).json()
    before = len(await world.rows(OUTBOX))
    again = await people.refer(case, note=CANARY)
    without = await people.refer(case)
    assert first == again.json() == without.json()
    assert len(await world.rows(OUTBOX)) == before


async def test_two_people_who_refer_at_once_make_one_referral(world: Any, people: Any) -> None:
    await world.routed()
    case = await closed_to_the_machine(world)
    replies = await asyncio.gather(people.refer(case), people.refer(case, by="supervisor"))
    assert [reply.status_code for reply in replies] == [200, 200]
    assert len(await world.of(case)) == 1


async def test_a_new_note_on_what_went_makes_a_new_version_of_it(world: Any, people: Any) -> None:
    await world.routed()
    case, referral = await world.open()
    await world.send()
    told = (await people.refer(case, note=CANARY)).json()["referral"]
    assert (told["referral_id"], told["status"]) == (str(referral.id), "DELIVERED")
    await world.build()
    await world.send()
    assert (world.data()["version"], world.data()["package"]["note"]) == (2, CANARY)


async def test_another_partner_is_taken_while_nothing_was_let_go_and_refused_afterwards(
    world: Any, people: Any
) -> None:
    await world.routed("First", release=Release.AFTER_REVIEW, priority=1)
    second = await world.routed("Second")
    case, referral = await world.open()
    told = (await people.refer(case, partner_id=second.id)).json()["referral"]
    assert (told["referral_id"], told["partner_name"], told["status"]) == (str(referral.id), "Second", "QUEUED")
    first = (await world.rows(REFERRAL))[0]["partner_id"]
    assert first == second.id
    other = await world.routed("Third")
    assert people.refusals(await people.refer(case, partner_id=other.id)) == [("INVALID", "partner_id")]


async def test_after_a_rejection_a_person_may_refer_to_the_next_or_the_same_partner(world: Any, people: Any) -> None:
    partner = await world.routed()
    case, referral = await world.open()
    await world.send()
    await people.respond(referral.id, "REJECTED_DUPLICATE")
    assert people.refusals(await people.refer(case)) == [("NO_ROUTE", "destination")]
    told = (await people.refer(case, partner_id=partner.id)).json()["referral"]
    assert told["referral_id"] != str(referral.id)
    assert told["status"] == "QUEUED"


# ---------------------------------------------------------------- what stays a person's


async def test_a_later_change_keeps_the_persons_partner_basis_and_release(world: Any, people: Any) -> None:
    desk = await world.routed("Desk", priority=50, release=Release.AFTER_REVIEW)
    case = await closed_to_the_machine(world)
    await people.refer(case, partner_id=desk.id, lawful_basis="LEGAL_OBLIGATION")
    await world.routed("Nearer", priority=1)
    await world.take(case.at(2, level=Level.P1))
    await world.take(case.at(3, human=True, destinations=(Destination.HOTLINE,)))
    (stored,) = await world.of(case)
    assert (stored.partner_id, stored.lawful_basis, stored.status) == (desk.id, "LEGAL_OBLIGATION", "QUEUED")
    assert stored.level is Level.P1


async def test_when_the_partner_says_no_the_next_is_asked_on_the_same_word_without_the_note(
    world: Any, people: Any
) -> None:
    await world.routed("First", priority=1)
    await world.routed("Second", priority=2, release=Release.AFTER_REVIEW)
    case = await closed_to_the_machine(world)
    told = (await people.refer(case, note=CANARY, lawful_basis="LEGAL_OBLIGATION")).json()["referral"]
    await world.build()
    await world.send()
    await people.respond(told["referral_id"], "REJECTED_JURISDICTION")
    await world.build()
    await world.send()
    (_, second) = await world.of(case)
    assert (second.referred_by, second.lawful_basis) == ("triager", "LEGAL_OBLIGATION")
    assert second.status is ReferralStatus.DELIVERED
    assert "note" not in world.data()["package"]


async def test_placing_an_incident_by_hand_takes_it_off_the_list_of_those_without_a_route(
    world: Any, people: Any
) -> None:
    case = world.case()
    await world.take(case.joined, case.state)
    assert len(await world.rows(NO_ROUTE)) == 1
    inbox = await world.partner("Inbox", adapter=Adapter.PARTNER_INBOX, address=None, has_secret=False)
    await world.route(inbox, destination=Destination.HOTLINE)
    assert (await people.refer(case, destination="HOTLINE")).status_code == 200
    assert await world.rows(NO_ROUTE) == []
