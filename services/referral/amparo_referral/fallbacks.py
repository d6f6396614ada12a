"""What follows when a partner says no, is silent, or cannot be reached: the next one is asked, and people see it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amparo_common.errors import TransientError
from amparo_common.vocabulary.codes import Level
from amparo_referral.changes import Changes, subject_of
from amparo_referral.domain import referrals as change
from amparo_referral.domain.incidents import ended, fallback
from amparo_referral.domain.referrals import DROPPED, SILENT, Referral
from amparo_referral.repository import directory as entries, incidents, referrals
from amparo_referral.repository.incidents import KnownIncident
from amparo_referral.service import Desk

_LOOK_S: Final = 1.0
_AT_ONCE: Final = 100


def open_next(
    connection: Connection, changes: Changes, referral: Referral, *, known: KnownIncident, standing: Sequence[Referral]
) -> bool:
    """Ask the next partner in place of `referral`; returns False when one is being asked already, or none is left.

    That none is left is audited: from then on it is a person's.
    """
    state = known.state
    if state is None or known.erased or ended(state):
        return False
    present = [referral if one.id == referral.id else one for one in standing]
    later = (one for one in present if one.destination is referral.destination and one.ordinal > referral.ordinal)
    if any(one.status not in DROPPED for one in later):
        return False
    fresh = fallback(
        state,
        destination=referral.destination,
        referrals=present,
        directory=changes.directory,
        now=changes.now,
        by=change.passed_on(referral),
    )
    if fresh is None:
        changes.audit("referral.no_fallback", subject=subject_of(referral.incident_id))
        return False
    changes.note_all([fresh])
    referrals.put(connection, [fresh])
    return True


async def escalate_due(desk: Desk) -> bool:
    """Act on every silence that lasted too long by now; returns False when there was none."""
    now = desk.clock.now()
    ids = await desk.database.read(lambda session: referrals.to_escalate(session, now=now, limit=_AT_ONCE))
    if not ids:
        return False
    await desk.database.write(lambda connection: _escalate(connection, ids, now=now))
    desk.ring_builder()
    return True


def _escalate(connection: Connection, ids: Sequence[UUID], *, now: datetime) -> None:
    changes = Changes(now=now, directory=entries.directory(connection))
    known = incidents.locked(connection, ids)
    found = referrals.of_incidents(connection, ids)
    for referral in found:
        if referral.escalate_at is None or referral.escalate_at > now:
            continue
        if referral.status not in SILENT:
            referrals.put(connection, [msgspec.structs.replace(referral, escalate_at=None)])
            continue
        marked = change.escalated(referral, now=now)
        changes.note(marked, action="referral.escalated")
        if referral.level is Level.P1 and marked.escalations > 1:
            changes.audit("referral.supervisor_called", subject=subject_of(referral.incident_id))
        standing = [one for one in found if one.incident_id == referral.incident_id]
        open_next(connection, changes, marked, known=known[referral.incident_id], standing=standing)
    changes.write(connection)


class Watch:
    """Acts on the silence of partners."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self) -> None:
        """Escalate until cancelled."""
        while True:
            try:
                more = await escalate_due(self._desk)
            except TransientError:
                more = False
            await asyncio.sleep(0 if more else _LOOK_S)
