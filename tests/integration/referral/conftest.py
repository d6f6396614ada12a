"""A referral service without its servers: the real database, real sealing, a clock and keys that tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from amparo_common import webhooks
from amparo_common.clock import SetClock
from amparo_common.crypto.data_keys import KeyAnswer, KeyState
from amparo_common.crypto.parts import Account, HashReference, Narrative, seal_part
from amparo_common.crypto.provider import FileKeyProvider
from amparo_common.crypto.sealing import DataKey, new_data_key
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.db.tables import OUTBOX
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
from amparo_common.ids import reference, uuid7
from amparo_common.log.port import Record
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
    SafeContact,
)
from amparo_referral.adapters.port import Outcome, Parcel
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
