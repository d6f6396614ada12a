"""Triage over a real database, with data keys held in memory that keep the port's contract."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from amparo_common import outbox
from amparo_common.auth.principal import Principal
from amparo_common.clock import SetClock
from amparo_common.crypto.blind_index import BlindIndex
from amparo_common.crypto.data_keys import KeyAnswer, KeyState
from amparo_common.crypto.parts import Account, HashReference, Message, Narrative, seal_part
from amparo_common.crypto.sealing import DataKey, new_data_key
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.db.tables import AUDIT_ENTRY
from amparo_common.errors import TransientError
from amparo_common.events.codec import Envelope, Received, decode, encode
from amparo_common.events.types import (
    Event,
    IncidentTriaged,
    ReferralChanged,
    ReporterMessageReceived,
    ReportJoined,
    ReportReceived,
    ReportsErased,
)
from amparo_common.ids import uuid7
from amparo_common.log.port import Record
from amparo_common.vocabulary.codes import (
    Adapter,
    Channel,
    Destination,
    Lane,
    LawfulBasis,
    Purpose,
    ReferralStatus,
    Release,
    ReporterType,
    Role,
)
from amparo_triage import repository
from amparo_triage.casework import Casework
from amparo_triage.domain.state import Incident
from amparo_triage.notes import Notes
from amparo_triage.opening import Opener
from amparo_triage.policy.pack import base_pack
from amparo_triage.service import Triage
from amparo_triage.text.reader import TextReader

START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


class HeldKeys:
    """The data keys of the reports made here: given, destroyed, never heard of, or not to be had now."""

    def __init__(self) -> None:
        self.keys: dict[UUID, DataKey] = {}
        self.destroyed: set[UUID] = set()
        self.reachable = True
        self.forgotten: list[UUID] = []
        self.calls = 0

    async def of(self, ids: Sequence[UUID], *, purpose: Purpose) -> Mapping[UUID, KeyAnswer]:
        assert purpose is Purpose.TRIAGE
        self.calls += 1
        if not self.reachable:
            raise TransientError("no answer")
        return {report_id: self._answer(report_id) for report_id in ids}

    def _answer(self, report_id: UUID) -> KeyAnswer:
        if report_id in self.destroyed:
            return KeyState.DESTROYED
        return self.keys.get(report_id, KeyState.UNKNOWN)

    def forget(self, ids: Iterable[UUID]) -> None:
        self.forgotten += ids


@dataclasses.dataclass
class Desk:
    """Triage with what a test looks at."""

    triage: Triage
    database: SqliteDatabase
    keys: HeldKeys
    clock: SetClock
    opener: Opener
    path: Path
    casework: Casework
    notes: Notes
    offset: int = 0

    def report(self, text: str = "Something happened.", **fields: Any) -> ReportReceived:
        """Make a report as intake tells of it; `urls`, `accounts`, `hashes`, `platform` are sealed with the text."""
        report_id = fields.pop("report_id", None) or uuid7()
        sealed = {name: fields.pop(name) for name in ("urls", "accounts", "hashes", "platform") if name in fields}
        key = self.keys.keys[report_id] = new_data_key()
        narrative = seal_part(key, Narrative(text=text, **sealed), name="narrative", report_id=report_id)
        defaults: dict[str, Any] = {
            "received_at": self.clock.now(),
            "lane": Lane.STANDARD,
            "channel": Channel.WEB,
            "language": "en",
            "country": "BO",
            "category": None,
            "factors": (),
            "victim_age": None,
            "victim_count": None,
            "imminent_danger": None,
            "reporter_type": ReporterType.CITIZEN,
            "safe_contact": None,
            "owner": None,
            "trusted_source": False,
            "is_test": False,
            "identity": None,
        }
        return ReportReceived(report_id=report_id, narrative=narrative, **(defaults | fields))

    def message(self, report: ReportReceived, text: str) -> ReporterMessageReceived:
        message_id = uuid7()
        sealed = seal_part(
            self.keys.keys[report.report_id],
            Message(text=text),
            name=f"message:{message_id}",
            report_id=report.report_id,
        )
        return ReporterMessageReceived(
            report_id=report.report_id, message_id=message_id, at=self.clock.now(), language="en", message=sealed
        )

    def delivery(self, event: Event, *, event_id: UUID | None = None) -> Received:
        """Wrap an event as it comes out of the log."""
        key = getattr(event, "report_id", None) or event.incident_id  # type: ignore[attr-defined]
        lane = getattr(event, "lane", Lane.STANDARD)
        envelope = Envelope(
            id=event_id or uuid7(),
            type=event.TYPE,
            source="urn:amparo:intake",
            time=self.clock.now(),
            key=key,
            lane=lane,
        )
        new = encode(event, envelope=envelope)
        self.offset += 1
        return decode(
            Record(
                topic=new.topic,
                partition=0,
                offset=self.offset,
                key=new.key,
                value=new.value,
                headers=new.headers,
                appended_at_ms=0,
            )
        )

    async def take(self, *events: Event) -> list[Received]:
        """Hand events over as one batch; return the deliveries, to hand them over again."""
        deliveries = [self.delivery(event) for event in events]
        await self.triage.handle(deliveries)
        return deliveries

    async def incidents(self) -> list[Incident]:
        return await self.database.read(repository.all_incidents)

    async def only_incident(self) -> Incident:
        (incident,) = await self.incidents()
        return incident

    async def told(self, kind: type[Event]) -> list[Any]:
        """Return the events of a kind that wait in the outbox, in order of their writing."""
        waiting = await self.database.read(lambda session: outbox.take(session, 10_000))
        records = [
            Record(topic=one.record.topic, partition=0, offset=one.seq, key=one.record.key, value=one.record.value,
                   headers=one.record.headers, appended_at_ms=0)
            for one in sorted(waiting, key=lambda one: one.seq)
        ]  # fmt: skip
        return [event for event in (decode(record).event for record in records) if isinstance(event, kind)]

    async def states(self) -> list[IncidentTriaged]:
        return await self.told(IncidentTriaged)

    async def joinings(self) -> list[ReportJoined]:
        return await self.told(ReportJoined)

    def erasure(self, incident_id: UUID, *report_ids: UUID) -> ReportsErased:
        self.keys.destroyed.update(report_ids)
        return ReportsErased(incident_id=incident_id, report_ids=report_ids, at=self.clock.now())

    def person(self, name: str, role: Role = Role.TRIAGER, *countries: str) -> Principal:
        """Make the principal of a person; without countries one who sees all."""
        return Principal(
            subject=f"sub-{name}",
            name=name,
            roles=frozenset({role}),
            countries=frozenset(countries or ("*",)),
            expires_at=self.clock.now() + timedelta(hours=1),
            token="",
        )

    async def audited(self) -> list[tuple[str, str, bool]]:
        """Return (actor, action, allowed) of every audit row, in order."""
        query = select(AUDIT_ENTRY.c.actor, AUDIT_ENTRY.c.action, AUDIT_ENTRY.c.allowed).order_by(
            AUDIT_ENTRY.c.sequence
        )
        return await self.database.read(lambda session: [tuple(row) for row in session.execute(query)])

    def referral(self, incident: IncidentTriaged) -> ReferralChanged:
        """Make the event of a first referral of `incident` that reached a partner just now."""
        now = self.clock.now()
        return ReferralChanged(
            referral_id=uuid7(), reference="RF-0000-0000", version=1, package_version=1, changed_at=now,
            incident_id=incident.incident_id, partner_id=uuid7(), partner_name="Hotline", organisation=None,
            country="BO", destination=Destination.HOTLINE, adapter=Adapter.WEBHOOK, status=ReferralStatus.DELIVERED,
            release=Release.AFTER_REVIEW, level=incident.level, category=incident.category,
            lawful_basis=LawfulBasis.PUBLIC_TASK, created_at=now, delivered_at=now, acknowledged_at=None, due_at=None,
            is_test=False, profile="hotline.v1", withheld=(), attempts=(), acknowledgements=(),
        )  # fmt: skip

    def wait(self, **span: float) -> None:
        self.clock.move(timedelta(**span))


OpenDesk = Callable[[str], Any]


@pytest.fixture(scope="session")
def reader() -> TextReader:
    return TextReader()


@pytest.fixture
async def open_desk(tmp_path: Path, reader: TextReader) -> AsyncIterator[OpenDesk]:
    """Give a maker of desks, each with its own empty database; keys may be shared."""
    opened: list[SqliteDatabase] = []

    async def make(name: str, keys: HeldKeys | None = None) -> Desk:
        path = tmp_path / f"{name}.db"
        database = await SqliteDatabase.open(path, service="triage")
        opened.append(database)
        await migrate(database, package="amparo_triage")
        pack, clock, held = base_pack(), SetClock(START), keys or HeldKeys()
        opener = Opener(keys=held, blind=BlindIndex(b"k" * 32), reader=reader, joining=pack.table.joining)
        triage = Triage(database=database, opener=opener, pack=pack, clock=clock)
        return Desk(
            triage=triage,
            database=database,
            keys=held,
            clock=clock,
            opener=opener,
            path=path,
            casework=Casework(database=database, keys=held, pack=pack, clock=clock),
            notes=Notes(database=database, keys=held, clock=clock),
        )

    yield make
    for database in opened:
        await database.close()


@pytest.fixture
async def desk(open_desk: OpenDesk) -> Desk:
    made: Desk = await open_desk("triage")
    return made


@pytest.fixture
def account() -> type[Account]:
    return Account


@pytest.fixture
def hash_reference() -> type[HashReference]:
    return HashReference
