"""What an erasure does here: sealed parts go, what waits is revoked (behaviour, section 4.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amparo_common.events.types import ReportsErased
from amparo_referral.changes import Changes, subject_of
from amparo_referral.domain.incidents import revoked_waiting
from amparo_referral.domain.referrals import Referral
from amparo_referral.repository import approvals, deliveries, incidents, referrals as stored, tasks
from amparo_referral.repository.incidents import KnownIncident


def apply(
    connection: Connection,
    changes: Changes,
    erased: Sequence[ReportsErased],
    *,
    known: Mapping[UUID, KnownIncident],
    referrals: Mapping[UUID, list[Referral]],
) -> dict[UUID, KnownIncident]:
    """Drop narratives, packages and notes of erased incidents and revoke what waits; returns those incidents.

    The rows of reports and incidents stay, so that an event that comes late, or again, finds them erased.
    """
    ids = [event.incident_id for event in erased]
    if not ids:
        return {}
    incidents.erase_reports(
        connection, incident_ids=ids, report_ids=[one for event in erased for one in event.report_ids]
    )
    incidents.delete_packages(connection, ids)
    incidents.forget_no_route(connection, ids)
    stored.wipe_notes(connection, ids)
    tasks.wipe_notes(connection, ids)
    approvals.wipe_reasons(connection, ids)
    for incident_id in ids:
        held = referrals[incident_id]
        deliveries.stop_waiting(connection, [one.id for one in held], state=deliveries.REVOKED)
        revoked = [msgspec.structs.replace(one, note=None) for one in revoked_waiting(held, now=changes.now)]
        changes.note_all(revoked)
        changes.end_tasks(connection, held)
        by_id = {one.id: msgspec.structs.replace(one, build_at=None, wanted_at=None, note=None) for one in held}
        stored.put(connection, list(by_id.values()))
        held[:] = (by_id | {one.id: one for one in revoked}).values()
        changes.audit("reports.erased", subject=subject_of(incident_id))
    return {incident_id: msgspec.structs.replace(known[incident_id], erased=True) for incident_id in ids}
