"""What triage told: incidents, the reports that joined them, and those that nobody takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, delete, func, or_, select, update
from sqlalchemy.orm import Session

from amparo_common.db.upsert import insert_if_new, upsert
from amparo_common.events.types import IncidentTriaged, ReportJoined
from amparo_common.vocabulary.codes import Destination
from amparo_referral.domain.incidents import Basis
from amparo_referral.tables import INCIDENT, NO_ROUTE, PACKAGE, REPORT

Source = Connection | Session


class KnownIncident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as it stands here. `state` is None when only its reports, or its erasure, are known yet."""

    id: UUID
    version: int = 0
    state: IncidentTriaged | None = None
    basis: Basis | None = None
    erased: bool = False


class KnownReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report of an incident: the event it came with, the narrative still sealed, None once erased."""

    joined: ReportJoined
    narrative: bytes | None


_states: Final = msgspec.json.Decoder(IncidentTriaged)
_bases: Final = msgspec.json.Decoder(Basis)
_joined: Final = msgspec.json.Decoder(ReportJoined)


def locked(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, KnownIncident]:
    """Make the rows of `ids` where there are none, lock them in id order until the unit ends, and read them."""
    ordered = sorted(set(ids))
    if not ordered:
        return {}
    rows = [{"id": incident_id, "version": 0, "erased": False} for incident_id in ordered]
    connection.execute(insert_if_new(connection, INCIDENT, unique=("id",)), rows)
    query = select(INCIDENT).where(INCIDENT.c.id.in_(ordered)).order_by(INCIDENT.c.id).with_for_update()
    return {row["id"]: _known(dict(row)) for row in connection.execute(query).mappings()}


def get(source: Source, incident_id: UUID) -> KnownIncident | None:
    """Read one incident, without a lock."""
    row = source.execute(select(INCIDENT).where(INCIDENT.c.id == incident_id)).mappings().one_or_none()
    return _known(dict(row)) if row is not None else None


def put(connection: Connection, incidents: Sequence[KnownIncident]) -> None:
    """Store incidents that are locked."""
    rows = [
        {
            "id": known.id,
            "version": known.version,
            "state": msgspec.json.encode(known.state) if known.state else None,
            "basis": msgspec.json.encode(known.basis) if known.basis else None,
            "erased": known.erased,
        }
        for known in incidents
    ]
    if rows:
        connection.execute(upsert(connection, INCIDENT, unique=("id",)), rows)


def add_reports(connection: Connection, joined: Sequence[ReportJoined], *, erased: Collection[UUID]) -> None:
    """Store reports, those of `erased` incidents without their narrative; one that stands stays as it is."""
    rows = [
        {
            "id": event.report_id,
            "incident_id": event.incident_id,
            "received_at": event.received_at,
            "facts": msgspec.json.encode(msgspec.structs.replace(event, narrative=b"")),
            "narrative": None if event.incident_id in erased else event.narrative,
        }
        for event in joined
    ]
    if rows:
        connection.execute(insert_if_new(connection, REPORT, unique=("id",)), rows)


def reports_of(source: Source, incident_ids: Sequence[UUID]) -> Mapping[UUID, list[KnownReport]]:
    """Return the reports of each incident: its first report first, the others in the order they came in."""
    found: dict[UUID, list[KnownReport]] = {incident_id: [] for incident_id in incident_ids}
    query = select(REPORT).where(REPORT.c.incident_id.in_(list(found)))
    for row in source.execute(query.order_by(REPORT.c.received_at, REPORT.c.id)).mappings():
        report = KnownReport(joined=_joined.decode(row["facts"]), narrative=row["narrative"])
        found[row["incident_id"]].append(report)
    for incident_id, reports in found.items():
        reports.sort(key=lambda report, first=incident_id: report.joined.report_id != first)  # type: ignore[misc]
    return found


def erase_reports(connection: Connection, *, incident_ids: Sequence[UUID], report_ids: Sequence[UUID]) -> None:
    """Drop the sealed narratives of reports; their rows stay, so that a replay brings nothing back."""
    erased = or_(REPORT.c.id.in_(report_ids), REPORT.c.incident_id.in_(incident_ids))
    connection.execute(update(REPORT).where(erased).values(narrative=None))


def bases_of(source: Source, ids: Sequence[UUID]) -> dict[UUID, Basis]:
    """Return what was acted on last, for each of `ids` that is known."""
    query = select(INCIDENT.c.id, INCIDENT.c.basis).where(INCIDENT.c.id.in_(ids), INCIDENT.c.basis.is_not(None))
    return {row.id: _bases.decode(row.basis) for row in source.execute(query)}


def delete_packages(connection: Connection, incident_ids: Sequence[UUID]) -> None:
    """Delete every package of erased incidents."""
    connection.execute(delete(PACKAGE).where(PACKAGE.c.incident_id.in_(incident_ids)))


def note_no_route(
    connection: Connection, incident: IncidentTriaged, *, destination: Destination, now: datetime
) -> bool:
    """Note that nobody takes an incident; returns False when that was known."""
    row = {
        "incident_id": incident.incident_id,
        "destination": str(destination),
        "country": incident.country,
        "level": str(incident.level),
        "since": now,
    }
    new = insert_if_new(connection, NO_ROUTE, unique=("incident_id", "destination")).returning(NO_ROUTE.c.since)
    return bool(connection.execute(new, [row]).scalars().all())


def forget_no_route(connection: Connection, incident_ids: Sequence[UUID]) -> None:
    """Take back that nobody takes these incidents."""
    if incident_ids:
        connection.execute(delete(NO_ROUTE).where(NO_ROUTE.c.incident_id.in_(incident_ids)))


def without_route(source: Source, *, limit: int = 200) -> list[UUID]:
    """Return incidents that nobody takes, oldest first."""
    query = select(NO_ROUTE.c.incident_id).order_by(NO_ROUTE.c.since, NO_ROUTE.c.incident_id).limit(limit)
    return list(dict.fromkeys(source.execute(query).scalars()))


def count_without_route(source: Source) -> int:
    """Count the incidents that nobody takes."""
    return source.execute(select(func.count()).select_from(NO_ROUTE)).scalar_one()


def _known(row: dict[str, object]) -> KnownIncident:
    state, basis = row["state"], row["basis"]
    return KnownIncident(
        id=row["id"],  # type: ignore[arg-type] # columns of the table
        version=row["version"],  # type: ignore[arg-type]
        state=_states.decode(state) if isinstance(state, bytes) else None,
        basis=_bases.decode(basis) if isinstance(basis, bytes) else None,
        erased=bool(row["erased"]),
    )
