"""From an incident to a referral: once, to the right partner, at the right time, and nothing silently lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from amparo_common.db.migrations import differences
from amparo_common.db.tables import AUDIT_ENTRY, common_metadata
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import (
    Adapter,
    Category,
    Destination,
    IncidentStatus,
    Level,
    ReferralStatus,
    Release,
    Role,
)
from amparo_referral.domain.routes import Route
from amparo_referral.partners import By, set_route
from amparo_referral.tables import DELIVERY, NO_ROUTE, PACKAGE, REPORT, referral_metadata

pytestmark = pytest.mark.anyio


async def test_the_migrations_make_exactly_the_tables_that_are_defined(world: Any) -> None:
    assert await differences(world.database, metadata=[common_metadata, referral_metadata]) == []


async def test_an_urgent_incident_is_referred_to_its_first_destination_and_sent_at_once(world: Any) -> None:
    partner = await world.routed()
    case, referral = await world.open()
    assert referral.destination is Destination.LAW_ENFORCEMENT
    assert (referral.status, referral.partner_id, referral.country) == (ReferralStatus.QUEUED, partner.id, "GT")
    assert referral.due_at == world.clock.now() + timedelta(minutes=480)
    assert await world.send() == 1
    referral = (await world.of(case))[0]
    assert referral.status is ReferralStatus.DELIVERED
    assert referral.delivered_at == world.clock.now()
    parcel, data = world.adapter.parcels[0], world.data()
    assert parcel.kind == "org.amparo.referral.sent.v1"
    assert parcel.reference == data["referral_reference"] == referral.reference
    assert data["acknowledge_url"] == f"http://127.0.0.1:8083/v1/acknowledgements?partner={partner.id}"
    assert (data["level"], data["category"], data["version"], data["is_test"]) == ("P2", "GROOMING", 1, False)
    assert "reporter.contact" in data["withheld"]


async def test_the_same_events_again_and_in_any_order_make_one_referral(world: Any) -> None:
    await world.routed()
    case = world.case()
    joined, first = world.received(case.joined), world.received(case.state)
    second = world.received(case.at(2, claimed_by="triager"))
    await world.take(second)
    await world.take(joined, first, second, first)
    await world.take(first)
    assert len(await world.of(case)) == 1
    assert await world.send() == 1
    assert len(await world.rows(PACKAGE)) == 1
    assert world.data()["package"]["reports"][0]["text"].startswith("A man from a game")


async def test_a_package_waits_a_moment_for_the_first_report_and_then_goes_without_it(world: Any) -> None:
    await world.routed()
    case = world.case()
    await world.take(case.state)
    await world.build()
    assert await world.send() == 0
    world.clock.move(timedelta(seconds=6))
    await world.build()
    assert await world.send() == 1
    assert "reports.narrative" in world.data()["withheld"]
    await world.take(case.joined)
    await world.build()
    assert await world.send() == 1
    assert world.adapter.parcels[1].kind == "org.amparo.referral.updated.v1"
    assert world.data()["package"]["reports"][0]["text"].startswith("A man from a game")
    assert world.data()["version"] == 2


async def test_without_keys_the_referral_stands_and_its_delivery_waits(world: Any) -> None:
    await world.routed()
    world.keys.down = True
    case, referral = await world.open()
    assert (referral.status, referral.package_version) == (ReferralStatus.QUEUED, 0)
    assert await world.send() == 0
    world.keys.down = False
    await world.build()
    assert await world.send() == 1
    assert (await world.of(case))[0].status is ReferralStatus.DELIVERED


async def test_changes_that_referral_does_not_act_on_make_no_new_version(world: Any) -> None:
    await world.routed()
    case, _ = await world.open()
    await world.send()
    told = len(await world.told())
    await world.take(case.at(2, claimed_by="triager", status=IncidentStatus.IN_REVIEW, report_count=2))
    await world.build()
    assert await world.send() == 0
    assert len(await world.told()) == told


async def test_a_raise_updates_the_same_referral_and_never_lowers_its_status(world: Any) -> None:
    await world.routed()
    case, referral = await world.open()
    await world.send()
    await world.take(case.at(2, level=Level.P1))
    assert await world.send() == 1
    (again,) = await world.of(case)
    assert again.id == referral.id
    assert (again.status, again.level, again.package_version) == (ReferralStatus.DELIVERED, Level.P1, 2)
    first, second = world.adapter.parcels
    assert second.kind == "org.amparo.referral.updated.v1"
    assert first.message_id != second.message_id
    assert again.due_at == world.clock.now() + timedelta(minutes=30)


async def test_the_demo_rule_holds_p3_back_until_a_human_decided(world: Any) -> None:
    await world.routed(release=Release.AFTER_REVIEW)
    case, referral = await world.open(level=Level.P3)
    assert referral.status is ReferralStatus.AWAITING_REVIEW
    assert referral.due_at is None
    assert await world.send() == 0
    await world.take(case.at(2, human=True, provisional=False, status=IncidentStatus.DECIDED))
    assert (await world.of(case))[0].status is ReferralStatus.QUEUED
    assert await world.send() == 1
    assert world.adapter.parcels[0].kind == "org.amparo.referral.sent.v1"


async def test_a_decision_that_waits_for_a_second_signature_releases_nothing(world: Any) -> None:
    await world.routed(release=Release.AFTER_REVIEW)
    case, _ = await world.open(level=Level.P3)
    await world.take(case.at(2, human=True, awaiting_signature=True))
    assert (await world.of(case))[0].status is ReferralStatus.AWAITING_REVIEW
    await world.take(case.at(3, awaiting_signature=False))
    assert (await world.of(case))[0].status is ReferralStatus.QUEUED


async def test_with_approval_waits_for_a_second_person(world: Any) -> None:
    await world.routed(release=Release.WITH_APPROVAL)
    case, referral = await world.open()
    assert referral.status is ReferralStatus.AWAITING_APPROVAL
    await world.take(case.at(2, human=True))
    assert (await world.of(case))[0].status is ReferralStatus.AWAITING_APPROVAL
    assert await world.send() == 0


async def test_what_waits_takes_the_better_route_when_the_incident_is_raised(world: Any) -> None:
    review, urgent = await world.partner("Review desk"), await world.partner("Urgent desk")
    await world.route(review, levels=(Level.P3, Level.P4), release=Release.AFTER_REVIEW)
    await world.route(urgent, levels=(Level.P1, Level.P2))
    case, referral = await world.open(level=Level.P3)
    assert referral.partner_id == review.id
    await world.take(case.at(2, level=Level.P1))
    (moved,) = await world.of(case)
    assert (moved.id, moved.partner_id, moved.status) == (referral.id, urgent.id, ReferralStatus.QUEUED)


async def test_a_destination_that_stays_here_is_not_referred(world: Any) -> None:
    await world.routed()
    case = world.case(destinations=(Destination.NONE_CLOSE,))
    other = world.case(destinations=(Destination.RETURN_TO_REPORTER, Destination.LAW_ENFORCEMENT))
    await world.take(case.joined, case.state, other.joined, other.state)
    assert await world.of(case) == await world.of(other) == []
    assert await world.rows(NO_ROUTE) == []


async def test_an_incident_without_a_route_is_kept_audited_and_placed_as_soon_as_one_is_set(world: Any) -> None:
    case = world.case()
    await world.take(case.joined, case.state)
    assert await world.of(case) == []
    assert [row["incident_id"] for row in await world.rows(NO_ROUTE)] == [case.id]
    assert "referral.no_route" in [row["action"] for row in await world.rows(AUDIT_ENTRY)]
    partner = await world.partner()
    route = Route(
        country="GT",
        destination=Destination.LAW_ENFORCEMENT,
        partner_id=partner.id,
        priority=1,
        release=Release.AUTOMATIC,
    )
    await set_route(world.desk, route, by=By("admin", Role.ADMIN))
    assert await world.rows(NO_ROUTE) == []
    await world.build()
    assert await world.send() == 1
    assert (await world.of(case))[0].status is ReferralStatus.DELIVERED


async def test_closing_revokes_what_waits_and_leaves_what_arrived(world: Any) -> None:
    await world.routed(release=Release.AFTER_REVIEW)
    waiting, _ = await world.open(level=Level.P3)
    await world.take(waiting.at(2, status=IncidentStatus.CLOSED))
    assert (await world.of(waiting))[0].status is ReferralStatus.REVOKED
    arrived, _ = await world.open(level=Level.P3)
    await world.take(arrived.at(2, human=True))
    await world.send()
    await world.take(arrived.at(3, status=IncidentStatus.CLOSED))
    assert (await world.of(arrived))[0].status is ReferralStatus.DELIVERED


async def test_a_reopened_incident_is_referred_again(world: Any) -> None:
    await world.routed(release=Release.AFTER_REVIEW)
    case, _ = await world.open(level=Level.P3)
    await world.take(case.at(2, status=IncidentStatus.CLOSED))
    await world.take(case.at(3, status=IncidentStatus.OPEN))
    assert [one.status for one in await world.of(case)] == [ReferralStatus.REVOKED, ReferralStatus.AWAITING_REVIEW]


async def test_a_human_who_decides_for_another_body_takes_back_what_waits(world: Any) -> None:
    await world.routed(release=Release.AFTER_REVIEW)
    case, _ = await world.open(level=Level.P3)
    await world.take(
        case.at(2, human=True, category=Category.CYBERBULLYING, destinations=(Destination.CHILD_HELPLINE,))
    )
    assert (await world.of(case))[0].status is ReferralStatus.REVOKED
    assert [row["destination"] for row in await world.rows(NO_ROUTE)] == ["CHILD_HELPLINE"]


async def test_the_partner_inbox_has_it_the_moment_it_is_queued(world: Any) -> None:
    await world.routed("Inbox", adapter=Adapter.PARTNER_INBOX, address=None, has_secret=False)
    _, referral = await world.open()
    assert referral.status is ReferralStatus.DELIVERED
    assert await world.send() == 0
    event = (await world.told())[-1]
    assert [attempt.outcome for attempt in event.attempts] == ["placed_in_inbox"]
    assert event.profile == "law_enforcement.v1"
    assert "reporter.name" in [field.field for field in event.withheld]


async def test_a_partner_nobody_verified_for_half_a_year_gets_nothing_from_the_machine(world: Any) -> None:
    await world.routed(last_verified_at=world.clock.now() - timedelta(days=181))
    case = world.case()
    await world.take(case.joined, case.state)
    assert await world.of(case) == []
    assert len(await world.rows(NO_ROUTE)) == 1


async def test_an_erasure_revokes_what_waits_and_deletes_packages_narratives_and_deliveries(world: Any) -> None:
    await world.routed()
    case, referral = await world.open()
    assert referral.status is ReferralStatus.QUEUED
    await world.take(world.erased(case))
    assert (await world.referral(referral.id)).status is ReferralStatus.REVOKED
    assert await world.rows(PACKAGE) == []
    assert [row["narrative"] for row in await world.rows(REPORT)] == [None]
    assert [row["state"] for row in await world.rows(DELIVERY)] == ["revoked"]
    assert await world.send() == 0
    await world.take(case.joined, case.at(2, level=Level.P1))
    await world.build()
    assert await world.send() == 0
    assert len(await world.of(case)) == 1


async def test_an_erasure_seen_before_its_incident_lets_nothing_of_it_in(world: Any) -> None:
    await world.routed()
    case = world.case()
    await world.take(world.erased(case))
    await world.take(case.joined, case.state)
    assert await world.of(case) == []
    assert [row["narrative"] for row in await world.rows(REPORT)] == [None]


async def test_destroyed_keys_alone_make_what_waits_revoked(world: Any) -> None:
    await world.routed()
    world.keys.down = True
    case, referral = await world.open()
    world.keys.down = False
    world.keys.destroyed.add(case.id)
    await world.build()
    assert (await world.referral(referral.id)).status is ReferralStatus.REVOKED


async def test_a_later_report_whose_key_is_destroyed_leaves_a_package_without_it(world: Any) -> None:
    await world.routed()
    case = world.case()
    second = world.joined(case.id, uuid7(), text="Another one tells of the same.")
    world.keys.destroyed.add(second.report_id)
    await world.take(case.joined, second, case.state)
    await world.build()
    assert await world.send() == 1
    told = [report.get("text") for report in world.data()["package"]["reports"]]
    assert told == ["A man from a game asks my daughter to meet him.", None]


async def test_each_change_is_told_once_with_a_growing_version(world: Any) -> None:
    await world.routed()
    case, _ = await world.open()
    await world.send()
    await world.take(case.at(2, level=Level.P1))
    await world.send()
    told = await world.told()
    versions = [event.version for event in told]
    assert versions == sorted(set(versions))
    assert [event.status for event in told] == ["QUEUED", "DELIVERED", "DELIVERED", "DELIVERED"]
    assert [len(event.attempts) for event in told] == [0, 1, 1, 2]


async def test_a_test_report_is_marked_all_the_way(world: Any) -> None:
    await world.routed()
    await world.open(is_test=True)
    await world.send()
    assert world.data()["is_test"] is True
    assert world.data()["package"]["is_test"] is True
    assert all(event.is_test for event in await world.told())


async def test_the_stored_package_tells_nothing_without_the_key(world: Any) -> None:
    await world.routed()
    await world.open(text="Marzipan is the word that nobody may read.")
    await world.send()
    tables = [PACKAGE, REPORT, DELIVERY]
    stored = b"".join([msgspec.json.encode(await world.rows(table), enc_hook=repr) for table in tables])
    assert b"Marzipan" not in stored
    assert b"chat.example.com" not in stored
    assert "Marzipan" in world.data()["package"]["reports"][0]["text"]
