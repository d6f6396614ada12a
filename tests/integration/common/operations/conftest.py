"""A service with a real database, log, outbox relay and checkpointer, asked in process by callers of every role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from amparo_common import audit, dead_letters, operations
from amparo_common.audit import AuditEntry, Checkpointer, CheckpointSigner
from amparo_common.auth.principal import Principal
from amparo_common.auth.verifier import TokenError
from amparo_common.clock import SetClock
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.log.port import Record
from amparo_common.log.sqlite import SqliteLog
from amparo_common.relay import Relay
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Role
from amparo_common.web import service_app

SERVICE = "triage"


@dataclass
class Tokens:
    """Knows one token a role: its name."""

    clock: SetClock

    async def verify(self, token: str) -> Principal:
        if token.upper() not in Role.__members__:
            raise TokenError("signature")
        return Principal(
            subject=f"sub-{token}",
            name=token,
            roles=frozenset({Role[token.upper()]}),
            expires_at=self.clock.now() + timedelta(minutes=5),
            token=token,
        )


@dataclass
class Operated:
    """The service's surface for operators, and what lies behind it."""

    database: SqliteDatabase
    log: SqliteLog
    clock: SetClock
    checkpointer: Checkpointer
    http: httpx2.AsyncClient
    entry: AuditEntry = field(
        default=AuditEntry(actor="t", role="TRIAGER", action="incident.claim", subject="AM-1", allowed=True)
    )

    async def ask(self, method: str, path: str, *, role: str | None, **parts: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {role}"} if role else {}
        return await self.http.request(method, path, headers=headers, **parts)

    async def get(self, path: str, *, role: str, status: int = 200) -> Any:
        reply = await self.ask("GET", path, role=role)
        assert reply.status_code == status, reply.text
        return reply.json()

    async def happen(self, count: int) -> None:
        """Let so many rows come onto the chain."""
        await self.database.write(
            lambda connection: audit.record(connection, [self.entry] * count, service=SERVICE, now=self.clock.now())
        )

    async def publish(self) -> None:
        """Let the relay publish what waits."""
        relay = Relay(service=SERVICE, database=self.database, log=self.log, clock=self.clock)
        await relay.drain()

    async def bury(self, records: Sequence[Record], *, reason: str = "handler_failed:KeyError") -> None:
        """Let records become dead letters."""
        for record in records:
            await self.database.write(
                lambda connection, record=record: dead_letters.put(
                    connection, record, service=SERVICE, group=SERVICE, reason=reason, now=self.clock.now()
                )
            )
            self.clock.move(timedelta(microseconds=7))


@pytest.fixture
async def operated(database: SqliteDatabase, log: SqliteLog, clock: SetClock) -> AsyncIterator[Operated]:
    telemetry = Telemetry(SERVICE)
    app = service_app(name=SERVICE, readiness=list, telemetry=telemetry)
    app.state.verifier = Tokens(clock)
    signer = CheckpointSigner(b"s" * 32)
    checkpointer = Checkpointer(service=SERVICE, database=database, signer=signer, clock=clock)
    operations.mount(app, service=SERVICE, database=database, checkpointer=checkpointer, log=log, clock=clock)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://service", trust_env=False) as http:
        yield Operated(database=database, log=log, clock=clock, checkpointer=checkpointer, http=http)
    telemetry.close()
