"""What colleagues do with reports at intake: read them, write to reporters. Each step, refused too, is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from amparo_common.audit import AuditEntry
from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import Principal
from amparo_common.clock import Clock
from amparo_common.crypto import key_table
from amparo_common.crypto.data_keys import Destroyed
from amparo_common.crypto.parts import (
    Identity,
    Message,
    Narrative,
    open_identity,
    open_message,
    open_narrative,
    seal_part,
)
from amparo_common.crypto.sealing import DataKey
from amparo_common.db.port import Database
from amparo_common.errors import Problem, Refusal, Refused
from amparo_common.ids import reference, uuid7
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Channel, Factor, Purpose, SafeContact
from amparo_intake import repository
from amparo_intake.domain.facts import ClearFacts, may_be_written_to
from amparo_intake.keyed import IntakeSecrets
from amparo_intake.repository import OwnedReport, SealedMessage

#: Names the messages of one idempotency key; any fixed UUID does.
_MESSAGES: Final = UUID("6f1f3f0e-6a55-5c0b-9d5b-2f4f8a2f7c11")


class OpenedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report in clear, for who may read it. `narrative` and `identity` are None once it was erased."""

    report: OwnedReport
    narrative: Narrative | None
    identity: Identity | None


class OpenedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message in clear."""

    message_id: UUID
    at: datetime
    from_reporter: bool
    text: str

    def __repr__(self) -> str:
        return "OpenedMessage(hidden)"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a colleague reads of an incident at intake."""

    reports: Sequence[OpenedReport]
    messages: Sequence[OpenedMessage]


@dataclass(frozen=True, slots=True)
class _Loaded:
    reports: Sequence[OwnedReport]
    thread: Sequence[SealedMessage]
    keys: dict[UUID, bytes | Destroyed]
    unsafe_callback: bool


def entry_for(
    caller: Principal, action: str, *, incident_id: UUID, allowed: bool = True, purpose: Purpose | None = None
) -> AuditEntry:
    """Make the audit row of something that `caller` did, or was not let do, with an incident."""
    return AuditEntry(
        actor=caller.name,
        role=caller.role.lower(),
        action=action,
        subject=reference("AM", of=incident_id),
        purpose=purpose,
        allowed=allowed,
    )


def visible(reports: Sequence[OwnedReport], *, caller: Principal, permission: Permission) -> list[OwnedReport]:
    """Return those reports of one incident that `caller` may have to do with under `permission`."""
    reach = caller.may(permission)
    if reach is Reach.OWN:
        return [report for report in reports if caller.owner is not None and report.owner == caller.owner]
    if reach is Reach.ALL or (reach is Reach.COUNTRIES and reports and caller.sees_country(reports[0].country)):
        return list(reports)
    return []


def incident_unknown() -> Problem:
    """Make the 404 for an incident that is not there, or not for this caller to know of."""
    return Problem(404, "incident-unknown", "There is no such incident here.")


class Casework:
    """Reading what reporters gave, and writing to them."""

    def __init__(self, *, database: Database, secrets: IntakeSecrets, clock: Clock, telemetry: Telemetry) -> None:
        self._database, self._secrets, self._clock = database, secrets, clock
        self._reveals = telemetry.counter("amparo.reveals")

    async def reveal(self, incident_id: UUID, *, purpose: Purpose, caller: Principal) -> Opened:
        """Open the reports and messages of an incident once the audit row of that is durable.

        Raises Problem 404 when the caller may see none of it; that, too, is on record.
        """
        loaded = await self._database.read(lambda session: _load(session, incident_id))
        seen = visible(loaded.reports, caller=caller, permission=Permission.READ_SENSITIVE)
        entry = entry_for(caller, "incident.reveal", incident_id=incident_id, allowed=bool(seen), purpose=purpose)
        await self.on_record(entry)
        self._reveals.add(1, {"purpose": purpose.lower(), "allowed": str(bool(seen)).lower()})
        if not seen:
            raise incident_unknown()
        keys = {report.report_id: self._key(report.report_id, loaded) for report in seen}
        return Opened(
            reports=[_opened(report, key=keys[report.report_id]) for report in seen],
            messages=_messages(loaded.thread, keys=keys),
        )

    async def write_to_reporters(
        self, incident_id: UUID, text: str, *, idempotency_key: str | None, caller: Principal
    ) -> UUID:
        """Leave a message for those reporters of an incident to whom that does no harm; return the message's id.

        Raises Refused UNSAFE_CONTACT, with nothing stored, when there is none; Problem 404 as `reveal` does. Whether
        the caller holds the claim is for who owns claims to ask first.
        """
        loaded, now = await self._database.read(lambda session: _load(session, incident_id)), self._clock.now()
        seen = visible(loaded.reports, caller=caller, permission=Permission.WORK_QUEUE)
        if not seen:
            await self.on_record(entry_for(caller, "reporter.message", incident_id=incident_id, allowed=False))
            raise incident_unknown()
        keys = {report.report_id: self._key(report.report_id, loaded) for report in seen}
        readers = {
            report.report_id: key
            for report in seen
            if _is_safe(report, unsafe_callback=loaded.unsafe_callback) and (key := keys[report.report_id])
        }
        if not readers:
            await self.on_record(entry_for(caller, "reporter.message", incident_id=incident_id, allowed=False))
            raise Refused(Refusal("UNSAFE_CONTACT", "Writing to this reporter is not safe; nothing was sent.", "text"))
        message_id = uuid7()
        if idempotency_key is not None:
            message_id = uuid5(_MESSAGES, f"{incident_id}\0{caller.subject}\0{idempotency_key}")
        messages = [_sealed(text, report_id, key, message_id=message_id, at=now) for report_id, key in readers.items()]
        entry = entry_for(caller, "reporter.message", incident_id=incident_id)
        await self._database.write(
            lambda connection: repository.store_staff_messages(connection, messages, entry=entry, now=now)
        )
        return message_id

    async def on_record(self, entry: AuditEntry) -> None:
        """Write one audit row."""
        now = self._clock.now()

        def unit(connection: Connection) -> None:
            repository.store_audit(connection, [entry], now=now)

        await self._database.write(unit)

    def _key(self, report_id: UUID, loaded: _Loaded) -> DataKey | None:
        wrapped = loaded.keys.get(report_id)
        if not isinstance(wrapped, bytes):
            return None
        return key_table.unwrapped_for(report_id, wrapped, provider=self._secrets.provider)


def _load(session: Session, incident_id: UUID) -> _Loaded:
    reports = repository.reports_of_incident(session, incident_id)
    ids = [report.report_id for report in reports]
    progress = repository.progress_of(session, [incident_id]).get(incident_id)
    return _Loaded(
        reports=reports,
        thread=repository.thread(session, ids),
        keys=key_table.load(session, ids),
        unsafe_callback=progress is not None and progress.unsafe_callback,
    )


def _opened(report: OwnedReport, *, key: DataKey | None) -> OpenedReport:
    if key is None:
        return OpenedReport(report=report, narrative=None, identity=None)
    report_id, sealed = report.report_id, report.identity
    return OpenedReport(
        report=report,
        narrative=open_narrative(key, report.narrative, report_id=report_id),
        identity=None if sealed is None else open_identity(key, sealed, report_id=report_id),
    )


def _messages(thread: Sequence[SealedMessage], *, keys: dict[UUID, DataKey | None]) -> list[OpenedMessage]:
    """Open a thread; what was sent to several reporters shows once."""
    shown: dict[UUID, OpenedMessage] = {}
    for sealed in thread:
        key = keys.get(sealed.report_id)
        if key is None or sealed.message_id in shown:
            continue
        opened = open_message(key, sealed.message, report_id=sealed.report_id, message_id=sealed.message_id)
        shown[sealed.message_id] = OpenedMessage(
            message_id=sealed.message_id, at=sealed.at, from_reporter=sealed.from_reporter, text=opened.text
        )
    return list(shown.values())


def _sealed(text: str, report_id: UUID, key: DataKey, *, message_id: UUID, at: datetime) -> SealedMessage:
    message = seal_part(key, Message(text), name=f"message:{message_id}", report_id=report_id)
    return SealedMessage(report_id=report_id, message_id=message_id, at=at, from_reporter=False, message=message)


def _is_safe(report: OwnedReport, *, unsafe_callback: bool) -> bool:
    """Ask the rule with what the reporter ticked and what triage found since."""
    factors = tuple(Factor(code) for code in report.factors.split())
    found = (Factor.UNSAFE_CALLBACK,) if unsafe_callback else ()
    facts = ClearFacts(
        channel=Channel(report.channel),
        language=report.language,
        country=report.country,
        factors=(*factors, *found),
        safe_contact=SafeContact(report.safe_contact) if report.safe_contact else None,
    )
    return may_be_written_to(facts)
