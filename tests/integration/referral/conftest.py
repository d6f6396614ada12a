"""A referral service without its servers: the real database, real sealing, a clock and keys that tests set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import msgspec
import pytest

from amparo_common import webhooks
from amparo_common.auth.issuer.app import create_app as issuer_app
from amparo_common.auth.issuer.clients import Client, Grant
from amparo_common.auth.issuer.demo import USERS
from amparo_common.auth.issuer.issuer import Issuer
from amparo_common.auth.users import User
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SetClock
from amparo_common.crypto.data_keys import KeyAnswer, KeyState
from amparo_common.crypto.parts import Account, HashReference, Narrative, seal_part
from amparo_common.crypto.provider import FileKeyProvider
from amparo_common.crypto.sealing import DataKey, new_data_key
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.db.tables import AUDIT_ENTRY, OUTBOX
from amparo_common.errors import TransientError
from amparo_common.events.codec import Envelope, Received
from amparo_common.events.types import (
    Decision,
    Event,
    FactorFinding,
    IncidentTriaged,
    ReferralChanged,
    ReportJoined,
    ReportsErased,
    RuleFired,
)
from amparo_common.http.addresses import AddressJudge
from amparo_common.ids import reference, uuid7
from amparo_common.log.port import Record
from amparo_common.runtime import Service, serve
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import (
    Adapter,
    Category,
    Channel,
    Destination,
    Factor,
    FactorSource,
    IncidentStatus,
    Lane,
    Level,
    Purpose,
    Release,
    ReporterType,
    Role,
    SafeContact,
)
from amparo_referral.adapters.port import Outcome, Parcel
from amparo_referral.api import create_app
from amparo_referral.delivery import Sender
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.routes import PartnerEntry, Route
from amparo_referral.repository import directory as entries, referrals
from amparo_referral.service import Desk, build_due, take
from amparo_referral.tables import REFERRAL

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TEXT = "A man from a game asks my daughter to meet him."
URL = "https://chat.example.com/room/4"
SECRET = webhooks.new_secret()


@dataclass
class HeldKeys:
    """Data keys as intake would give them."""

    held: dict[UUID, DataKey] = field(default_factory=dict)
    destroyed: set[UUID] = field(default_factory=set)
    down: bool = False
    calls: int = 0

    async def of(self, ids: Sequence[UUID], *, purpose: Purpose) -> Mapping[UUID, KeyAnswer]:
        assert purpose is Purpose.REFERRAL
        self.calls += 1
        if self.down:
            raise TransientError("intake does not answer")
        return {
            one: KeyState.DESTROYED if one in self.destroyed else self.held.get(one, KeyState.UNKNOWN) for one in ids
        }

    def forget(self, ids: Iterable[UUID]) -> None:
        assert list(ids)

    def new(self, report_id: UUID) -> DataKey:
        return self.held.setdefault(report_id, new_data_key())


@dataclass
class RecordingAdapter:
    """Takes what is delivered, or answers as it is told to."""

    parcels: list[Parcel] = field(default_factory=list)
    answers: list[Outcome] = field(default_factory=list)

    async def deliver(self, parcel: Parcel) -> Outcome:
        self.parcels.append(parcel)
        return self.answers.pop(0) if self.answers else Outcome(slug="delivered", status_code=204, delivered=True)


@dataclass
class Case:
    """An incident in the making: its first report and the state that triage tells."""

    joined: ReportJoined
    state: IncidentTriaged

    @property
    def id(self) -> UUID:
        return self.state.incident_id

    def at(self, version: int, **changes: Any) -> IncidentTriaged:
        """Give a later state; `human`, `destinations` and `decision_version` change the decision."""
        decision = self.state.decision
        named = {"human": "human", "destinations": "proposed_destinations", "decision_version": "version"}
        inner = {named[name]: changes.pop(name) for name in list(changes) if name in named}
        if inner.get("human"):
            inner.setdefault("version", version)
            inner["decided_by"] = "triager"
        decision = msgspec.structs.replace(decision, **inner)
        self.state = msgspec.structs.replace(self.state, version=version, decision=decision, **changes)
        return self.state


class World:
    """The desk with everything around it, and words for what tests do with it."""

    def __init__(self, database: SqliteDatabase, provider: FileKeyProvider) -> None:
        self.database, self.provider = database, provider
        self.clock, self.keys, self.adapter = SetClock(NOW), HeldKeys(), RecordingAdapter()
        self.telemetry = Telemetry("referral")
        self.secret = SECRET
        self.desk = Desk(
            database=database,
            keys=self.keys,
            provider=provider,
            clock=self.clock,
            acknowledge_url="http://127.0.0.1:8083/v1/acknowledgements",
        )
        self.sender = Sender(
            self.desk,
            adapters={Adapter.WEBHOOK: self.adapter},
            telemetry=self.telemetry,
            chance=lambda: 0.5,
        )

    # ---------------------------------------------------------------- the directory

    async def partner(self, name: str = "Police", **fields: Any) -> PartnerEntry:
        given: dict[str, Any] = {
            "id": uuid7(),
            "destination": Destination.LAW_ENFORCEMENT,
            "organisation": None,
            "countries": ("*",),
            "languages": ("en",),
            "adapter": Adapter.WEBHOOK,
            "address": "https://partner.example.org/amparo",
            "has_secret": True,
            "accepts_emergency": True,
            "last_verified_at": self.clock.now(),
        }
        entry = PartnerEntry(name=name, **(given | fields))
        wrapped = self.provider.wrap(webhooks.secret_bytes(SECRET), context=entry.id.bytes)
        now = self.clock.now()
        await self.database.write(
            lambda c: entries.put_partner(c, entry, secret=wrapped if entry.has_secret else None, now=now)
        )
        return entry

    async def route(self, partner: PartnerEntry, **fields: Any) -> Route:
        given: dict[str, Any] = {
            "country": "*",
            "destination": Destination.LAW_ENFORCEMENT,
            "priority": 100,
            "release": Release.AUTOMATIC,
        }
        route = Route(partner_id=partner.id, **(given | fields))
        await self.database.write(lambda c: entries.put_routes(c, [route]))
        return route

    async def routed(self, name: str = "Police", *, priority: int = 100, **fields: Any) -> PartnerEntry:
        """Make a partner with a route of `release` to it."""
        release = fields.pop("release", Release.AUTOMATIC)
        partner = await self.partner(name, **fields)
        await self.route(partner, priority=priority, release=release)
        return partner

    # ---------------------------------------------------------------- incidents

    def case(self, *, text: str = TEXT, **fields: Any) -> Case:
        incident_id = uuid7()
        given: dict[str, Any] = {
            "country": "GT",
            "level": Level.P2,
            "category": Category.GROOMING,
            "status": IncidentStatus.OPEN,
            "is_test": False,
            "awaiting_signature": False,
            "clocks": (),
        }
        destinations = fields.pop("destinations", (Destination.LAW_ENFORCEMENT, Destination.CHILD_HELPLINE))
        given |= fields
        state = IncidentTriaged(
            incident_id=incident_id,
            reference=reference("AM", of=incident_id),
            version=1,
            changed_at=NOW,
            lane=Lane.URGENT,
            channels=(Channel.WEB,),
            received_at=NOW,
            provisional=True,
            secondary_categories=(),
            report_count=1,
            decision=_decision(given["level"], destinations),
            due_at=NOW + timedelta(hours=1),
            claimed_by=None,
            claimed_until=None,
            proposed_lowering=None,
            owners=(),
            victim_age=14,
            victim_count=1,
            **given,
        )
        return Case(self.joined(incident_id, incident_id, text=text, country=given["country"]), state)

    def joined(self, incident_id: UUID, report_id: UUID, *, text: str = TEXT, country: str = "GT") -> ReportJoined:
        narrative = Narrative(
            text=text,
            urls=(URL,),
            platform="online game chat",
            accounts=(Account(platform="game", handle="user_example_417"),),
            hashes=(HashReference(algorithm="sha256", value="ab" * 32, source="Take It Down"),),
            occurred_at=NOW,
        )
        return ReportJoined(
            incident_id=incident_id,
            incident_version=1,
            report_id=report_id,
            lane=Lane.URGENT,
            at=NOW,
            received_at=NOW,
            channel=Channel.WEB,
            language="en",
            country=country,
            victim_age=14,
            victim_count=1,
            imminent_danger=None,
            reporter_type=ReporterType.PARENT,
            safe_contact=SafeContact.CODE_ONLY,
            owner=None,
            narrative=seal_part(self.keys.new(report_id), narrative, name="narrative", report_id=report_id),
        )

    async def take(self, *events: Event | Received) -> None:
        await take(self.desk, [event if isinstance(event, Received) else self.received(event) for event in events])

    async def open(self, **fields: Any) -> tuple[Case, Referral]:
        """Take a new incident with its report, and return it with its first referral."""
        case = self.case(**fields)
        await self.take(case.joined, case.state)
        return case, (await self.of(case))[0]

    def received(self, event: Event) -> Received:
        key = getattr(event, "incident_id", uuid7())
        envelope = Envelope(
            id=uuid7(), type=event.TYPE, source="urn:amparo:triage", time=NOW, key=key, lane=Lane.URGENT
        )
        record = Record(
            topic="amparo.incidents.urgent", partition=0, offset=0, key=b"", value=b"", headers=(), appended_at_ms=0
        )
        return Received(envelope=envelope, event=event, record=record)

    def erased(self, case: Case) -> ReportsErased:
        return self.erased_incident(case.id)

    def erased_incident(self, incident_id: UUID) -> ReportsErased:
        self.keys.destroyed.add(incident_id)
        return ReportsErased(incident_id=incident_id, report_ids=(incident_id,), at=self.clock.now())

    # ---------------------------------------------------------------- what came of it

    async def build(self) -> None:
        while await build_due(self.desk):
            pass

    async def send(self) -> int:
        """Make every attempt that is due now; return how many."""
        claimed = await self.sender._claim()
        for one in claimed:
            self.sender._running[one.partner.id] += 1
            await self.sender._send(one)
        return len(claimed)

    async def of(self, case: Case) -> list[Referral]:
        ids = [case.id]
        found = await self.database.write(lambda c: referrals.of_incidents(c, ids))
        return sorted(found, key=lambda one: (one.created_at, one.ordinal))

    async def referral(self, referral_id: UUID) -> Referral:
        return (await self.database.write(lambda c: referrals.locked(c, [referral_id])))[0]

    async def told(self) -> list[ReferralChanged]:
        """Return every event about referrals that waits in the outbox, in order."""
        rows = await self.rows(OUTBOX)
        return [
            msgspec.json.decode(row["value"], type=ReferralChanged)
            for row in sorted(rows, key=lambda row: row["seq"])
            if row["topic"] == "amparo.referrals" and kind_of(row) == ReferralChanged.TYPE
        ]

    async def told_of(self, kind: type[Any]) -> list[Any]:
        """Return every event of one type that waits in the outbox, in order."""
        rows = sorted(await self.rows(OUTBOX), key=lambda row: row["seq"])
        return [msgspec.json.decode(row["value"], type=kind) for row in rows if kind_of(row) == kind.TYPE]

    async def rows(self, table: Any = REFERRAL) -> list[dict[str, Any]]:
        return await self.database.read(lambda s: [dict(row) for row in s.execute(table.select()).mappings()])

    def data(self, number: int = -1) -> dict[str, Any]:
        """Return the `data` of a delivery that the adapter got."""
        return dict(msgspec.json.decode(self.adapter.parcels[number].data))


def kind_of(row: dict[str, Any]) -> str:
    headers = dict(msgspec.msgpack.decode(row["headers"], type=tuple[tuple[str, bytes], ...]))
    return headers["ce_type"].decode()


def _decision(level: Level, destinations: Sequence[Destination]) -> Decision:
    return Decision(
        version=1,
        pack="standard 1",
        pack_digest="d" * 64,
        base_level=level,
        level=level,
        score=10,
        rules=(RuleFired(id="R03", floor=Level.P2, factors=(Factor.ADULT_UNKNOWN,), guidelines=("COP20-A2.2",)),),
        factors=(FactorFinding(factor=Factor.ADULT_UNKNOWN, source=FactorSource.TEXT),),
        guidelines=("COP20-A2.2",),
        reasons={"en": ("An unknown adult is in contact with a child.",)},
        proposed_destinations=tuple(destinations),
        human=False,
        decided_by=None,
        decided_at=NOW,
    )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await SqliteDatabase.open(tmp_path / "referral.db", service="referral")
    await migrate(database, package="amparo_referral")
    made = World(database, FileKeyProvider.open(tmp_path / "referral.key"))
    yield made
    made.telemetry.close()
    await database.close()


# ---------------------------------------------------------------- people, over sockets with tokens of the issuer

ISSUER_URL = "http://127.0.0.1:8089"


@dataclass
class People:
    """Signed-in people who call referral over a socket."""

    world: World
    issuer: Issuer
    http: httpx2.AsyncClient
    users: dict[str, User]

    def token(self, name: str) -> str:
        client = Client(id="amparo-cli", grants=frozenset({Grant.PASSWORD}))
        return str(self.issuer.tokens_of_user(self.users[name], client=client)["access_token"])

    def known(self, name: str, role: Role, *, countries: tuple[str, ...] = (), organisation: str | None = None) -> None:
        """Let the issuer know somebody else."""
        self.users[name] = User(
            id=uuid7(), name=name, roles=frozenset({role}), countries=countries, organisation=organisation
        )

    async def call(self, name: str, method: str, path: str, body: Any = None) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.token(name)}", "content-type": "application/json"}
        content = None if body is None else msgspec.json.encode(body)
        return await self.http.request(method, path, content=content, headers=headers)

    async def refer(self, case: Case, *, by: str = "triager", **fields: Any) -> httpx2.Response:
        given = {"destination": "LAW_ENFORCEMENT", "partner_id": None, "lawful_basis": "VITAL_INTEREST", "note": None}
        return await self.call(by, "POST", f"/v1/incidents/{case.id}/referrals", given | fields)

    async def sign(self, referral_id: Any, *, by: str = "supervisor2", **fields: Any) -> httpx2.Response:
        given = {"expected_version": None, "approve": True, "reason": "Read and agreed."}
        return await self.call(by, "POST", f"/v1/referrals/{referral_id}/approval", given | fields)

    async def respond(
        self, referral_id: Any, code: str = "RECEIVED", *, by: str = "supervisor", **fields: Any
    ) -> httpx2.Response:
        unused = ("partner_reference", "note", "until", "forwarded_to", "classification")
        given = {"code": code} | dict.fromkeys(unused)
        return await self.call(by, "POST", f"/v1/referrals/{referral_id}/response", given | fields)

    async def package(self, referral_id: Any, *, by: str = "triager") -> httpx2.Response:
        return await self.call(by, "GET", f"/v1/referrals/{referral_id}/package")

    async def complete(self, task_id: Any, *, by: str = "triager", **fields: Any) -> httpx2.Response:
        given = {"partner_reference": None, "note": "Spoke to the desk."}
        return await self.call(by, "POST", f"/v1/tasks/{task_id}/completion", given | fields)

    async def told(self, kind: type[Any]) -> Any:
        """Return what was put into the outbox last, as JSON has it."""
        event = (await self.world.told_of(kind))[-1]
        return msgspec.json.decode(msgspec.json.encode(event))

    @staticmethod
    def refusals(reply: httpx2.Response) -> list[tuple[str, str | None]]:
        assert reply.status_code == 409, reply.text
        return [(one["code"], one["field"]) for one in reply.json()["refusals"]]

    async def denials(self) -> list[tuple[str, str, str]]:
        rows = await self.world.rows(AUDIT_ENTRY)
        return [(row["actor"], row["action"], row["subject"]) for row in rows if not row["allowed"]]


@pytest.fixture(scope="session")
def issuer_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the demo's users and keys once; hashing eight passwords takes its time."""
    directory = tmp_path_factory.mktemp("issuer")
    Issuer.open(directory, url=ISSUER_URL, demo=True, clock=SetClock(NOW))
    return directory


@pytest.fixture
async def people(world: World, issuer_directory: Path) -> AsyncIterator[People]:
    issuer = Issuer.open(issuer_directory, url=ISSUER_URL, demo=True, clock=world.clock)
    stop, ports = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        transport = httpx2.ASGITransport(issuer_app(issuer))
        keys = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url=ISSUER_URL))
        discovery = f"{ISSUER_URL}/.well-known/openid-configuration"
        verifier = Verifier(ISSUER_URL, discovery_url=discovery, http=keys, clock=world.clock)
        app = create_app(
            world.desk,
            verifier=verifier,
            telemetry=world.telemetry,
            readiness=lambda: (),
            judge=AddressJudge([("127.0.0.1", 18990)]).judge,
        )
        serving = asyncio.create_task(
            serve([Service(name="referral", port=0, app=app)], on_ready=ports.set_result, stop=stop)
        )
        base = f"http://127.0.0.1:{(await ports)['referral']}"
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=base, trust_env=False))
        users = {
            one.name: User(
                id=one.id,
                name=one.name,
                roles=frozenset({one.role}),
                countries=one.countries,
                organisation=one.organisation,
            )
            for one in USERS
        }
        yield People(world, issuer, http, users)
        stop.set()
        await http.aclose()
        await serving
