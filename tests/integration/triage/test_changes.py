"""What changes an incident after its first decision: messages, clocks, referrals, erasure."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from amparo_common.db.migrations import differences
from amparo_common.db.tables import common_metadata
from amparo_common.events.types import ReferralChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import (
    Adapter,
    Category,
    ClockKind,
    ClockState,
    Destination,
    Factor,
    IncidentStatus,
    LawfulBasis,
    Level,
    ReferralStatus,
    Release,
)
from amparo_triage.tables import CLAIM, EVIDENCE, PENDING_TEXT, triage_metadata

pytestmark = pytest.mark.anyio
PAGE = "https://gallery.example.net/p/77"


def clock(incident, kind):
    return next((one for one in incident.clocks if one.kind is kind), None)


def referral(incident, *, delivered_at):
    return ReferralChanged(
        referral_id=uuid7(), reference="RF-0000-0000", version=1, package_version=1, changed_at=incident.received_at,
        incident_id=incident.id, partner_id=uuid7(), partner_name="Hotline", organisation=None, country="BO",
        destination=Destination.HOTLINE, adapter=Adapter.WEBHOOK, status=ReferralStatus.DELIVERED,
        release=Release.AUTOMATIC, level=incident.level, category=Category.CSAM_SUSPECTED,
        lawful_basis=LawfulBasis.PUBLIC_TASK, created_at=incident.received_at, delivered_at=delivered_at,
        acknowledged_at=None, due_at=None, is_test=False, profile="hotline.v1", withheld=(), attempts=(),
        acknowledgements=(),
    )  # fmt: skip


async def test_the_tables_are_what_the_migrations_make(desk):
    assert await differences(desk.database, metadata=[common_metadata, triage_metadata]) == []


async def test_a_message_can_raise(desk):
    report = desk.report("They make fun of me at school.", category=Category.CYBERBULLYING)
    await desk.take(report)
    await desk.take(desk.message(report, "I cannot go on. I want to kill myself tonight."))
    incident = await desk.only_incident()
    assert incident.level is Level.P1
    assert Factor.SELF_HARM_ACTIVE in {one.factor for one in incident.findings}
    assert len(await desk.joinings()) == 1


async def test_a_message_that_says_nothing_new_is_not_told_of(desk):
    report = desk.report("They make fun of me at school.")
    await desk.take(report)
    await desk.take(desk.message(report, "Thank you."))
    assert (await desk.only_incident()).version == 1
    assert len(await desk.states()) == 1


async def test_a_message_that_comes_before_its_report_is_read_when_the_report_is_there(desk):
    report = desk.report("They make fun of me at school.", category=Category.CYBERBULLYING)
    await desk.take(desk.message(report, "I want to die."))
    assert await desk.incidents() == []
    await desk.take(report)
    desk.wait(seconds=2)
    await desk.triage.read_pending()
    assert (await desk.only_incident()).level is Level.P1


async def test_a_message_waits_for_its_key_and_is_read_once(desk):
    report = desk.report(category=Category.CYBERBULLYING)
    await desk.take(report)
    desk.keys.reachable = False
    await desk.take(desk.message(report, "I want to die."))
    assert (await desk.only_incident()).level is Level.P3
    desk.keys.reachable = True
    desk.opener._no_keys_before = 0.0
    desk.wait(seconds=2)
    assert await desk.triage.read_pending() == 1
    assert (await desk.only_incident()).level is Level.P1
    assert not (await desk.only_incident()).decision.text_pending


async def test_clocks_start_at_receipt_and_the_earliest_is_due(desk):
    await desk.take(desk.report(imminent_danger=True))
    (state,) = await desk.states()
    kinds = {one.kind: one.due_at - one.started_at for one in state.clocks}
    assert kinds[ClockKind.HUMAN_TRIAGE] == timedelta(minutes=15)
    assert kinds[ClockKind.FIRST_REFERRAL] == timedelta(minutes=60)
    assert ClockKind.PARTNER_ACKNOWLEDGEMENT not in kinds
    assert state.due_at == state.received_at + timedelta(minutes=15)


async def test_a_missed_clock_is_marked_told_of_and_said_in_the_reasons(desk):
    await desk.take(desk.report(imminent_danger=True))
    desk.wait(minutes=14)
    assert await desk.triage.notice_missed_clocks() == 0
    desk.wait(minutes=1)
    assert await desk.triage.notice_missed_clocks() == 1
    assert await desk.triage.notice_missed_clocks() == 0
    state = max(await desk.states(), key=lambda one: one.version)
    missed = [one.kind for one in state.clocks if one.state is ClockState.MISSED]
    assert missed == [ClockKind.HUMAN_TRIAGE]
    assert (state.level, state.status) == (Level.P1, IncidentStatus.OPEN)
    assert any("missed" in reason for reason in state.decision.reasons["en"])
    assert state.due_at == state.received_at + timedelta(minutes=15), "an overdue incident must not sink in the queue"


async def test_a_delivered_referral_completes_the_clock_of_the_first_one(desk):
    await desk.take(desk.report(category=Category.CSAM_SUSPECTED))
    incident = await desk.only_incident()
    desk.wait(minutes=2)
    await desk.take(referral(incident, delivered_at=None))
    assert (await desk.only_incident()).version == 1
    await desk.take(referral(incident, delivered_at=desk.clock.now()))
    after = await desk.only_incident()
    assert clock(after, ClockKind.FIRST_REFERRAL).state is ClockState.MET
    await desk.take(referral(incident, delivered_at=desk.clock.now()))
    assert (await desk.only_incident()).version == after.version == 2


async def test_a_referral_that_is_told_of_before_its_incident_counts_too(open_desk):
    first = await open_desk("first")
    report = first.report(category=Category.CSAM_SUSPECTED)
    await first.take(report)
    event = referral(await first.only_incident(), delivered_at=first.clock.now())
    second = await open_desk("second", keys=first.keys)
    await second.take(event)
    await second.take(report)
    assert clock(await second.only_incident(), ClockKind.FIRST_REFERRAL).state is ClockState.MET


async def test_erasure_drops_the_facts_and_closes_the_incident_for_joining(desk):
    report = desk.report(urls=(PAGE,), category=Category.CSAM_SUSPECTED)
    await desk.take(report)
    await desk.take(desk.erasure(report.report_id, report.report_id))
    incident = await desk.only_incident()
    assert incident.erased
    assert not incident.joinable
    assert {one.state for one in incident.clocks} == {ClockState.STOPPED}
    assert (await desk.states())[-1].erased
    assert desk.keys.forgotten == [report.report_id]
    counts = await desk.database.read(
        lambda session: [
            session.scalar(select(func.count()).select_from(table)) for table in (CLAIM, EVIDENCE, PENDING_TEXT)
        ]
    )
    assert counts == [0, 0, 0]
    await desk.take(desk.report(urls=(PAGE,)))
    assert len(await desk.incidents()) == 2


async def test_a_report_that_joined_during_the_erasure_keeps_the_incident_alive(desk):
    first = desk.report(urls=(PAGE,))
    second = desk.report(urls=(PAGE,))
    await desk.take(first, second)
    await desk.take(desk.erasure(first.report_id, first.report_id))
    incident = await desk.only_incident()
    assert not incident.erased
    assert not incident.joinable
    assert clock(incident, ClockKind.HUMAN_TRIAGE).state is ClockState.RUNNING


async def test_an_erasure_that_comes_before_its_report_holds(desk):
    report = desk.report("A man touches my daughter.", urls=(PAGE,))
    await desk.take(desk.erasure(report.report_id, report.report_id))
    await desk.take(report)
    incident = await desk.only_incident()
    assert incident.erased
    assert all(one.source != "TEXT" for one in incident.findings)


async def test_an_erased_text_that_was_pending_waits_no_more(desk):
    desk.keys.reachable = False
    report = desk.report("A man touches my daughter.")
    await desk.take(report)
    await desk.take(desk.erasure(report.report_id, report.report_id))
    incident = await desk.only_incident()
    assert not incident.decision.text_pending
    desk.wait(minutes=5)
    assert await desk.triage.read_pending() == 0


async def test_a_raise_after_a_missed_clock_starts_it_anew(desk):
    report = desk.report(urls=(PAGE,), category=Category.CYBERBULLYING)
    await desk.take(report)
    desk.wait(hours=9)
    await desk.triage.notice_missed_clocks()
    await desk.take(desk.report(urls=(PAGE,), imminent_danger=True))
    human = clock(await desk.only_incident(), ClockKind.HUMAN_TRIAGE)
    assert human.state is ClockState.RUNNING
    assert human.due_at - desk.clock.now() == timedelta(minutes=15)
