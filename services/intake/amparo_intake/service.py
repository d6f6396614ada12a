"""The use cases of intake, one method each: load, decide, store, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from amparo_common import faults, inbox
from amparo_common.audit import AuditEntry
from amparo_common.auth.principal import ANONYMOUS, Principal
from amparo_common.clock import Clock
from amparo_common.consumer import of_type
from amparo_common.crypto import key_table
from amparo_common.crypto.data_keys import Destroyed, KeyAnswer, KeyState
from amparo_common.crypto.parts import Message, open_message, seal_part
from amparo_common.crypto.sealing import DataKey, SealBrokenError
from amparo_common.db.port import Database
from amparo_common.errors import Problem
from amparo_common.events.codec import Received
from amparo_common.events.types import IncidentTriaged, ReferralChanged, ReporterMessageReceived, ReportJoined
from amparo_common.ids import reference, uuid7
from amparo_common.outbox import Outgoing
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Lane, Purpose
from amparo_intake import repository
from amparo_intake.domain.admission import Limits, Rate, Verdict
from amparo_intake.domain.case_status import CaseStatus, Progress, after_incident, after_referral
from amparo_intake.domain.urgency import danger_is_ticked, lane_of
from amparo_intake.gathering import Gathering
from amparo_intake.keyed import IntakeSecrets, Receipt
from amparo_intake.preparing import Request, prepare
from amparo_intake.reading import Submission, wrong_field
from amparo_intake.repository import CaseReport, Conflict, NewReport, Outcome, Repeat, SealedMessage
from amparo_intake.settings import SERVICE
from amparo_intake.sources import Allowances, Sources, Submitters

_log: Final = structlog.get_logger()

#: Unknown case codes from one source: enough for typing errors, far too few for guessing among 10^16.
_GUESSES: Final = Rate(per_second=0.5, burst=30)
_MESSAGES: Final = Rate(per_second=1.0, burst=60)
_TRIES_FOR_A_FREE_CODE: Final = 3


class ShownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as its reporter sees it."""

    at: datetime
    from_reporter: bool
    text: str

    def __repr__(self) -> str:
        return "ShownMessage(hidden)"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What a case code shows."""

    status: CaseStatus
    messages: tuple[ShownMessage, ...]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class _Found:
    """What one read brings of a case."""

    report: CaseReport
    progress: Progress | None
    thread: Sequence[SealedMessage]
    key: bytes | KeyState | None


class Intake:
    """Takes reports and messages, shows cases by their code, hands out data keys, follows incidents and referrals."""

    def __init__(
        self,
        *,
        database: Database,
        secrets: IntakeSecrets,
        clock: Clock,
        telemetry: Telemetry,
        limits: Limits,
        most_waiting: int,
    ) -> None:
        self._database, self._secrets, self._clock, self._telemetry = database, secrets, clock, telemetry
        self._sources, self._submitters = Sources(), Submitters(limits)
        self._guesses, self._message_allowances = Allowances(_GUESSES), Allowances(_MESSAGES)
        self._gathering = Gathering[NewReport, Outcome](self._store, most_waiting=most_waiting)

    async def close(self) -> None:
        """Store what waits."""
        await self._gathering.close()

    # -------------------------------------------------------------- reports

    async def submit_report(
        self, submission: Submission, *, body: bytes, caller: Principal, address: str | None, key: str | None
    ) -> Receipt:
        """Store a report and return its receipt once it is durable.

        `body` as it came and `key` (an idempotency key) find repeats. Raises Problem 409 for a key with another body,
        429 for a source above its hard limit, CrowdedError or TransientError when it cannot be stored now.
        """
        facts, now = submission.facts, self._clock.now()
        if facts.is_test and caller is ANONYMOUS:
            raise wrong_field("/is_test", "is for signed-in callers: leave it out, so that the report is acted on")
        source = self._sources.of(address, subject=caller.subject)
        admission = self._submitters.admit(source, danger=danger_is_ticked(facts), now=now)
        if admission.verdict is not Verdict.TAKEN:
            self._telemetry.counter("amparo.reports.limited").add(1, {"verdict": admission.verdict.value})
        if admission.verdict is Verdict.LIMITED:
            raise _too_many(admission.retry_after_s)
        lane = Lane.STANDARD if admission.verdict is Verdict.SLOWED else lane_of(facts)
        request = self._request(key, caller=caller, body=body)
        receipt = await self._stored(submission, lane=lane, now=now, caller=caller, request=request)
        faults.point(SERVICE, "intake.before_receipt")
        return receipt

    def _request(self, key: str | None, *, caller: Principal, body: bytes) -> Request | None:
        if key is None:
            return None
        return Request(self._secrets.key_hash(key, caller=caller.subject), self._secrets.body_hash(body))

    async def _stored(
        self, submission: Submission, *, lane: Lane, now: datetime, caller: Principal, request: Request | None
    ) -> Receipt:
        for _ in range(_TRIES_FOR_A_FREE_CODE):
            prepared = prepare(submission, lane=lane, now=now, caller=caller, request=request, secrets=self._secrets)
            outcome = await self._gathering.put(prepared.report, urgent=lane is Lane.URGENT)
            if outcome is None:
                return prepared.receipt
            if isinstance(outcome, Repeat) and request:
                return self._secrets.open_receipt(outcome.receipt, key_hash=request.key_hash)
            if outcome is Conflict.KEY_USED:
                raise Problem(409, "idempotency-key-used", "This Idempotency-Key was used for another body.")
        raise RuntimeError("no free case code was found")

    async def _store(self, reports: Sequence[NewReport]) -> Sequence[Outcome]:
        now = self._clock.now()
        outcomes = await self._database.write(lambda connection: repository.store_reports(connection, reports, now=now))
        stored = [report for report, outcome in zip(reports, outcomes, strict=True) if outcome is None]
        accepted = self._telemetry.counter("amparo.reports.accepted")
        for (lane, channel), count in Counter((r.row["lane"], r.row["channel"]) for r in stored).items():
            accepted.add(count, {"lane": lane.lower(), "channel": channel.lower()})
        return outcomes

    def waiting(self) -> int:
        """Return how many reports wait to be stored."""
        return self._gathering.waiting()

    # -------------------------------------------------------------- cases

    async def case(self, code: str, *, address: str | None) -> Case:
        """Return what a case code shows. Raises Problem 404 for an unknown code, 429 after too many of them."""
        found = await self._find_case(code, address=address)
        key = self._data_key(found)
        messages = tuple(_shown(one, key=key) for one in found.thread) if key else ()
        progress = found.progress
        moments = [found.report.received_at, *(one.at for one in messages)]
        if progress and progress.changed_at:
            moments.append(progress.changed_at)
        return Case(
            status=progress.status if progress else CaseStatus.RECEIVED, messages=messages, updated_at=max(moments)
        )

    async def post_message(self, code: str, text: str, *, address: str | None) -> ShownMessage:
        """Add a reporter's message to a case, durable when this returns.

        Raises Problem 404 for an unknown code, 409 for an erased case, 429 for too many guesses or messages.
        """
        found, now = await self._find_case(code, address=address), self._clock.now()
        report = found.report
        if wait_s := self._message_allowances.wait_s(report.report_id.bytes, now=now):
            raise _too_many(wait_s)
        self._message_allowances.spend(report.report_id.bytes, now=now)
        key = self._data_key(found)
        if key is None:
            raise Problem(409, "case-erased", "This case was erased. Please send a new report.")
        message_id = uuid7()
        sealed = seal_part(key, Message(text), name=f"message:{message_id}", report_id=report.report_id)
        await self._store_message(report, message_id=message_id, sealed=sealed, now=now)
        return ShownMessage(at=now, from_reporter=True, text=text)

    async def _store_message(self, report: CaseReport, *, message_id: UUID, sealed: bytes, now: datetime) -> None:
        stored = SealedMessage(
            report_id=report.report_id, message_id=message_id, at=now, from_reporter=True, message=sealed
        )
        event = ReporterMessageReceived(
            report_id=report.report_id, message_id=message_id, at=now, language=report.language, message=sealed
        )
        # The report's own key and lane: a message never overtakes its report.
        outgoing = Outgoing(event=event, key=report.report_id, lane=Lane(report.lane))
        entry = AuditEntry(
            actor=ANONYMOUS.name,
            role=ANONYMOUS.role.lower(),
            action="case.message",
            subject=reference("AM", of=report.report_id),
            allowed=True,
        )
        await self._database.write(
            lambda connection: repository.store_messages(
                connection, [stored], outgoing=[outgoing], entry=entry, now=now
            )
        )

    async def _find_case(self, code: str, *, address: str | None) -> _Found:
        source, now = self._sources.of(address), self._clock.now()
        if wait_s := self._guesses.wait_s(source, now=now):
            raise _too_many(wait_s)
        case_hash = self._secrets.case_hash(code)
        found = await self._database.read(lambda session: _load_case(session, case_hash)) if case_hash else None
        if found is None:
            self._guesses.spend(source, now=now)
            raise Problem(404, "case-unknown", "There is no case with this code.")
        return found

    def _data_key(self, found: _Found) -> DataKey | None:
        if not isinstance(found.key, bytes):
            return None
        return key_table.unwrapped_for(found.report.report_id, found.key, provider=self._secrets.provider)

    # -------------------------------------------------------------- data keys

    async def data_keys(self, ids: Sequence[UUID], *, purpose: Purpose, caller: Principal) -> Mapping[UUID, KeyAnswer]:
        """Return the data key, DESTROYED or UNKNOWN for each id, after the audit row of the call is durable."""
        wrapped = await self._database.read(lambda session: key_table.load(session, ids))
        answers = {report_id: self._key_answer(report_id, wrapped.get(report_id)) for report_id in ids}
        await self.record_key_call(len(answers), purpose=purpose, caller=caller, allowed=True)
        fetched = self._telemetry.counter("amparo.keys.fetched")
        states = Counter("key" if isinstance(answer, DataKey) else answer.value.lower() for answer in answers.values())
        for state, count in states.items():
            fetched.add(count, {"state": state})
        return answers

    def _key_answer(self, report_id: UUID, stored: bytes | Destroyed | None) -> KeyAnswer:
        if stored is None:
            return KeyState.UNKNOWN
        if stored is KeyState.DESTROYED:
            return KeyState.DESTROYED
        try:
            return key_table.unwrapped_for(report_id, stored, provider=self._secrets.provider)
        except SealBrokenError:
            # One damaged row must not hold up the other reports of the call: unknown makes a dead letter of its own.
            _log.exception("a data key is damaged", report_id=str(report_id))
            return KeyState.UNKNOWN

    async def record_key_call(self, count: int, *, purpose: Purpose | None, caller: Principal, allowed: bool) -> None:
        """Write the audit row of a call for data keys, a refused one too."""
        entry = AuditEntry(
            actor=caller.name,
            role=caller.role.lower(),
            action="keys.fetch",
            subject=f"{count} data keys",
            purpose=purpose,
            allowed=allowed,
        )
        now = self._clock.now()
        await self._database.write(lambda connection: repository.store_audit(connection, [entry], now=now))

    # -------------------------------------------------------------- what triage and referral tell

    async def follow(self, deliveries: Sequence[Received]) -> None:
        """Apply incidents' and referrals' states, each event once and in any order."""
        await self._database.write(lambda connection: _apply(connection, deliveries))

    # -------------------------------------------------------------- upkeep

    async def purge_receipts(self) -> int:
        """Remove up to 1 000 receipts older than 24 hours; return how many."""
        now = self._clock.now()
        return await self._database.write(lambda connection: repository.purge_receipts(connection, now=now))


def _load_case(session: Session, case_hash: bytes) -> _Found | None:
    report = repository.report_of_case(session, case_hash)
    if report is None:
        return None
    incident_id = repository.incident_of(session, report.report_id)
    return _Found(
        report=report,
        progress=repository.progress_of(session, [incident_id]).get(incident_id),
        thread=repository.thread(session, [report.report_id]),
        key=key_table.load(session, [report.report_id]).get(report.report_id),
    )


def _shown(sealed: SealedMessage, *, key: DataKey) -> ShownMessage:
    opened = open_message(key, sealed.message, report_id=sealed.report_id, message_id=sealed.message_id)
    return ShownMessage(at=sealed.at, from_reporter=sealed.from_reporter, text=opened.text)


def _apply(connection: Connection, deliveries: Sequence[Received]) -> None:
    fresh = inbox.fresh(connection, consumer=SERVICE, deliveries=deliveries)
    repository.store_joined(connection, of_type(fresh, ReportJoined))
    incidents, referrals = of_type(fresh, IncidentTriaged), of_type(fresh, ReferralChanged)
    ids = {incident.incident_id for incident in incidents} | {referral.incident_id for referral in referrals}
    known = repository.locked_progress(connection, ids)
    progress = dict(known)
    for incident in incidents:
        progress[incident.incident_id] = after_incident(progress[incident.incident_id], incident)
    for referral in referrals:
        progress[referral.incident_id] = after_referral(progress[referral.incident_id], referral)
    repository.store_progress(connection, [one for one in progress.values() if one != known[one.incident_id]])


def _too_many(retry_after_s: int) -> Problem:
    return Problem(429, "too-many-requests", "That was too much at once.", retry_after_s=retry_after_s)
