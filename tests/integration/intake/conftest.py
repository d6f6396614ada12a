"""A real intake on a real socket, with a real log and database in a folder of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import func, select, table as named, text

from amparo_common.auth.principal import Principal
from amparo_common.auth.verifier import TokenError, Verifier
from amparo_common.clock import SetClock
from amparo_common.crypto.provider import FileKeyProvider
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.codec import Envelope, Received, decode, encode
from amparo_common.events.types import Event
from amparo_common.log.sqlite import SqliteLog
from amparo_common.relay import Relay
from amparo_common.runtime import Service, serve
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Lane, Role
from amparo_intake.api import create_app
from amparo_intake.api_casework import CaseworkPages
from amparo_intake.casework import Casework
from amparo_intake.consumer import case_consumer
from amparo_intake.domain.admission import Limits, Rate
from amparo_intake.keyed import IntakeSecrets
from amparo_intake.preservation import Preservation
from amparo_intake.service import Intake

GENEROUS = Limits(soft=Rate(10, 600), hard=Rate(20, 1200))
PEOPLE = {
    "agent": Role.AGENT,
    "triager": Role.TRIAGER,
    "supervisor": Role.SUPERVISOR,
    "partner": Role.PARTNER,
    "integrator": Role.INTEGRATOR,
    "auditor": Role.AUDITOR,
    "admin": Role.ADMIN,
    "service": Role.SERVICE,
    "reporter_app": Role.REPORTER_APP,
}


class NamedTokens:
    """Keeps the verifier's contract for tokens that are names: `agent` is an agent, `triager-bo` one of Bolivia."""

    def __init__(self, clock: SetClock) -> None:
        self._clock = clock

    async def verify(self, token: str) -> Principal:
        name, _, country = token.partition("-")
        if name not in PEOPLE:
            raise TokenError("unknown-key")
        return Principal(
            subject=f"sub-{token}",
            name=token,
            roles=frozenset({PEOPLE[name]}),
            organisation="demo-hotline" if name == "partner" else None,
            countries=frozenset({country.upper() or "*"}),
            expires_at=self._clock.now() + timedelta(hours=1),
            token=token,
        )


@dataclass
class RunningIntake:
    """One intake that answers at `http`."""

    folder: Path
    clock: SetClock
    database: SqliteDatabase
    log: SqliteLog
    intake: Intake
    secrets: IntakeSecrets
    telemetry: Telemetry
    http: httpx2.AsyncClient
    lines: list[str] = field(default_factory=list)

    async def report(
        self, words: str = "Someone keeps asking my sister for pictures.", **fields: Any
    ) -> dict[str, Any]:
        """Post a report that must be taken, and return its receipt."""
        reply = await self.post("/v1/reports", body(words, **fields))
        assert reply.status_code == 202, reply.text
        return dict(reply.json())

    async def post(
        self, path: str, content: Any, *, token: str | None = None, headers: dict[str, str] | None = None
    ) -> httpx2.Response:
        sent = {"content-type": "application/json", **(headers or {})}
        if token:
            sent["authorization"] = f"Bearer {token}"
        if isinstance(content, bytes):
            return await self.http.post(path, content=content, headers=sent)
        return await self.http.post(path, json=content, headers=sent)

    async def status(self, case_code: str) -> dict[str, Any]:
        reply = await self.post("/v1/cases/status", {"case_code": case_code})
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    async def count(self, table: str) -> int:
        """Count the rows of a table."""
        query = select(func.count()).select_from(named(table))
        return await self.database.read(lambda session: session.execute(query).scalar_one())

    async def rows(self, query: str) -> list[dict[str, Any]]:
        return await self.database.read(lambda session: [dict(row) for row in session.execute(text(query)).mappings()])

    async def publish(self, *events: tuple[Event, UUID]) -> None:
        """Append events with their keys to the log, as another service would."""
        records = []
        for event, event_id in events:
            envelope = Envelope(
                id=event_id,
                type=event.TYPE,
                source="urn:amparo:test",
                time=self.clock.now(),
                key=getattr(event, "incident_id"),  # noqa: B009 - only events about incidents come here
                lane=getattr(event, "lane", Lane.STANDARD),
            )
            records.append(encode(event, envelope=envelope))
        await self.log.append(records)

    async def published(self) -> list[Received]:
        """Publish what waits and return every event of the reports and audit streams."""
        await Relay(service="intake", database=self.database, log=self.log, clock=self.clock).drain()
        topics = ["amparo.reports.urgent", "amparo.reports.standard", "amparo.audit"]
        consumer = await self.log.consumer(f"test-{id(object())}", topics=topics)
        found: list[Received] = []
        try:
            while fetched := await consumer.fetch(max_records=1000, timeout_s=0.05):
                found += [decode(record) for records in fetched.values() for record in records]
        finally:
            await consumer.close()
        return found


def body(words: str = "Someone keeps asking my sister for pictures.", **fields: Any) -> dict[str, Any]:
    """Make a report of the four required fields and whatever else is given."""
    return {"channel": "web", "language": "en", "country": "GT", "text": words} | fields


@asynccontextmanager
async def _running(
    folder: Path,
    *,
    limits: Limits = GENEROUS,
    most_waiting: int = 1000,
    clock: SetClock | None = None,
    follow: bool = False,
) -> AsyncIterator[RunningIntake]:
    clock = clock or SetClock(datetime(2026, 11, 24, 6, 0, tzinfo=UTC))
    telemetry = Telemetry("intake")
    log = await SqliteLog.open(folder)
    database = await SqliteDatabase.open(folder / "intake.db", service="intake")
    await migrate(database, package="amparo_intake")
    secrets = IntakeSecrets(FileKeyProvider.open(folder / "intake.key"))
    intake = Intake(
        database=database, secrets=secrets, clock=clock, telemetry=telemetry, limits=limits, most_waiting=most_waiting
    )
    verifier = cast("Verifier", NamedTokens(clock))
    casework = Casework(database=database, secrets=secrets, clock=clock, telemetry=telemetry)
    preservation = Preservation(casework, database=database, secrets=secrets, clock=clock)
    app = create_app(
        intake,
        colleagues=CaseworkPages(casework, preservation),
        verifier=verifier,
        telemetry=telemetry,
        readiness=list,
    )
    tasks = (case_consumer(intake, log=log, database=database, clock=clock).run,) if follow else ()
    stop, ready, ports = asyncio.Event(), asyncio.Event(), dict[str, int]()

    def on_ready(bound: Any) -> None:
        ports.update(bound)
        ready.set()

    service = Service(name="intake", port=0, app=app, tasks=tasks)
    serving = asyncio.create_task(serve([service], on_ready=on_ready, stop=stop))
    try:
        await asyncio.wait_for(ready.wait(), 5)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports['intake']}", trust_env=False) as http:
            yield RunningIntake(folder, clock, database, log, intake, secrets, telemetry, http)
    finally:
        stop.set()
        await serving
        await intake.close()
        await database.close()
        await log.close()
        telemetry.close()


Start = Callable[..., AbstractAsyncContextManager[RunningIntake]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start an intake on the folder of the test; may be called again for a restart."""

    def started(**options: Any) -> AbstractAsyncContextManager[RunningIntake]:
        return _running(tmp_path, **options)

    return started


@pytest.fixture
async def intake(start: Start) -> AsyncIterator[RunningIntake]:
    async with start() as running:
        yield running
