"""A gateway on files of its own, fed with invented events."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from amparo_common.auth.principal import Principal
from amparo_common.clock import SetClock
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.codec import Envelope, Received, decode, encode
from amparo_common.events.types import (
    AuditRecorded,
    Decision,
    Event,
    FactorFinding,
    IncidentTriaged,
    PartnerAnswer,
    PartnerChanged,
    ReferralChanged,
    ReportJoined,
    RouteStanding,
    RuleFired,
    TaskChanged,
)
from amparo_common.http import service_client
from amparo_common.ids import reference, uuid7
from amparo_common.log.port import NewRecord, Record
from amparo_common.vocabulary.codes import (
    AcknowledgementCode,
    Adapter,
    Category,
    Channel,
    Destination,
    Factor,
    FactorSource,
    IncidentStatus,
    Lane,
    LawfulBasis,
    Level,
    ReferralStatus,
    Release,
    Role,
)
from amparo_gateway import service
from amparo_gateway.commands.client import Owners
from amparo_gateway.cursors import CursorSeal
from amparo_gateway.service import Desk, Question

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Invented:
    """Makes events; every call a new aggregate unless an id is given."""

    offset: int = 0
    at: datetime = NOON

    def incident(self, key: UUID | None = None, *, version: int = 1, score: int = 10, **fields: Any) -> IncidentTriaged:
        key = key or uuid7()
        level = fields.get("level", Level.P3)
        decision = Decision(
            version=version,
            pack="demo@1",
            pack_digest="00ff",
            base_level=level,
            level=level,
            score=score,
            rules=(RuleFired(id="R01", floor=Level.P1, factors=(Factor.IMMINENT_DANGER,), guidelines=("G-UNLISTED",)),),
            factors=(FactorFinding(factor=Factor.IMMINENT_DANGER, source=FactorSource.REPORTER),),
            guidelines=("G-UNLISTED",),
            reasons={"en": ("A reason.",), "es": ("Una razón.",)},
            proposed_destinations=(Destination.HOTLINE,),
            human=False,
            decided_by=None,
            decided_at=self.at,
        )
        given = {
            "incident_id": key,
            "reference": reference("AM", of=key),
            "version": version,
            "changed_at": self.at,
            "lane": Lane.STANDARD,
            "country": "GT",
            "channels": (Channel.WEB,),
            "received_at": self.at,
            "level": level,
            "provisional": True,
            "status": IncidentStatus.OPEN,
            "category": Category.CYBERBULLYING,
            "secondary_categories": (),
            "report_count": 1,
            "decision": decision,
            "clocks": (),
            "due_at": self.at + timedelta(hours=1),
            "claimed_by": None,
            "claimed_until": None,
            "awaiting_signature": False,
            "proposed_lowering": None,
            "owners": (),
            "victim_age": None,
            "victim_count": None,
            "is_test": False,
        }
        return IncidentTriaged(**given | fields)

    def joined(self, incident_id: UUID, report_id: UUID, *, version: int = 1, **fields: Any) -> ReportJoined:
        given = {
            "incident_id": incident_id,
            "incident_version": version,
            "report_id": report_id,
            "lane": Lane.STANDARD,
            "at": self.at,
            "received_at": self.at,
            "channel": Channel.WEB,
            "language": "es",
            "country": "GT",
            "victim_age": None,
            "victim_count": None,
            "imminent_danger": None,
            "reporter_type": None,
            "safe_contact": None,
            "owner": None,
            "narrative": b"sealed",
        }
        return ReportJoined(**given | fields)

    def referral(
        self, incident_id: UUID, *, key: UUID | None = None, version: int = 1, **fields: Any
    ) -> ReferralChanged:
        key = key or uuid7()
        answer = PartnerAnswer(
            acknowledgement_id=uuid7(),
            at=self.at,
            code=AcknowledgementCode.RECEIVED,
            by="demo-hotline",
            partner_reference="H-1",
        )
        given = {
            "referral_id": key,
            "reference": reference("RF", of=key),
            "version": version,
            "package_version": 1,
            "changed_at": self.at,
            "incident_id": incident_id,
            "partner_id": UUID(int=3),
            "partner_name": "Demo hotline",
            "organisation": "demo-hotline",
            "country": "GT",
            "destination": Destination.HOTLINE,
            "adapter": Adapter.WEBHOOK,
            "status": ReferralStatus.ACKNOWLEDGED,
            "release": Release.AUTOMATIC,
            "level": Level.P3,
            "category": Category.CYBERBULLYING,
            "lawful_basis": LawfulBasis.VITAL_INTEREST,
            "created_at": self.at,
            "delivered_at": self.at,
            "acknowledged_at": self.at,
            "due_at": None,
            "is_test": False,
            "profile": "hotline.v1",
            "withheld": (),
            "attempts": (),
            "acknowledgements": (answer,),
        }
        return ReferralChanged(**given | fields)

    def partner(self, key: UUID | None = None, *, version: int = 1, **fields: Any) -> PartnerChanged:
        given = {
            "partner_id": key or uuid7(),
            "version": version,
            "changed_at": self.at,
            "name": "Demo hotline",
            "destination": Destination.HOTLINE,
            "countries": ("GT",),
            "languages": ("es",),
            "adapter": Adapter.WEBHOOK,
            "organisation": "demo-hotline",
            "accepts_emergency": False,
            "last_verified_at": self.at,
            "routes": (
                RouteStanding(
                    country="GT",
                    destination=Destination.HOTLINE,
                    priority=100,
                    release=Release.AUTOMATIC,
                    categories=(),
                    levels=(Level.P1,),
                    enabled=True,
                ),
            ),
        }
        return PartnerChanged(**given | fields)

    def task(
        self, referral: ReferralChanged, *, key: UUID | None = None, version: int = 1, **fields: Any
    ) -> TaskChanged:
        given = {
            "task_id": key or uuid7(),
            "version": version,
            "changed_at": self.at,
            "referral_id": referral.referral_id,
            "incident_id": referral.incident_id,
            "country": referral.country,
            "kind": Adapter.PHONE_THEN_WRITTEN,
            "created_at": self.at,
            "due_at": self.at + timedelta(hours=2),
            "instructions": {"en": "Call the duty desk.", "es": "Llame a la mesa de guardia."},
            "completed_at": None,
            "completed_by": None,
        }
        return TaskChanged(**given | fields)

    def audited(self, sequence: int, **fields: Any) -> AuditRecorded:
        given = {
            "service": "triage",
            "sequence": sequence,
            "at": self.at,
            "actor": "triager",
            "role": "triager",
            "action": "claim",
            "subject": "AM-0000-0001",
            "purpose": None,
            "allowed": True,
            "hash": f"{sequence:064x}",
        }
        return AuditRecorded(**given | fields)

    def record(self, event: Event, *, key: UUID, lane: Lane = Lane.STANDARD) -> NewRecord:
        envelope = Envelope(id=uuid7(), type=event.TYPE, source="urn:amparo:test", time=self.at, key=key, lane=lane)
        return encode(event, envelope=envelope)

    def received(self, *events: Event) -> list[Received]:
        """Return `events` as they come out of the log."""
        return [self._received(event) for event in events]

    def _received(self, event: Event) -> Received:
        record = self.record(event, key=UUID(int=1))
        self.offset += 1
        return decode(
            Record(
                topic=record.topic,
                partition=0,
                offset=self.offset,
                key=record.key,
                value=record.value,
                headers=record.headers,
                appended_at_ms=0,
            )
        )


@dataclass
class Gateway:
    """A projection, and a desk that answers about it."""

    own: SqliteDatabase
    projection: SqliteDatabase
    invented: Invented
    owners: Owners
    clock: SetClock = field(default_factory=lambda: SetClock(NOON))

    def __post_init__(self) -> None:
        seal = CursorSeal(bytes(32))
        self.desk = Desk(own=self.own, projection=self.projection, seal=seal, owners=self.owners, clock=self.clock)

    async def learn(self, *events: Event) -> None:
        await service.apply(self.projection, self.invented.received(*events))

    async def ask(self, principal: Principal, document: str, **variables: Any) -> dict[str, Any]:
        """Return the answer as it goes over the wire."""
        answer = await self.desk.answer(
            Question(query=document, variables=variables), principal=principal, trace_id="0" * 31 + "1"
        )
        return msgspec.json.decode(msgspec.json.encode(answer))

    async def data(self, principal: Principal, document: str, **variables: Any) -> dict[str, Any]:
        """Return the data of an answer that must have no errors."""
        answer = await self.ask(principal, document, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@dataclass
class OwningServices:
    """Stands for intake, triage and referral on one loopback address: it answers what a test says and notes what came.

    `will` sets the answer of a place. Places without one are 404, as the services answer what a caller may not see.
    """

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, bytes, float]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    def will(self, method: str, path: str, answer: Any, *, status: int = 200, after_s: float = 0.0) -> None:
        body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        self.answers[method, path] = (status, body, after_s)

    def will_refuse(self, method: str, path: str, code: str, field: str | None = None) -> None:
        refusal = {"code": code, "message": "A rule says no.", "field": field}
        self.will(method, path, {"type": "urn:amparo:problem:refused", "refusals": [refusal]}, status=409)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        sent = await request.body()
        self.asked.append((request.method, request.url.path, msgspec.json.decode(sent) if sent else None))
        self.headers.append(dict(request.headers))
        missing = (404, b'{"type": "urn:amparo:problem:not-found", "status": 404}', 0.0)
        status, body, after_s = self.answers.get((request.method, request.url.path), missing)
        await asyncio.sleep(after_s)
        await Response(body, status_code=status, media_type="application/json")(scope, receive, send)


@pytest.fixture
async def owning() -> AsyncIterator[OwningServices]:
    services = OwningServices()
    config = uvicorn.Config(services, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        services.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(server._serve(sockets=[listener]))
        yield services
        server.should_exit = True
        await serving


def codes(answer: dict[str, Any]) -> list[str]:
    return [error.get("extensions", {}).get("code", "") for error in answer.get("errors", ())]


@pytest.fixture
def error_codes() -> Callable[[dict[str, Any]], list[str]]:
    return codes


@pytest.fixture
def invented() -> Invented:
    return Invented()


@pytest.fixture
def caller() -> Callable[..., Principal]:
    """Make a caller of a role; countries are all unless given."""

    def make(role: Role | Sequence[Role], **fields: Any) -> Principal:
        roles = frozenset({role} if isinstance(role, Role) else role)
        name = min(roles).lower() if roles else "nobody"
        given = {
            "subject": f"sub-{name}",
            "name": name,
            "roles": roles,
            "organisation": "demo-hotline" if Role.PARTNER in roles else None,
            "countries": frozenset({"*"}),
            "azp": "amparo-cli",
            "expires_at": NOON + timedelta(hours=1),
            "token": "no-token",
        }
        return Principal(**given | fields)

    return make


@pytest.fixture
async def open_projection(tmp_path: Path) -> AsyncIterator[Callable[[str], Any]]:
    """Open a migrated database by name, a projection unless told otherwise; closed at the end."""
    opened: list[SqliteDatabase] = []

    async def open_one(name: str, *, package: str = "amparo_gateway.projection") -> SqliteDatabase:
        database = await SqliteDatabase.open(tmp_path / f"{name}.db", service="gateway")
        opened.append(database)
        await migrate(database, package=package)
        return database

    yield open_one
    for database in opened:
        await database.close()


@pytest.fixture
def owner_urls() -> dict[str, str]:
    """Addresses of the owning services: nobody listens there unless a test puts its own in."""
    return dict.fromkeys(("intake", "triage", "referral"), "http://127.0.0.1:9")


@pytest.fixture
async def gateway(
    open_projection: Callable[[str], Any], invented: Invented, owner_urls: dict[str, str]
) -> AsyncIterator[Gateway]:
    own = await open_projection("own", package="amparo_gateway")
    projection = await open_projection("projection")
    async with service_client() as http:
        yield Gateway(own=own, projection=projection, invented=invented, owners=Owners(http=http, urls=owner_urls))
