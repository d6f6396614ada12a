"""Every query of triage. Units get a connection; rows are locked in the order of their ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from amparo_common.db.upsert import insert_if_new, upsert
from amparo_common.vocabulary.codes import Level
from amparo_triage.domain import clocks
from amparo_triage.domain.facts import Passage, ReportFacts
from amparo_triage.domain.joining import Candidate, Claim, Placement
from amparo_triage.domain.state import Incident
from amparo_triage.tables import CLAIM, ERASED_REPORT, EVIDENCE, FIRST_REFERRAL, INCIDENT, NOTE, PENDING_TEXT, REPORT

#: Far below what either database takes as parameters of one statement.
_CHUNK: Final = 5_000
_encoder: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final = msgspec.json.Decoder(Incident)

Item = TypeVar("Item")


class PendingText(msgspec.Struct, frozen=True, kw_only=True):
    """A text that waits for its key."""

    id: UUID
    report_id: UUID
    country: str | None
    is_message: bool
    trusted_source: bool
    sealed: bytes
    due_at: datetime
    attempts: int


class SealedNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wrote on an incident. `by` is a login name; `other_id` the other incident of a link."""

    id: UUID
    incident_id: UUID
    kind: str
    at: datetime
    by: str
    other_id: UUID | None
    sealed: bytes


class Evidence(NamedTuple):
    """Where a proposal rests in a report's narrative: `start` and `stop` count characters."""

    report_id: UUID
    factor: str | None
    category: str | None
    start: int
    stop: int


# ---------------------------------------------------------------- incidents


def load_incidents(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Incident]:
    """Return incidents, locked in id order."""
    query = select(INCIDENT.c.id, INCIDENT.c.state).order_by(INCIDENT.c.id).with_for_update()
    found: dict[UUID, Incident] = {}
    for chunk in _chunks(sorted(set(ids))):
        rows = connection.execute(query.where(INCIDENT.c.id.in_(chunk)))
        found |= {row.id: _decoder.decode(row.state) for row in rows}
    return found


def store_incidents(connection: Connection, incidents: Iterable[Incident]) -> None:
    """Insert or overwrite incidents; one statement. An older version never overwrites a newer one."""
    rows = [_incident_row(incident) for incident in sorted(incidents, key=lambda one: one.id)]
    if rows:
        connection.execute(upsert(connection, INCIDENT, unique=("id",), newer="version"), rows)


def _incident_row(incident: Incident) -> dict[str, object]:
    return {
        "id": incident.id,
        "version": incident.version,
        "country": incident.country,
        "level": incident.level,
        "status": incident.status,
        "score": incident.decision.score if incident.decision else 0,
        "received_at": incident.received_at,
        "due_at": clocks.due_at(incident.clocks),
        "clock_at": clocks.next_miss(incident.clocks),
        "joinable": incident.takes_reports,
        "in_queue": incident.in_queue,
        "claimed_by": incident.claimed_by,
        "claimed_until": incident.claimed_until,
        "proposed_by": incident.proposal.by if incident.proposal else None,
        "state": _encoder.encode(incident),
    }


def clocks_due(source: Session | Connection, *, now: datetime, limit: int) -> list[UUID]:
    """Return incidents with a running clock whose time has come, the longest overdue first."""
    query = select(INCIDENT.c.id).where(INCIDENT.c.clock_at <= now).order_by(INCIDENT.c.clock_at).limit(limit)
    return list(source.execute(query).scalars())


def all_incidents(source: Session | Connection) -> list[Incident]:
    """Return every incident by id; for comparisons of whole databases."""
    return [
        _decoder.decode(state) for state in source.execute(select(INCIDENT.c.state).order_by(INCIDENT.c.id)).scalars()
    ]


def find_incident(session: Session, incident_id: UUID) -> Incident | None:
    """Return an incident as it stands; for looking, not for changing."""
    state = session.execute(select(INCIDENT.c.state).where(INCIDENT.c.id == incident_id)).scalar_one_or_none()
    return None if state is None else _decoder.decode(state)


def leases_over(source: Session | Connection, *, now: datetime, limit: int) -> list[UUID]:
    """Return incidents whose claim ran out, the longest ago first."""
    query = select(INCIDENT.c.id).where(INCIDENT.c.claimed_until <= now).order_by(INCIDENT.c.claimed_until)
    return list(source.execute(query.limit(limit)).scalars())


def take_next(
    connection: Connection,
    *,
    by: str,
    now: datetime,
    until: datetime,
    countries: Collection[str] | None,
    levels: Collection[Level],
) -> UUID | None:
    """Mark the most urgent free incident of the queue as claimed, and return its id; None when there is none.

    One statement: two callers never get one incident. `countries` None means all. A lowering that `by` proposed waits
    for another person, so `by` is not given it.
    """
    row = INCIDENT.c
    free = or_(row.claimed_until.is_(None), row.claimed_until <= now)
    another = or_(row.proposed_by.is_(None), row.proposed_by != by)
    waiting = select(row.id).where(row.in_queue.is_(True), row.level.in_(list(levels)), free, another)
    if countries is not None:
        waiting = waiting.where(row.country.in_(list(countries)))
    order = (row.level, row.due_at.asc().nulls_last(), row.score.desc(), row.received_at, row.id)
    first = waiting.order_by(*order).limit(1).with_for_update(skip_locked=True).scalar_subquery()
    taken = update(INCIDENT).where(row.id == first).values(claimed_by=by, claimed_until=until).returning(row.id)
    return connection.execute(taken).scalar_one_or_none()


# ---------------------------------------------------------------- notes


def store_notes(connection: Connection, notes: Sequence[SealedNote]) -> None:
    """Keep what a person wrote; one statement."""
    connection.execute(insert(NOTE), [msgspec.structs.asdict(note) for note in notes])


def notes_of(session: Session, incident_id: UUID) -> list[SealedNote]:
    """Return the notes of an incident in the order of their writing."""
    query = select(*NOTE.c).where(NOTE.c.incident_id == incident_id).order_by(NOTE.c.at, NOTE.c.id)
    return [SealedNote(**row) for row in session.execute(query).mappings()]


def drop_notes(connection: Connection, report_ids: Collection[UUID]) -> None:
    """Drop what people wrote on incidents whose first report is among `report_ids`: their key is gone."""
    connection.execute(delete(NOTE).where(NOTE.c.incident_id.in_(list(report_ids))))


def evidence_of(session: Session, incident_id: UUID) -> list[Evidence]:
    """Return where proposals rest in the narratives of an incident's reports."""
    row = EVIDENCE.c
    query = (
        select(row.report_id, row.factor, row.category, row.start, row.stop)
        .join(REPORT, REPORT.c.id == row.report_id)
        .where(REPORT.c.incident_id == incident_id, row.part == "narrative")
        .order_by(row.report_id, row.position)
    )
    return [Evidence(*found) for found in session.execute(query)]


# ---------------------------------------------------------------- reports


def known_reports(connection: Connection, ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return the incident of each report that is stored."""
    found: dict[UUID, UUID] = {}
    for chunk in _chunks(list(ids)):
        query = select(REPORT.c.id, REPORT.c.incident_id).where(REPORT.c.id.in_(chunk))
        found |= {row.id: row.incident_id for row in connection.execute(query)}
    return found


def store_reports(
    connection: Connection, reports: Sequence[tuple[ReportFacts, UUID]], *, erased: Collection[UUID]
) -> None:
    """Store reports with the incident of each; one statement."""
    rows = [
        {
            "id": facts.report_id,
            "incident_id": incident_id,
            "country": facts.country,
            "received_at": facts.received_at,
            "erased": facts.report_id in erased,
        }
        for facts, incident_id in reports
    ]
    if rows:
        connection.execute(insert(REPORT), rows)


def mark_erased(connection: Connection, report_ids: Collection[UUID]) -> dict[UUID, int]:
    """Mark stored reports as erased; return how many were new to it by incident."""
    query = (
        update(REPORT)
        .where(REPORT.c.id.in_(list(report_ids)), REPORT.c.erased.is_(False))
        .values(erased=True)
        .returning(REPORT.c.incident_id)
    )
    counts: dict[UUID, int] = {}
    for incident_id in connection.execute(query).scalars():
        counts[incident_id] = counts.get(incident_id, 0) + 1
    return counts


# ---------------------------------------------------------------- claims


def claim(connection: Connection, candidates: Sequence[Candidate]) -> dict[Claim, UUID]:
    """Claim the facts of reports for their own incidents, and return the claims that stood before, of every country.

    One `INSERT ... ON CONFLICT DO NOTHING RETURNING`: of two reports with one fact the first wins, in this process or
    another; the loser finds the owner among what is returned.
    """
    first: dict[Claim, UUID] = {}
    for candidate in candidates:
        for one in candidate.claims:
            first.setdefault(one, candidate.report_id)
    if not first:
        return {}
    rows = [_claim_row(one, incident_id=owner, report_id=owner) for one, owner in sorted(first.items())]
    statement = insert_if_new(connection, CLAIM, unique=("value", "country"))
    returning = statement.returning(CLAIM.c.kind, CLAIM.c.value, CLAIM.c.country)
    won = {Claim(*row) for row in connection.execute(returning, rows)}
    columns = select(CLAIM.c.kind, CLAIM.c.value, CLAIM.c.country, CLAIM.c.incident_id)
    owners: dict[Claim, UUID] = {}
    for chunk in _chunks(sorted({one.value for one in first})):
        for kind, value, country, incident_id in connection.execute(columns.where(CLAIM.c.value.in_(chunk))):
            if (one := Claim(kind, value, country)) not in won:
                owners[one] = incident_id
    return owners


def settle_claims(connection: Connection, placements: Iterable[Placement]) -> None:
    """Give claims to the incident that each report came to; one statement."""
    rows = [
        {"b_value": one.value, "b_country": one.country, "b_incident": placed.incident_id, "b_report": placed.report_id}
        for placed in placements
        for one in placed.claims
        if placed.incident_id != placed.report_id or not placed.opens or placed.recurrence.subject
    ]
    if rows:
        statement = (
            update(CLAIM)
            .where(CLAIM.c.value == bindparam("b_value"), CLAIM.c.country == bindparam("b_country"))
            .values(incident_id=bindparam("b_incident"), report_id=bindparam("b_report"))
        )
        connection.execute(statement, rows)


def drop_claims(connection: Connection, report_ids: Collection[UUID]) -> None:
    """Drop the facts of erased reports."""
    connection.execute(delete(CLAIM).where(CLAIM.c.report_id.in_(list(report_ids))))


def _claim_row(one: Claim, *, incident_id: UUID, report_id: UUID) -> dict[str, object]:
    return {**one._asdict(), "incident_id": incident_id, "report_id": report_id}


# ---------------------------------------------------------------- texts


def store_evidence(connection: Connection, passages: Iterable[tuple[UUID, str, Sequence[Passage]]]) -> None:
    """Store where proposals rest in a text: (report, part, passages). Repeats of a part are skipped."""
    rows = [
        {
            "report_id": report_id,
            "part": part,
            "position": position,
            "start": passage.start,
            "stop": passage.end,
            "factor": passage.factor,
            "category": passage.category,
        }
        for report_id, part, found in passages
        for position, passage in enumerate(found)
    ]
    if rows:
        connection.execute(insert_if_new(connection, EVIDENCE, unique=("report_id", "part", "position")), rows)


def store_pending(connection: Connection, texts: Sequence[PendingText]) -> None:
    """Keep sealed texts for later; one statement."""
    if texts:
        rows = [msgspec.structs.asdict(text) for text in texts]
        connection.execute(insert_if_new(connection, PENDING_TEXT, unique=("id",)), rows)


def pending_due(source: Session | Connection, *, now: datetime, limit: int) -> list[PendingText]:
    """Return texts whose time for another try has come."""
    query = select(*PENDING_TEXT.c).where(PENDING_TEXT.c.due_at <= now).order_by(PENDING_TEXT.c.due_at).limit(limit)
    return [PendingText(**row) for row in source.execute(query).mappings()]


def pending_count(source: Session | Connection) -> int:
    """Count the texts that wait."""
    return source.execute(select(func.count()).select_from(PENDING_TEXT)).scalar_one()


def take_pending(connection: Connection, ids: Collection[UUID]) -> set[UUID]:
    """Remove texts that wait; return those that were there, so that two readers never both apply one."""
    if not ids:
        return set()
    statement = delete(PENDING_TEXT).where(PENDING_TEXT.c.id.in_(list(ids))).returning(PENDING_TEXT.c.id)
    return set(connection.execute(statement).scalars())


def postpone(connection: Connection, due: Mapping[UUID, datetime]) -> None:
    """Set when texts are tried again."""
    if due:
        statement = (
            update(PENDING_TEXT)
            .where(PENDING_TEXT.c.id == bindparam("b_id"))
            .values(due_at=bindparam("b_due"), attempts=PENDING_TEXT.c.attempts + 1)
        )
        connection.execute(statement, [{"b_id": one, "b_due": at} for one, at in sorted(due.items())])


def drop_texts(connection: Connection, report_ids: Collection[UUID]) -> dict[UUID, int]:
    """Drop evidence and waiting texts of erased reports; return how many own texts waited by incident."""
    ids = list(report_ids)
    connection.execute(delete(EVIDENCE).where(EVIDENCE.c.report_id.in_(ids)))
    waiting = (
        delete(PENDING_TEXT)
        .where(PENDING_TEXT.c.report_id.in_(ids))
        .returning(PENDING_TEXT.c.report_id, PENDING_TEXT.c.is_message)
    )
    own = [row.report_id for row in connection.execute(waiting) if not row.is_message]
    counts: dict[UUID, int] = {}
    for incident_id in known_reports(connection, own).values():
        counts[incident_id] = counts.get(incident_id, 0) + 1
    return counts


# ---------------------------------------------------------------- what may come before its incident


def note_erased(connection: Connection, report_ids: Collection[UUID], *, at: datetime) -> None:
    """Remember that the keys of reports were destroyed."""
    rows = [{"report_id": report_id, "at": at} for report_id in sorted(report_ids)]
    if rows:
        connection.execute(insert_if_new(connection, ERASED_REPORT, unique=("report_id",)), rows)


def noted_erased(connection: Connection, report_ids: Collection[UUID]) -> set[UUID]:
    """Return which of the reports are known to be erased."""
    query = select(ERASED_REPORT.c.report_id).where(ERASED_REPORT.c.report_id.in_(list(report_ids)))
    return set(connection.execute(query).scalars())


def note_referred(connection: Connection, delivered: Mapping[UUID, datetime]) -> dict[UUID, datetime]:
    """Remember first deliveries by incident; return those that are news."""
    rows = [{"incident_id": incident_id, "delivered_at": at} for incident_id, at in sorted(delivered.items())]
    if not rows:
        return {}
    statement = insert_if_new(connection, FIRST_REFERRAL, unique=("incident_id",)).returning(
        FIRST_REFERRAL.c.incident_id
    )
    return {incident_id: delivered[incident_id] for incident_id in connection.execute(statement, rows).scalars()}


def noted_referred(connection: Connection, incident_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """Return the first deliveries known for incidents."""
    query = select(*FIRST_REFERRAL.c).where(FIRST_REFERRAL.c.incident_id.in_(list(incident_ids)))
    return {row.incident_id: row.delivered_at for row in connection.execute(query)}


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
