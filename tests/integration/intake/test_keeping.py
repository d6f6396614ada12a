"""What is acknowledged stays, what is sensitive is nowhere in clear, and the schema is the one that is written down."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from amparo_common import faults
from amparo_common.audit import verify
from amparo_common.crypto.key_table import key_metadata
from amparo_common.db.migrations import differences, migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.db.tables import common_metadata
from amparo_common.telemetry import configure_logging
from amparo_intake.tables import intake_metadata

pytestmark = pytest.mark.anyio
Start = Callable[..., AbstractAsyncContextManager[Any]]
METADATA = [common_metadata, intake_metadata, key_metadata]
CANARIES = {
    "text": "canary-text-51c7",
    "name": "canary-name-9d02",
    "contact": "canary-contact-77aa@example.com",
    "url": "canary-url-3f3f",
    "platform": "canary-platform-b1b1",
    "handle": "canary-handle-e4e4",
    "hash": "c0ffee11" * 8,
    "source": "canary-source-8888",
    "msisdn": "+59171999333",
    "ip": "203.0.113.77",
    "message": "canary-message-6d6d",
    "key": "canary-key-2222",
}


def sensitive_body() -> dict[str, Any]:
    return {
        "channel": "web",
        "language": "es",
        "country": "BO",
        "text": f"Algo pasó. {CANARIES['text']}",
        "urls": [f"https://chat.example.com/{CANARIES['url']}"],
        "platform": CANARIES["platform"],
        "reported_accounts": [{"platform": CANARIES["platform"], "handle": CANARIES["handle"]}],
        "hashes": [{"algorithm": "sha256", "value": CANARIES["hash"], "source": CANARIES["source"]}],
        "reporter": {
            "type": "child",
            "name": CANARIES["name"],
            "contact": CANARIES["contact"],
            "safe_contact": "code_only",
        },
        "network": {"msisdn": CANARIES["msisdn"], "ip": CANARIES["ip"], "port": 4242},
    }


def spilled(folder: Path, words: dict[str, str]) -> list[str]:
    """Name each file under `folder`, write-ahead logs included, that holds one of `words` in clear."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert any(file.name == "intake.db" for file in files)
    return [
        f"{file.name}: {name}" for file in files for name, word in words.items() if word.encode() in file.read_bytes()
    ]


async def journey(intake: Any) -> str:
    """Report, write, ask, and fail in several ways; return the case code."""
    headers = {"idempotency-key": CANARIES["key"]}
    receipt = (await intake.post("/v1/reports", sensitive_body(), headers=headers)).json()
    await intake.post("/v1/reports", sensitive_body(), headers=headers)
    await intake.post("/v1/reports", sensitive_body() | {"country": "GT"}, headers=headers)
    await intake.post("/v1/reports", sensitive_body() | {"channel": CANARIES["text"]})
    await intake.post("/v1/cases/messages", {"case_code": receipt["case_code"], "text": CANARIES["message"]})
    case = await intake.status(receipt["case_code"])
    assert case["messages"][0]["text"] == CANARIES["message"]
    faults.load("intake:writer.before_commit:1:raise")
    try:
        await intake.post("/v1/reports", sensitive_body())
    finally:
        faults.load("")
    await intake.published()
    return str(receipt["case_code"])


async def test_nothing_sensitive_is_in_any_file_or_any_log_line(start: Start, tmp_path: Path) -> None:
    said, before = io.StringIO(), logging.getLogger().handlers[:]
    with redirect_stderr(said), redirect_stdout(said):
        configure_logging(level="debug")
        try:
            async with start() as intake:
                code = await journey(intake)
                secret = CANARIES | {"case code": code, "digits": code.replace(" ", "")}
                open_files = spilled(tmp_path, secret)
        finally:
            logging.getLogger().handlers = before
    lines = said.getvalue()

    assert open_files == []
    assert spilled(tmp_path, secret) == []
    assert [name for name, word in secret.items() if word in lines] == []
    assert sys.stderr is not said


async def test_no_address_of_a_reporter_is_kept(start: Start, tmp_path: Path) -> None:
    async with start() as intake:
        await intake.report()
        assert spilled(tmp_path, {"address": "127.0.0.1"}) == []


async def test_what_was_acknowledged_is_there_after_a_restart(start: Start) -> None:
    async with start() as intake:
        receipts = [await intake.report(f"Report {number}.") for number in range(5)]
        await intake.post("/v1/cases/messages", {"case_code": receipts[0]["case_code"], "text": "More."})
        first = (await intake.post("/v1/reports", sensitive_body(), headers={"idempotency-key": "k"})).json()
    async with start() as intake:
        assert await intake.count("report") == 6
        assert (await intake.status(receipts[0]["case_code"]))["messages"][0]["text"] == "More."
        for receipt in receipts[1:]:
            assert (await intake.status(receipt["case_code"]))["status"] == "received"
        again = (await intake.post("/v1/reports", sensitive_body(), headers={"idempotency-key": "k"})).json()
        assert again == first
        told = {str(getattr(one.event, "report_id", "")) for one in await intake.published()}
        assert {receipt["report_id"] for receipt in receipts} <= told


async def test_the_audit_chain_of_a_day_verifies(start: Start) -> None:
    async with start() as intake:
        for number in range(5):
            await intake.report(f"Report {number}.")
        verdict = await intake.database.read(lambda session: verify(session, service="intake", keys={}))

    assert (verdict.ok, verdict.size) == (True, 5)


async def test_the_migrations_make_exactly_the_tables_that_are_written_down(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "intake.db", service="intake")
    try:
        await migrate(database, package="amparo_intake")
        await migrate(database, package="amparo_intake")
        assert await differences(database, metadata=METADATA) == []
    finally:
        await database.close()


async def test_a_missing_column_would_show_as_a_difference(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "intake.db", service="intake")
    try:
        await migrate(database, package="amparo_intake")
        await database.change_schema(
            lambda connection: connection.execute(text("ALTER TABLE report DROP COLUMN owner"))
        )
        assert await differences(database, metadata=METADATA) != []
    finally:
        await database.close()
