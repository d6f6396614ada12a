"""A person did what no machine does: called, filled a portal, posted a form."""

from __future__ import annotations

from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.crypto.parts import seal_text
from amparo_common.crypto.sealing import DataKey
from amparo_common.events.types import DeliveryAttempt, ReferralChanged, TaskChanged
from amparo_common.vocabulary.codes import AcknowledgementCode
from amparo_referral.answers import Answer, row
from amparo_referral.callers import not_allowed, not_found, seal_key, sees
from amparo_referral.changes import Changes, subject_of
from amparo_referral.domain import acknowledgements, referrals as change, tasks as work
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.tasks import Errand, Task
from amparo_referral.repository import directory as entries, incidents, referrals, tasks
from amparo_referral.service import Desk


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a person tells of a task they did. No `repr` shows the note."""

    partner_reference: str | None
    note: str

    def __repr__(self) -> str:
        return "Done(...)"


async def complete(desk: Desk, task_id: UUID, done: Done, *, by: Principal) -> tuple[TaskChanged, ReferralChanged]:
    """Take that a task was done and return it with its referral, which is delivered by that.

    A reference from the partner says that it took the referral (domain reference 4.1): it is RECEIVED, and the
    partner's silence is over. Raises Problem 404 for what is not the caller's to see, Refused TRANSITION_NOT_ALLOWED
    when the task was done or is not needed any more, TransientError without the key that seals the note. Nothing is
    stored then.
    """
    found = await desk.database.read(lambda session: tasks.get(session, task_id))
    if found is None or not sees(by, Permission.WORK_QUEUE, country=found.country):
        raise not_found()
    key = await seal_key(desk, found.incident_id)
    return await desk.database.write(lambda connection: _complete(connection, desk, found, done, by=by, key=key))


def _complete(
    connection: Connection, desk: Desk, found: Task, done: Done, *, by: Principal, key: DataKey | None
) -> tuple[TaskChanged, ReferralChanged]:
    incidents.locked(connection, [found.incident_id])
    (referral,) = referrals.locked(connection, [found.referral_id])
    task = next(one for one in tasks.of_referrals(connection, [found.referral_id]) if one.id == found.id)
    if not sees(by, Permission.WORK_QUEUE, country=task.country):
        raise not_found()
    if not task.open:
        raise not_allowed("This task is done already, or nobody needs to do it any more.")
    changes = Changes(now=desk.clock.now(), directory=entries.directory(connection))
    # Of an erased incident nothing that a person writes is kept.
    note = seal_text(key, done.note, name=f"note:{task.id}", report_id=task.incident_id) if key else None
    changes.note_task(
        work.completed(task, by=by.name, now=changes.now, note=note, partner_reference=done.partner_reference)
    )
    changes.note(_told(connection, referral, task, done, by=by, changes=changes))
    entries.note_delivery(connection, referral.partner_id, at=changes.now)
    changes.audit("task.completed", subject=subject_of(task.incident_id), actor=by.name, role=by.role)
    changes.write(connection)
    return changes.of_task(task.id), changes.of_referral(referral.id)


def _told(
    connection: Connection, referral: Referral, task: Task, done: Done, *, by: Principal, changes: Changes
) -> Referral:
    attempt = DeliveryAttempt(
        number=1, at=changes.now, outcome="told_by_person", status_code=None, next_attempt_at=None
    )
    referrals.add_attempt(connection, referral.id, version=task.package_version, attempt=attempt)
    if task.errand is Errand.REVOKE:
        return change.undelivered(referral, gave_up=False, now=changes.now)
    delivered = change.delivered(referral, now=changes.now)
    status = acknowledgements.after(delivered.status, AcknowledgementCode.RECEIVED)
    if done.partner_reference is None or status is None:
        return delivered
    answer = Answer(
        referral_reference=referral.reference,
        code=AcknowledgementCode.RECEIVED,
        at=changes.now,
        partner_reference=done.partner_reference,
    )
    referrals.add_acknowledgement(connection, row(answer, delivered, by=by.name, keys={}, now=changes.now))
    answered = change.answered(delivered, status=status, now=changes.now)
    return msgspec.structs.replace(answered, version=delivered.version)
