"""Texts whose keys come late, never, or no more."""

from __future__ import annotations

import anyio
import pytest

from amparo_common.consumer import BatchConsumer
from amparo_common.events.types import ReportJoined
from amparo_common.log.sqlite import SqliteLog
from amparo_common.outbox import Outgoing, put
from amparo_common.relay import Relay
from amparo_common.vocabulary.codes import Category, Factor, FactorSource, Lane, Level
from amparo_triage.consumer import TOPICS, reports_consumer
from amparo_triage.opening import UnknownKeyError

pytestmark = pytest.mark.anyio
PAGE = "https://gallery.example.net/p/77"
THREAT = "A man I only know from a game says he will publish my private photos unless I pay."


async def test_what_a_text_says_counts_at_once_and_waits_for_a_human(desk):
    await desk.take(desk.report(THREAT))
    incident = await desk.only_incident()
    found = {one.factor: one for one in incident.findings}
    assert incident.categories[0] is Category.SEXTORTION
    assert incident.level is Level.P1
    assert found[Factor.ACTIVE_THREAT].source is FactorSource.TEXT
    assert found[Factor.ACTIVE_THREAT].confirmed is None


async def test_a_ticked_category_stays_first_and_the_most_urgent_base_counts(desk):
    await desk.take(desk.report(THREAT, category=Category.FRAUD_COMMERCIAL))
    (state,) = await desk.states()
    assert state.category is Category.FRAUD_COMMERCIAL
    assert Category.SEXTORTION in state.secondary_categories
    assert state.decision.base_level is Level.P2


async def test_without_keys_the_clear_facts_decide_and_reading_later_raises(desk):
    desk.keys.reachable = False
    await desk.take(desk.report(THREAT, category=Category.FRAUD_COMMERCIAL))
    waiting = await desk.only_incident()
    assert (waiting.level, waiting.decision.text_pending) == (Level.P4, True)
    desk.keys.reachable = True
    assert await desk.triage.read_pending() == 0, "nothing is due yet"
    desk.wait(seconds=2)
    desk.opener._no_keys_before = 0.0
    assert await desk.triage.read_pending() == 1
    read = await desk.only_incident()
    assert (read.level, read.decision.text_pending, read.version) == (Level.P1, False, 2)
    assert read.categories[0] is Category.FRAUD_COMMERCIAL
    assert await desk.triage.read_pending() == 0


async def test_a_text_that_was_read_late_cannot_lower(desk):
    desk.keys.reachable = False
    await desk.take(desk.report("My bill is too high, there is no signal."))
    assert (await desk.only_incident()).level is Level.P3
    desk.keys.reachable = True
    desk.opener._no_keys_before = 0.0
    desk.wait(seconds=2)
    await desk.triage.read_pending()
    incident = await desk.only_incident()
    assert incident.categories == (Category.OUT_OF_SCOPE,)
    assert (incident.level, incident.decision.base_level) == (Level.P3, Level.P3)


async def test_a_text_that_stays_closed_is_tried_ever_more_rarely(desk):
    desk.keys.reachable = False
    await desk.take(desk.report(THREAT))
    tries = 0
    for _ in range(600):
        desk.wait(seconds=1)
        desk.opener._no_keys_before = 0.0
        before = desk.keys.calls
        await desk.triage.read_pending()
        tries += desk.keys.calls - before
    assert 10 <= tries <= 20
    assert (await desk.only_incident()).decision.text_pending


async def test_an_address_read_late_claims_for_its_incident_and_tells_what_recurs(desk):
    first = desk.report(urls=(PAGE,))
    await desk.take(first)
    desk.keys.reachable = False
    late = desk.report(urls=(PAGE, "https://other.example.org/x"), category=Category.CSAM_SUSPECTED)
    await desk.take(late)
    desk.keys.reachable = True
    desk.opener._no_keys_before = 0.0
    desk.wait(seconds=2)
    await desk.triage.read_pending()
    homes = {incident.id: incident for incident in await desk.incidents()}
    assert {Factor.REPEAT_SUBJECT, Factor.DUPLICATE} <= {one.factor for one in homes[late.report_id].findings}
    third = desk.report(urls=("https://other.example.org/x",))
    await desk.take(third)
    assert (await desk.joinings())[-1].incident_id == late.report_id


async def test_a_destroyed_key_leaves_the_report_without_its_text(desk):
    report = desk.report(THREAT, category=Category.SEXTORTION, urls=(PAGE,))
    desk.keys.destroyed.add(report.report_id)
    await desk.take(report)
    incident = await desk.only_incident()
    assert (incident.level, incident.decision.text_pending) == (Level.P2, False)
    await desk.take(desk.report(urls=(PAGE,)))
    assert len(await desk.incidents()) == 2


async def test_an_unknown_key_fails_its_batch_and_stores_nothing(desk):
    known, unknown = desk.report(), desk.report()
    del desk.keys.keys[unknown.report_id]
    with pytest.raises(UnknownKeyError):
        await desk.take(known, unknown)
    assert await desk.incidents() == []


async def test_a_sealed_text_that_does_not_open_never_hides_its_report(desk):
    first, second = desk.report(THREAT), desk.report(imminent_danger=True)
    desk.keys.keys[second.report_id] = desk.keys.keys[first.report_id]
    await desk.take(second)
    incident = await desk.only_incident()
    assert (incident.level, incident.decision.text_pending) == (Level.P1, True)


async def test_a_record_with_an_unknown_key_is_set_aside_and_its_neighbours_go_on(desk, tmp_path):
    log = await SqliteLog.open(tmp_path)
    try:
        reports = [desk.report(f"Report {number}.") for number in range(5)]
        del desk.keys.keys[reports[2].report_id]
        events = [Outgoing(event=report, key=report.report_id, lane=Lane.STANDARD) for report in reports]
        await desk.database.write(lambda connection: put(connection, events, service="intake", now=desk.clock.now()))
        relay = Relay(service="triage", database=desk.database, log=log, clock=desk.clock)
        await relay.drain()
        consumer = reports_consumer(desk.triage, log=log, database=desk.database, clock=desk.clock)
        await _until(consumer, lambda: sum(one.handled + one.dead_lettered for one in consumer.figures().values()) == 5)
    finally:
        await log.close()
    assert consumer.figures()[Lane.STANDARD].dead_lettered == 1
    assert {incident.id for incident in await desk.incidents()} == {
        report.report_id for number, report in enumerate(reports) if number != 2
    }


async def _until(consumer: BatchConsumer, reached) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consumer.run)
        with anyio.fail_after(10):
            while not reached():
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


async def test_triage_reads_both_lanes_of_reports_and_the_referrals():
    assert TOPICS[Lane.URGENT] == ("amparo.reports.urgent",)
    assert TOPICS[Lane.STANDARD] == ("amparo.reports.standard", "amparo.referrals")


async def test_evidence_names_the_passage_and_never_its_words(desk):
    report = desk.report(f"Hello there. {THREAT}")
    await desk.take(report)
    rows = await desk.database.read(
        lambda session: session.connection().exec_driver_sql("select start, stop, category from evidence").fetchall()
    )
    passages = {f"Hello there. {THREAT}"[start:stop] for start, stop, category in rows if category == "SEXTORTION"}
    assert any("publish my private photos unless I pay" in passage for passage in passages)


async def test_no_word_of_a_report_stands_in_the_database_file(desk):
    marked = "CANARY-7f3a publishes my photos at https://canary.example.net/CANARY-7f3a"
    accounts = ()
    await desk.take(desk.report(marked, urls=("https://canary.example.net/CANARY-7f3a",), accounts=accounts))
    desk.keys.reachable = False
    await desk.take(desk.report(marked, urls=("https://canary2.example.net/CANARY-7f3a",)))
    files = list(desk.path.parent.glob("triage.db*"))
    assert files
    for file in files:
        content = file.read_bytes()
        assert b"CANARY" not in content
        assert b"canary" not in content


async def test_the_narrative_is_passed_on_as_it_came(desk):
    report = desk.report(THREAT)
    await desk.take(report)
    (joining,) = await desk.told(ReportJoined)
    assert joining.narrative == report.narrative
