"""Submitting over a real socket: receipts, repeats, refusals, limits."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from amparo_common import faults
from amparo_common.crypto.key_table import load, unwrapped_for
from amparo_common.crypto.parts import Identity, Network, open_identity, open_narrative
from amparo_common.events.types import AuditRecorded, ReportReceived
from amparo_common.vocabulary.codes import Category, Factor, Lane, ReporterType, SafeContact
from amparo_intake.domain.admission import Limits, Rate

pytestmark = pytest.mark.anyio
Start = Callable[..., AbstractAsyncContextManager[Any]]
TABLES = ("report", "data_key", "kept_receipt", "outbox", "audit_entry", "thread_message")


def body(words: str = "Someone keeps asking my sister for pictures.", **fields: Any) -> dict[str, Any]:
    return {"channel": "web", "language": "en", "country": "GT", "text": words} | fields


async def counts(intake: Any) -> dict[str, int]:
    return {table: await intake.count(table) for table in TABLES}


async def test_a_minimal_report_gets_a_receipt_with_help(intake: Any) -> None:
    receipt = await intake.report(language="es", country="BO")

    assert UUID(receipt["report_id"]).version == 7
    assert re.fullmatch(r"\d{4} \d{4} \d{4} \d{4}", receipt["case_code"])
    assert receipt["lane"] == "standard"
    assert receipt["received_at"] == "2026-11-24T06:00:00.000Z"
    assert receipt["status_url"] == "/v1/cases/status"
    assert receipt["guidance"]["language"] == "es"
    assert {"label", "number"} <= set(receipt["guidance"]["emergency_numbers"][0])


async def test_a_report_is_stored_sealed_with_its_key_event_and_audit_row(intake: Any) -> None:
    await intake.report(reporter={"type": "parent", "contact": "invented@example.com"})

    assert await counts(intake) == {
        "report": 1, "data_key": 1, "kept_receipt": 0, "outbox": 2, "audit_entry": 1, "thread_message": 0,
    }  # fmt: skip


async def test_the_event_carries_the_clear_facts_and_opens_only_with_the_reports_key(intake: Any) -> None:
    receipt = await intake.report(
        "Two words.", category="GROOMING", factors=["VIRAL", "TRUSTED_SOURCE"], victim={"age": 11, "count": 2},
        imminent_danger=True, urls=["https://chat.example.com/room/4"], platform="game",
        reporter={"type": "child", "name": "Invented", "safe_contact": "code_only"}, network={"ip": "192.0.2.9"},
    )  # fmt: skip
    events = [received.event for received in await intake.published()]
    (event,) = [event for event in events if isinstance(event, ReportReceived)]
    report_id = UUID(receipt["report_id"])
    wrapped = await intake.database.read(lambda session: load(session, [report_id]))
    key = unwrapped_for(report_id, wrapped[report_id], provider=intake.secrets.provider)

    assert (event.report_id, event.lane, event.country) == (report_id, Lane.URGENT, "GT")
    assert (event.category, event.factors) == (Category.GROOMING, (Factor.VIRAL,))
    assert (event.victim_age, event.victim_count, event.imminent_danger) == (11, 2, True)
    assert (event.reporter_type, event.safe_contact) == (ReporterType.CHILD, SafeContact.CODE_ONLY)
    assert (event.owner, event.trusted_source, event.is_test) == (None, False, False)
    narrative = open_narrative(key, event.narrative, report_id=report_id)
    assert (narrative.text, narrative.urls, narrative.platform) == (
        "Two words.",
        ("https://chat.example.com/room/4",),
        "game",
    )
    assert event.identity is not None
    assert open_identity(key, event.identity, report_id=report_id) == Identity(
        "Invented", None, Network(ip="192.0.2.9")
    )
    (audited,) = [event for event in events if isinstance(event, AuditRecorded)]
    assert (audited.actor, audited.action, audited.allowed) == ("anonymous", "report.submit", True)


@pytest.mark.parametrize(
    ("token", "owner", "trusted"),
    [
        ("agent", "agent:sub-agent", False),
        ("integrator", "integrator:sub-integrator", False),
        ("partner", None, True),
        ("triager", None, False),
        ("admin", None, False),
        ("service", None, False),
        ("reporter_app", None, False),
    ],
)
async def test_any_role_may_report_and_the_token_names_the_source(
    intake: Any, token: str, owner: str | None, trusted: bool
) -> None:
    reply = await intake.post("/v1/reports", body(channel="call_centre"), token=token)
    (row,) = await intake.rows("SELECT owner, trusted_source FROM report")

    assert reply.status_code == 202
    assert (row["owner"], bool(row["trusted_source"])) == (owner, trusted)


async def test_a_bad_token_is_refused_and_nothing_is_stored(intake: Any) -> None:
    reply = await intake.post("/v1/reports", body(), token="nobody")

    assert reply.status_code == 401
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert set((await counts(intake)).values()) == {0}


async def test_only_a_signed_in_caller_marks_a_report_as_a_test(intake: Any) -> None:
    anonymous = await intake.post("/v1/reports", body(is_test=True))
    signed_in = await intake.post("/v1/reports", body(is_test=True), token="integrator")

    assert (anonymous.status_code, anonymous.json()["errors"][0]["pointer"]) == (422, "/is_test")
    assert signed_in.status_code == 202
    assert [bool(row["is_test"]) for row in await intake.rows("SELECT is_test FROM report")] == [True]


async def test_the_same_key_six_times_at_once_is_one_report(intake: Any) -> None:
    headers = {"idempotency-key": "k-1"}
    replies = await asyncio.gather(*(intake.post("/v1/reports", body(), headers=headers) for _ in range(6)))
    late = await intake.post("/v1/reports", body(), headers=headers)

    assert {reply.status_code for reply in (*replies, late)} == {202}
    assert len({json.dumps(reply.json(), sort_keys=True) for reply in (*replies, late)}) == 1
    assert await intake.count("report") == 1
    assert await intake.count("audit_entry") == 1


async def test_the_same_key_with_another_body_is_a_conflict(intake: Any) -> None:
    headers = {"idempotency-key": "k-1"}
    await intake.post("/v1/reports", body(), headers=headers)
    other = await intake.post("/v1/reports", body(country="GH"), headers=headers)

    assert (other.status_code, other.json()["type"]) == (409, "urn:amparo:problem:idempotency-key-used")
    assert await intake.count("report") == 1


async def test_bodies_that_race_for_one_key_give_one_report_and_conflicts(intake: Any) -> None:
    headers = {"idempotency-key": "k-1"}
    replies = await asyncio.gather(
        *(intake.post("/v1/reports", body(country=country), headers=headers) for country in ("GT", "GH", "BO", "SN"))
    )

    assert sorted(reply.status_code for reply in replies) == [202, 409, 409, 409]
    assert await intake.count("report") == 1


async def test_the_same_key_of_another_caller_is_another_key(intake: Any) -> None:
    headers = {"idempotency-key": "k-1"}
    mine = await intake.post("/v1/reports", body(), headers=headers, token="agent")
    other = await intake.post("/v1/reports", body("Other words."), headers=headers, token="integrator")

    assert (mine.status_code, other.status_code) == (202, 202)
    assert await intake.count("report") == 2


async def test_a_key_is_free_again_after_a_day(intake: Any) -> None:
    headers = {"idempotency-key": "k-1"}
    first = (await intake.post("/v1/reports", body(), headers=headers)).json()
    intake.clock.move(timedelta(hours=23, minutes=59))
    repeated = (await intake.post("/v1/reports", body(), headers=headers)).json()
    intake.clock.move(timedelta(minutes=2))
    fresh = (await intake.post("/v1/reports", body("Other words."), headers=headers)).json()

    assert repeated["report_id"] == first["report_id"]
    assert fresh["report_id"] != first["report_id"]


async def test_kept_receipts_are_purged_after_a_day(intake: Any) -> None:
    await intake.post("/v1/reports", body(), headers={"idempotency-key": "k-1"})
    assert await intake.intake.purge_receipts() == 0
    intake.clock.move(timedelta(hours=24))

    assert await intake.intake.purge_receipts() == 1
    assert await intake.count("kept_receipt") == 0


@pytest.mark.parametrize("key", ["k" * 256])
async def test_an_unreadable_key_is_refused(intake: Any, key: str) -> None:
    reply = await intake.post("/v1/reports", body(), headers={"idempotency-key": key})

    assert reply.status_code == 400
    assert await intake.count("report") == 0


BAD: list[tuple[str, Any, int]] = [
    ("no JSON", b'{"channel":', 422),
    ("empty", b"", 422),
    ("a list", [], 422),
    ("invalid UTF-8", b'{"channel":"web","language":"en","country":"GT","text":"\xff"}', 422),
    ("lone surrogate", b'{"channel":"web","language":"en","country":"GT","text":"\\ud800"}', 422),
    ("NUL", body("a\0b"), 422),
    ("unknown field", body(mood="sad"), 422),
    ("script", body(urls=["javascript:alert(1)"]), 422),
    ("hash without source", body(hashes=[{"algorithm": "md5", "value": "ab" * 16}]), 422),
    ("too large", body(platform="a" * 2_000_000), 413),
]


@pytest.mark.parametrize(("name", "content", "status"), BAD, ids=[name for name, _, _ in BAD])
async def test_a_bad_report_is_a_problem_and_leaves_no_row(intake: Any, name: str, content: Any, status: int) -> None:
    reply = await intake.post("/v1/reports", content)

    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == status
    assert set((await counts(intake)).values()) == {0}


@pytest.mark.parametrize(
    "media",
    ["multipart/form-data; boundary=edge", "image/png", "video/mp4", "text/plain", "application/octet-stream",
     "application/x-www-form-urlencoded", "application/json; charset=utf-16"],
)  # fmt: skip
async def test_media_is_refused_before_its_body_is_read(intake: Any, media: str) -> None:
    reply = await intake.post("/v1/reports", b"\x89PNG\r\n", headers={"content-type": media})

    assert reply.status_code == 415
    assert set((await counts(intake)).values()) == {0}


async def test_media_is_refused_while_its_body_is_still_to_come(intake: Any) -> None:
    where = urlsplit(str(intake.http.base_url))

    def ask() -> bytes:
        with socket.create_connection((where.hostname, where.port), timeout=5) as connection:
            connection.sendall(
                b"POST /v1/reports HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: 1000\r\n\r\n"
            )
            return connection.recv(4096)

    assert (await asyncio.to_thread(ask)).startswith(b"HTTP/1.1 415")


async def test_a_text_of_the_longest_kind_in_its_longest_spelling_is_taken(intake: Any) -> None:
    escaped = b"\\ud83d\\udd4a" * 20_000
    content = b'{"channel":"web","language":"en","country":"GT","text":"' + escaped + b'"}'

    assert (await intake.post("/v1/reports", content)).status_code == 202


LOW = Limits(soft=Rate(0.001, 2), hard=Rate(0.001, 4))


async def test_above_the_soft_limit_a_report_travels_in_the_standard_lane(start: Start) -> None:
    async with start(limits=LOW) as intake:
        lanes = [(await intake.report(category="MISSING_CHILD"))["lane"] for _ in range(3)]

    assert lanes == ["urgent", "urgent", "standard"]


async def test_above_the_hard_limit_a_source_hears_when_to_come_back_and_whom_to_call(start: Start) -> None:
    async with start(limits=LOW) as intake:
        for _ in range(4):
            await intake.report()
        limited = await intake.post("/v1/reports", body(language="es", country="CR"))
        danger = await intake.post("/v1/reports", body(imminent_danger=True))
        other = await intake.post("/v1/reports", body(), token="agent")

        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) >= 1
        assert limited.json()["guidance"]["language"] == "es"
        assert limited.json()["guidance"]["emergency_numbers"][0]["number"] == "911"
        assert (danger.status_code, danger.json()["lane"]) == (202, "urgent")
        assert other.status_code == 202
        assert await intake.count("report") == 6


async def test_a_full_queue_answers_503_with_guidance(start: Start) -> None:
    async with start(most_waiting=1) as intake:
        faults.load("intake:writer.before_commit:1:delay=0.5")
        try:
            replies = await asyncio.gather(*(intake.post("/v1/reports", body()) for _ in range(8)))
        finally:
            faults.load("")
        statuses = [reply.status_code for reply in replies]
        crowded = next(reply for reply in replies if reply.status_code == 503)

        assert set(statuses) == {202, 503}
        assert int(crowded.headers["retry-after"]) >= 1
        assert crowded.json()["guidance"]["next_steps"]
        assert await intake.count("report") == statuses.count(202)


async def test_a_lost_answer_is_the_same_answer_when_asked_again(intake: Any) -> None:
    faults.load("intake:intake.before_receipt:1:raise")
    try:
        lost = await intake.post("/v1/reports", body(), headers={"idempotency-key": "k-1"})
    finally:
        faults.load("")
    again = await intake.post("/v1/reports", body(), headers={"idempotency-key": "k-1"})
    (row,) = await intake.rows("SELECT hex(report_id) AS id FROM report")

    assert (lost.status_code, again.status_code) == (503, 202)
    assert lost.json()["guidance"]
    assert UUID(row["id"]) == UUID(again.json()["report_id"])


async def test_a_commit_that_fails_gives_no_receipt_and_no_row(intake: Any) -> None:
    faults.load("intake:writer.before_commit:1:raise")
    try:
        reply = await intake.post("/v1/reports", body())
    finally:
        faults.load("")

    assert reply.status_code == 503
    assert set((await counts(intake)).values()) == {0}


async def test_many_reports_at_once_are_all_stored_with_their_events(intake: Any) -> None:
    receipts = await asyncio.gather(*(intake.report(f"Report number {number}.") for number in range(100)))
    events = [received.event for received in await intake.published()]

    assert len({receipt["report_id"] for receipt in receipts}) == 100
    assert len({receipt["case_code"] for receipt in receipts}) == 100
    assert await intake.count("report") == 100
    received = {str(event.report_id) for event in events if isinstance(event, ReportReceived)}
    assert received == {receipt["report_id"] for receipt in receipts}
    assert await intake.count("outbox") == 0


async def test_accepted_reports_are_counted_by_lane_and_channel(intake: Any) -> None:
    await intake.report()
    await intake.report(imminent_danger=True, channel="ussd")
    metrics = (await intake.http.get("/metrics")).text

    assert 'amparo_reports_accepted_total{channel="web",lane="standard"} 1.0' in metrics
    assert 'amparo_reports_accepted_total{channel="ussd",lane="urgent"} 1.0' in metrics
    assert 'route="/v1/reports"' in metrics
