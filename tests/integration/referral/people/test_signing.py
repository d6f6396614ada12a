"""A second person signs: which version they saw, who may, and what a refusal does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from amparo_common.db.tables import AUDIT_ENTRY
from amparo_common.events.types import ReferralChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Level, ReferralStatus, Release, Role
from amparo_referral.tables import APPROVAL, DELIVERY

pytestmark = pytest.mark.anyio


async def awaiting(world: Any, people: Any, *, by: str = "triager") -> tuple[Any, dict[str, Any]]:
    """Give an incident with a referral of `by` that waits for its second person."""
    await world.routed(release=Release.WITH_APPROVAL)
    case, _ = await world.open()
    await people.refer(case, by=by)
    await world.build()
    return case, await people.told(ReferralChanged)


async def test_what_needs_approval_goes_on_a_second_persons_word(world: Any, people: Any) -> None:
    case, waiting = await awaiting(world, people)
    assert waiting["status"] == "AWAITING_APPROVAL"
    assert await world.send() == 0
    reply = await people.sign(waiting["referral_id"], expected_version=waiting["version"])
    assert reply.status_code == 200
    assert reply.json()["referral"] == await people.told(ReferralChanged)
    assert reply.json()["referral"]["status"] == "QUEUED"
    assert await world.send() == 1
    assert (await world.of(case))[0].status is ReferralStatus.DELIVERED
    actions = [(r["actor"], r["subject"]) for r in await world.rows(AUDIT_ENTRY) if r["action"] == "referral.approved"]
    assert actions == [("supervisor2", case.state.reference)]


async def test_a_refusal_takes_it_back_and_nothing_is_sent(world: Any, people: Any) -> None:
    case, waiting = await awaiting(world, people)
    told = (await people.sign(waiting["referral_id"], approve=False)).json()["referral"]
    assert told["status"] == "REVOKED"
    assert await world.send() == 0
    assert [row["approved"] for row in await world.rows(APPROVAL)] == [False]
    again = await people.sign(waiting["referral_id"])
    assert people.refusals(again) == [("TRANSITION_NOT_ALLOWED", None)]
    assert (await world.of(case))[0].status is ReferralStatus.REVOKED


async def test_who_referred_it_does_not_sign_it(world: Any, people: Any) -> None:
    _, waiting = await awaiting(world, people, by="supervisor")
    for approve in (True, False):
        reply = await people.sign(waiting["referral_id"], by="supervisor", approve=approve)
        assert people.refusals(reply) == [("SAME_PERSON", None)]
    assert await world.rows(APPROVAL) == []
    assert (await people.sign(waiting["referral_id"], by="supervisor2")).status_code == 200


async def test_who_decided_on_the_incident_does_not_sign_what_the_machine_referred(world: Any, people: Any) -> None:
    await world.routed(release=Release.WITH_APPROVAL)
    case, referral = await world.open()
    await world.build()
    nobody = await people.sign(referral.id)
    assert people.refusals(nobody) == [("TRANSITION_NOT_ALLOWED", None)], "two people let it go, not one"
    decided = case.at(2, human=True)
    people.known(str(decided.decision.decided_by), Role.SUPERVISOR, countries=("*",))
    await world.take(decided)
    await world.build()
    same = await people.sign(referral.id, by=str(decided.decision.decided_by))
    assert people.refusals(same) == [("SAME_PERSON", None)]
    assert (await people.sign(referral.id)).status_code == 200


async def test_a_package_that_changed_asks_again(world: Any, people: Any) -> None:
    case, seen = await awaiting(world, people)
    await world.take(case.at(2, level=Level.P1))
    await world.build()
    reply = await people.sign(seen["referral_id"], expected_version=seen["version"])
    assert people.refusals(reply) == [("VERSION_CONFLICT", "expected_version")]
    newest = await people.told(ReferralChanged)
    assert (await people.sign(seen["referral_id"], expected_version=newest["version"])).status_code == 200


async def test_an_approval_does_not_outlive_the_package_it_was_for(world: Any, people: Any) -> None:
    case, seen = await awaiting(world, people)
    await people.sign(seen["referral_id"], expected_version=seen["version"])
    await world.take(case.at(2, level=Level.P1))
    await world.build()
    assert (await people.told(ReferralChanged))["status"] == "AWAITING_APPROVAL"
    assert await world.send() == 0, "the version that was approved is not the newest any more"


async def test_a_version_that_was_being_sent_when_the_package_changed_is_delivered(world: Any, people: Any) -> None:
    case, seen = await awaiting(world, people)
    await people.sign(seen["referral_id"])
    (claimed,) = await world.sender._claim()
    await world.take(case.at(2, level=Level.P1))
    await world.build()
    world.sender._running[claimed.partner.id] += 1
    await world.sender._send(claimed)
    assert (await world.of(case))[0].status is ReferralStatus.DELIVERED
    assert (await people.respond(seen["referral_id"])).json()["referral"]["status"] == "ACKNOWLEDGED"
    assert (await people.sign(seen["referral_id"])).status_code == 200
    assert await world.send() == 1


async def test_nobody_signs_a_package_that_is_being_made(world: Any, people: Any) -> None:
    await world.routed(release=Release.WITH_APPROVAL)
    case, referral = await world.open()
    world.keys.down = True
    await people.refer(case)
    world.keys.down = False
    assert people.refusals(await people.sign(referral.id)) == [("VERSION_CONFLICT", "expected_version")]
    version = (await people.told(ReferralChanged))["version"]
    await world.build()
    ahead = await people.sign(referral.id, expected_version=version + 5)
    assert people.refusals(ahead) == [("VERSION_CONFLICT", "expected_version")]


async def test_an_update_of_what_went_waits_for_its_own_approval(world: Any, people: Any) -> None:
    case, seen = await awaiting(world, people)
    await people.sign(seen["referral_id"])
    await world.send()
    await world.take(case.at(2, level=Level.P1))
    await world.build()
    assert await world.send() == 0
    assert people.refusals(await people.sign(seen["referral_id"], approve=False)) == [("TRANSITION_NOT_ALLOWED", None)]
    told = (await people.sign(seen["referral_id"])).json()["referral"]
    assert (told["status"], told["package_version"]) == ("DELIVERED", seen["package_version"] + 1)
    assert await world.send() == 1


async def test_what_waits_for_no_approval_cannot_be_signed(world: Any, people: Any) -> None:
    await world.routed()
    _, referral = await world.open()
    assert people.refusals(await people.sign(referral.id)) == [("TRANSITION_NOT_ALLOWED", None)]


async def test_two_who_sign_at_once_have_one_winner(world: Any, people: Any) -> None:
    _, waiting = await awaiting(world, people)
    replies = await asyncio.gather(
        *(people.sign(waiting["referral_id"], by=name) for name in ("supervisor", "supervisor2") for _ in range(3))
    )
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 5
    assert len(await world.rows(APPROVAL)) == 1
    assert len(await world.rows(DELIVERY)) == 1


async def test_an_approval_and_a_refusal_at_once_have_one_winner(world: Any, people: Any) -> None:
    case, waiting = await awaiting(world, people)
    yes, no = await asyncio.gather(
        people.sign(waiting["referral_id"], by="supervisor"),
        people.sign(waiting["referral_id"], by="supervisor2", approve=False),
    )
    assert sorted([yes.status_code, no.status_code]) == [200, 409]
    status = (await world.of(case))[0].status
    assert status is (ReferralStatus.QUEUED if yes.status_code == 200 else ReferralStatus.REVOKED)


@pytest.mark.parametrize("role", ["agent", "triager", "partner", "integrator", "auditor", "admin"])
async def test_only_supervisors_sign(world: Any, people: Any, role: str) -> None:
    _, waiting = await awaiting(world, people)
    assert (await people.sign(waiting["referral_id"], by=role)).status_code == 403
    assert await world.rows(APPROVAL) == []


async def test_a_referral_of_another_country_cannot_be_told_from_none(world: Any, people: Any) -> None:
    _, waiting = await awaiting(world, people)
    people.known("abroad", Role.SUPERVISOR, countries=("FR",))
    foreign, unknown = (
        await people.sign(waiting["referral_id"], by="abroad"),
        await people.sign(uuid7(), by="abroad"),
    )
    assert (foreign.status_code, foreign.json()) == (404, unknown.json())
    assert [action for _, action, _ in await people.denials()] == ["referral.approved"] * 2
