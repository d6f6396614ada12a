"""Every query of intake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.orm import Session

from amparo_common import audit, outbox
from amparo_common.audit import AuditEntry
from amparo_common.crypto import key_table
from amparo_common.db.tables import table_of
from amparo_common.db.upsert import insert_if_new, upsert
from amparo_common.events.types import ReportJoined
from amparo_common.outbox import Outgoing
from amparo_intake.domain.case_status import Progress
from amparo_intake.settings import SERVICE
from amparo_intake.tables import ERASURE, HOLD, INCIDENT_PROGRESS, JOINED_REPORT, KEPT_RECEIPT, REPORT, THREAD_MESSAGE

_DATA_KEY: Final = table_of(key_table.KeyTable)
_PURGED_AT_ONCE: Final = 1_000


# ------------------------------------------------------------------ reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request's claim on its idempotency key."""

    key_hash: bytes
    body_hash: bytes
    receipt: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReport:
    """Everything that is stored of a report, in one transaction. `row` has the columns of `report`."""

    report_id: UUID
    case_hash: bytes
    row: Mapping[str, Any]
    wrapped_key: bytes
    claim: Claim | None
    event: Outgoing
    entry: AuditEntry


class Conflict(Enum):
    """Why a report was not stored."""

    #: Its idempotency key was used for another body.
    KEY_USED = auto()
    #: Its case code is another report's.
    CODE_TAKEN = auto()


@dataclass(frozen=True, slots=True)
class Repeat:
    """The request was answered before; this is the sealed receipt of then."""

    receipt: bytes


#: None: stored.
Outcome = Repeat | Conflict | None


def store_reports(connection: Connection, reports: Sequence[NewReport], *, now: datetime) -> list[Outcome]:
    """Store reports of any number of requests, one statement a table; answers in their order.

    A repeat of a key, inside the batch too, stores nothing and gets the first one's receipt.
    """
    taken = _taken_codes(connection, [report.case_hash for report in reports])
    outcomes: dict[UUID, Outcome] = {
        report.report_id: Conflict.CODE_TAKEN for report in reports if report.case_hash in taken
    }
    outcomes |= _claim_keys(connection, [r for r in reports if r.report_id not in outcomes and r.claim], now=now)
    new = [report for report in reports if report.report_id not in outcomes]
    if new:
        connection.execute(insert(REPORT), [dict(report.row) for report in new])
        connection.execute(insert(_DATA_KEY), [_key_row(report) for report in new])
        outbox.put(connection, [report.event for report in new], service=SERVICE, now=now)
        audit.record(connection, [report.entry for report in new], service=SERVICE, now=now)
    return [outcomes.get(report.report_id) for report in reports]


def _key_row(report: NewReport) -> dict[str, Any]:
    return {"report_id": report.report_id, "wrapped": report.wrapped_key}


def _taken_codes(connection: Connection, hashes: Sequence[bytes]) -> set[bytes]:
    found = set(connection.execute(select(REPORT.c.case_hash).where(REPORT.c.case_hash.in_(hashes))).scalars())
    seen: set[bytes] = set()
    for one in hashes:
        (found if one in seen else seen).add(one)
    return found


def _claim_keys(connection: Connection, reports: Sequence[NewReport], *, now: datetime) -> dict[UUID, Outcome]:
    """Claim idempotency keys; return the outcome of those requests that came second."""
    claims = {report.report_id: report.claim for report in reports if report.claim}
    if not claims:
        return {}
    keys = [claim.key_hash for claim in claims.values()]
    kept = KEPT_RECEIPT.c
    connection.execute(delete(KEPT_RECEIPT).where(kept.key_hash.in_(keys), kept.expires_at <= now))
    rows = [_claim_row(report_id, claim) for report_id, claim in claims.items()]
    statement = insert_if_new(connection, KEPT_RECEIPT, unique=("key_hash",)).returning(kept.report_id)
    first = set(connection.execute(statement, rows).scalars())
    late = {report_id: claim for report_id, claim in claims.items() if report_id not in first}
    if not late:
        return {}
    stood = select(kept.key_hash, kept.body_hash, kept.receipt).where(
        kept.key_hash.in_([claim.key_hash for claim in late.values()])
    )
    found = {key: (body, receipt) for key, body, receipt in connection.execute(stood)}
    return {report_id: _second(claim, *found[claim.key_hash]) for report_id, claim in late.items()}


def _claim_row(report_id: UUID, claim: Claim) -> dict[str, Any]:
    return {
        "key_hash": claim.key_hash,
        "body_hash": claim.body_hash,
        "report_id": report_id,
        "receipt": claim.receipt,
        "expires_at": claim.expires_at,
    }


def _second(claim: Claim, body_hash: bytes, receipt: bytes) -> Outcome:
    return Repeat(receipt) if body_hash == claim.body_hash else Conflict.KEY_USED


def purge_receipts(connection: Connection, *, now: datetime) -> int:
    """Remove receipts that are older than they may be; return how many, at most 1 000."""
    kept = KEPT_RECEIPT.c
    old = select(kept.key_hash).where(kept.expires_at <= now).limit(_PURGED_AT_ONCE)
    return connection.execute(delete(KEPT_RECEIPT).where(kept.key_hash.in_(old))).rowcount


# ------------------------------------------------------------------ cases


class CaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report behind a case code."""

    report_id: UUID
    received_at: datetime
    language: str
    country: str
    lane: str
    reporter_type: str | None


class SealedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a thread as it is stored."""

    report_id: UUID
    message_id: UUID
    at: datetime
    from_reporter: bool
    message: bytes


def report_of_case(session: Session, case_hash: bytes) -> CaseReport | None:
    """Find the report whose case code has this keyed hash."""
    columns = [REPORT.c[name] for name in CaseReport.__struct_fields__]
    row = session.execute(select(*columns).where(REPORT.c.case_hash == case_hash)).one_or_none()
    return CaseReport(**row._asdict()) if row else None


def incident_of(session: Session, report_id: UUID) -> UUID:
    """Return the incident of a report: what triage said, else the report's own id, which opens one."""
    joined = JOINED_REPORT.c
    found = session.execute(select(joined.incident_id).where(joined.report_id == report_id)).scalar()
    return found or report_id


def progress_of(source: Session | Connection, ids: Iterable[UUID]) -> dict[UUID, Progress]:
    """Return what is known of the progress of incidents."""
    columns = INCIDENT_PROGRESS.c
    rows = source.execute(select(INCIDENT_PROGRESS).where(columns.incident_id.in_(list(ids))))
    return {row.incident_id: Progress(**row._asdict()) for row in rows}


def thread(session: Session, report_ids: Sequence[UUID]) -> list[SealedMessage]:
    """Return the messages of reports, oldest first."""
    columns = THREAD_MESSAGE.c
    query = select(THREAD_MESSAGE).where(columns.report_id.in_(report_ids)).order_by(columns.at, columns.message_id)
    return [SealedMessage(**row._asdict()) for row in session.execute(query)]


def store_messages(
    connection: Connection,
    messages: Sequence[SealedMessage],
    *,
    outgoing: Sequence[Outgoing],
    entry: AuditEntry,
    now: datetime,
) -> None:
    """Add messages to threads, with the events that tell of them and an audit row."""
    connection.execute(insert(THREAD_MESSAGE), [msgspec.structs.asdict(message) for message in messages])
    outbox.put(connection, outgoing, service=SERVICE, now=now)
    audit.record(connection, [entry], service=SERVICE, now=now)


# ------------------------------------------------------------------ what triage and referral tell


def locked_progress(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Progress]:
    """Return the progress of each of `ids`, made where there is none, locked in the order of ids until the end."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    new = [msgspec.structs.asdict(Progress(incident_id=incident_id)) for incident_id in wanted]
    connection.execute(insert_if_new(connection, INCIDENT_PROGRESS, unique=("incident_id",)), new)
    columns = INCIDENT_PROGRESS.c
    query = (
        select(INCIDENT_PROGRESS).where(columns.incident_id.in_(wanted)).order_by(columns.incident_id).with_for_update()
    )
    return {row.incident_id: Progress(**row._asdict()) for row in connection.execute(query)}


def store_progress(connection: Connection, progress: Iterable[Progress]) -> None:
    """Overwrite the progress of incidents."""
    rows = [msgspec.structs.asdict(one) for one in progress]
    if rows:
        connection.execute(upsert(connection, INCIDENT_PROGRESS, unique=("incident_id",)), rows)


def store_joined(connection: Connection, events: Sequence[ReportJoined]) -> None:
    """Remember which incident each report is part of; the latest joining counts, in whatever order they come."""
    latest: dict[UUID, ReportJoined] = {}
    for event in events:
        known = latest.get(event.report_id)
        if known is None or known.at < event.at:
            latest[event.report_id] = event
    rows = [{"report_id": e.report_id, "incident_id": e.incident_id, "joined_at": e.at} for e in latest.values()]
    if rows:
        connection.execute(upsert(connection, JOINED_REPORT, unique=("report_id",), newer="joined_at"), rows)


# ------------------------------------------------------------------ casework


class OwnedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report of an incident, as those who work on it need it; its parts are sealed."""

    report_id: UUID
    received_at: datetime
    channel: str
    language: str
    country: str
    factors: str
    victim_age: int | None
    victim_count: int | None
    imminent_danger: bool | None
    reporter_type: str | None
    safe_contact: str | None
    owner: str | None
    narrative: bytes
    identity: bytes | None


class KeptHold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as it is stored."""

    hold_id: UUID
    incident_id: UUID
    record_classes: str
    placed_by: str
    placed_at: datetime
    until: datetime
    released_at: datetime | None
    request: bytes


def reports_of_incident(source: Session | Connection, incident_id: UUID) -> list[OwnedReport]:
    """Return the reports of an incident, oldest first: those that joined it, and the one that opened it."""
    joined = JOINED_REPORT.c
    ids = set(source.execute(select(joined.report_id).where(joined.incident_id == incident_id)).scalars())
    moved = source.execute(select(joined.incident_id).where(joined.report_id == incident_id)).scalar()
    if moved is None:
        ids.add(incident_id)
    columns = [REPORT.c[name] for name in OwnedReport.__struct_fields__]
    query = select(*columns).where(REPORT.c.report_id.in_(ids)).order_by(REPORT.c.received_at, REPORT.c.report_id)
    return [OwnedReport(**row._asdict()) for row in source.execute(query)]


def holds_of_incident(source: Session | Connection, incident_id: UUID) -> list[KeptHold]:
    """Return the holds of an incident, oldest first."""
    query = select(HOLD).where(HOLD.c.incident_id == incident_id).order_by(HOLD.c.placed_at, HOLD.c.hold_id)
    return [KeptHold(**row._asdict()) for row in source.execute(query)]


def hold(source: Session | Connection, hold_id: UUID) -> KeptHold | None:
    """Find a hold."""
    row = source.execute(select(HOLD).where(HOLD.c.hold_id == hold_id)).one_or_none()
    return KeptHold(**row._asdict()) if row else None


def wrapped_key(source: Session | Connection, report_id: UUID) -> bytes | None:
    """Return the wrapped data key of a report; None when it was destroyed or never was."""
    found: bytes | None = source.execute(
        select(_DATA_KEY.c.wrapped).where(_DATA_KEY.c.report_id == report_id)
    ).scalar_one_or_none()
    return found


def lock_incident(connection: Connection, incident_id: UUID) -> None:
    """Let nobody place a hold on an incident and erase it at the same time."""
    connection.execute(select(REPORT.c.report_id).where(REPORT.c.report_id == incident_id).with_for_update())


def store_hold(connection: Connection, kept: KeptHold, *, entry: AuditEntry, now: datetime) -> None:
    """Add a hold, or overwrite it once it was released."""
    connection.execute(upsert(connection, HOLD, unique=("hold_id",)), [msgspec.structs.asdict(kept)])
    audit.record(connection, [entry], service=SERVICE, now=now)


def store_staff_messages(
    connection: Connection, messages: Sequence[SealedMessage], *, entry: AuditEntry, now: datetime
) -> None:
    """Add what a colleague wrote to the threads of reporters; a repeat under the same ids adds nothing."""
    statement = insert_if_new(connection, THREAD_MESSAGE, unique=("report_id", "message_id"))
    rows = [msgspec.structs.asdict(message) for message in messages]
    if connection.execute(statement.returning(THREAD_MESSAGE.c.report_id), rows).all():
        audit.record(connection, [entry], service=SERVICE, now=now)


def erase(
    connection: Connection,
    report_ids: Sequence[UUID],
    *,
    remains: Mapping[str, Any],
    event: Outgoing,
    entry: AuditEntry,
    now: datetime,
) -> None:
    """Destroy the data keys of reports, and with them every copy of their sealed parts; tell it and note it."""
    key_table.destroy(connection, report_ids)
    connection.execute(delete(KEPT_RECEIPT).where(KEPT_RECEIPT.c.report_id.in_(report_ids)))
    connection.execute(insert_if_new(connection, ERASURE, unique=("incident_id",)), [dict(remains)])
    outbox.put(connection, [event], service=SERVICE, now=now)
    audit.record(connection, [entry], service=SERVICE, now=now)


# ------------------------------------------------------------------ upkeep and audit


def answers(session: Session) -> bool:
    """Say whether the database answers a query on its tables."""
    session.execute(select(REPORT.c.report_id).limit(1)).first()
    return True


def store_audit(connection: Connection, entries: Sequence[AuditEntry], *, now: datetime) -> None:
    """Append to the audit chain of intake."""
    audit.record(connection, entries, service=SERVICE, now=now)
