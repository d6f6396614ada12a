"""The composition root: one call opens, wires and closes an intake that is ready, measured and durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from amparo_common.log.sqlite import SqliteLog
from amparo_common.runtime import serve
from amparo_intake.app import compose
from amparo_intake.settings import IntakeSettings

pytestmark = pytest.mark.anyio
BODY = {"channel": "web", "language": "en", "country": "GT", "text": "Invented words.", "imminent_danger": True}


@asynccontextmanager
async def composed(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    # Nobody answers at the issuer's address: intake works without one for reporters who need no token.
    settings = IntakeSettings(data_dir=folder, oidc_issuer="http://127.0.0.1:9")
    log = await SqliteLog.open(folder)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    try:
        async with compose(settings, log=log) as service:
            moved = type(service)(
                name=service.name,
                port=0,
                app=service.app,
                tasks=service.tasks,
                stopping=service.stopping,
                telemetry=service.telemetry,
            )
            serving = asyncio.create_task(
                serve([moved], on_ready=lambda ports: ready.set_result(ports["intake"]), stop=stop)
            )
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{await ready}", trust_env=False) as http:
                yield http
            stop.set()
            await serving
    finally:
        await log.close()


async def until_ready(http: httpx2.AsyncClient) -> None:
    for _ in range(100):
        if (await http.get("/readyz")).status_code == 200:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("intake never became ready")


async def published(folder: Path) -> list[str]:
    """Return the types of the events in the urgent reports topic."""
    log = await SqliteLog.open(folder)
    consumer = await log.consumer("test", topics=["amparo.reports.urgent"])
    fetched: Any = await consumer.fetch(max_records=10, timeout_s=1.0)
    await consumer.close()
    await log.close()
    return [dict(record.headers)["ce_type"].decode() for records in fetched.values() for record in records]


async def test_a_composed_intake_takes_a_report_publishes_it_and_keeps_it_over_a_restart(tmp_path: Path) -> None:
    async with composed(tmp_path) as http:
        await until_ready(http)
        receipt = (await http.post("/v1/reports", json=BODY, headers={"idempotency-key": "k"})).json()
        metrics = await http.get("/metrics")
    assert receipt["lane"] == "urgent"
    assert b"amparo_outbox_depth" in metrics.content
    assert await published(tmp_path) == ["org.amparo.report.received.v1"]

    async with composed(tmp_path) as http:
        again = (await http.post("/v1/reports", json=BODY, headers={"idempotency-key": "k"})).json()
        status = await http.post("/v1/cases/status", json={"case_code": receipt["case_code"]})
    assert again == receipt
    assert status.json()["status"] == "received"


async def test_a_report_with_a_token_that_nobody_can_check_now_is_asked_again_with_guidance(tmp_path: Path) -> None:
    token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.e30.c2ln"
    async with composed(tmp_path) as http:
        reply = await http.post("/v1/reports", json=BODY, headers={"authorization": f"Bearer {token}"})

    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    assert reply.json()["guidance"]["next_steps"]


async def test_the_master_key_and_the_database_are_for_their_owner_alone(tmp_path: Path) -> None:
    async with composed(tmp_path):
        modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("intake.key", "intake.db")}

    assert modes == {"intake.key": 0o600, "intake.db": 0o600}
