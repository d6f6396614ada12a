"""What one write unit changes, stored at its end: each referral once, with its event, deliveries and audit rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from amparo_common import outbox
from amparo_common.audit import AuditEntry, record
from amparo_common.events.types import Event, ReferralChanged, TaskChanged
from amparo_common.ids import reference
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Adapter, Level, Purpose, ReferralStatus, Role
from amparo_common.vocabulary.sets import lane_of
from amparo_referral.domain import targets, tasks as work
from amparo_referral.domain.referrals import DROPPED, Referral
from amparo_referral.domain.routes import Directory
from amparo_referral.domain.tasks import Errand, Task
from amparo_referral.repository import deliveries, referrals, tasks

SERVICE: Final = "referral"


@dataclass(slots=True, kw_only=True)
class Changes:
    """Collects what a unit decided; `write` stores it. A referral that changes twice is stored and told once.

    After `write`, `told` holds the events exactly as they stand in the outbox.
    """

    now: datetime
    directory: Directory
    referrals: dict[UUID, Referral] = field(default_factory=dict)
    entries: list[AuditEntry] = field(default_factory=list)
    revoked: list[Referral] = field(default_factory=list)
    tasks: dict[UUID, Task] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)

    def note(
        self, referral: Referral, *, action: str | None = None, actor: str = SERVICE, role: Role = Role.SERVICE
    ) -> None:
        """Take the new state of a referral; `action` adds an audit row about it."""
        self.referrals[referral.id] = referral
        if action:
            self.audit(action, subject=subject_of(referral.incident_id), actor=actor, role=role)

    def note_all(self, changed: Iterable[Referral]) -> None:
        """Take the new states of referrals; those opened and revoked are audited."""
        for referral in changed:
            gone = referral.status is ReferralStatus.REVOKED
            if gone:
                self.revoked.append(referral)
            action = "referral.revoked" if gone else "referral.opened" if referral.version == 1 else None
            self.note(referral, action=action)

    def note_task(self, task: Task) -> None:
        """Take the new state of a task."""
        self.tasks[task.id] = task

    def audit(
        self,
        action: str,
        *,
        subject: str,
        actor: str = SERVICE,
        role: Role = Role.SERVICE,
        purpose: Purpose | None = None,
    ) -> None:
        """Add an audit row."""
        self.entries.append(
            AuditEntry(actor=actor, role=role.lower(), action=action, subject=subject, allowed=True, purpose=purpose)
        )

    def write(self, connection: Connection) -> None:
        """Store everything, in the unit's transaction."""
        changed = list(self.referrals.values())
        referrals.put(connection, changed)
        self.end_tasks(connection, [one for one in changed if one.status in DROPPED])
        self._hold_back(connection, [one for one in changed if one.status is ReferralStatus.AWAITING_APPROVAL])
        self._take_back(connection)
        tasks.put(connection, list(self.tasks.values()))
        outgoing = [
            *(_outgoing(told, level=told.level) for told in referrals.events_of(connection, changed)),
            *(_outgoing(work.told(task), level=task.level) for task in self.tasks.values()),
        ]
        outbox.put(connection, outgoing, service=SERVICE, now=self.now)
        record(connection, self.entries, service=SERVICE, now=self.now)
        self.told = [one.event for one in outgoing]

    def of_referral(self, referral_id: UUID) -> ReferralChanged:
        """Return what was told of a referral; KeyError when nothing was."""
        return {one.referral_id: one for one in self.told if isinstance(one, ReferralChanged)}[referral_id]

    def of_task(self, task_id: UUID) -> TaskChanged:
        """Return what was told of a task; KeyError when nothing was."""
        return {one.task_id: one for one in self.told if isinstance(one, TaskChanged)}[task_id]

    def end_tasks(self, connection: Connection, ended: Sequence[Referral]) -> None:
        """End what people were still to do for referrals that need nothing any more."""
        for task in tasks.of_referrals(connection, [one.id for one in ended]) if ended else ():
            if task.open and task.id not in self.tasks and task.errand is not Errand.REVOKE:
                self.note_task(work.completed(task, by=SERVICE, now=self.now))

    def _hold_back(self, connection: Connection, held: Sequence[Referral]) -> None:
        """Stop what was on its way with an approval that a changed package asks for again."""
        approved = [one for one in held if one.approved_version]
        deliveries.stop_waiting(connection, [one.id for one in approved], state=deliveries.SUPERSEDED)
        self.end_tasks(connection, approved)

    def _take_back(self, connection: Connection) -> None:
        """Stop what waits of revoked referrals, and tell the partners that may have them already."""
        if not self.revoked:
            return
        deliveries.stop_waiting(connection, [referral.id for referral in self.revoked], state=deliveries.REVOKED)
        deliveries.add(
            connection,
            [
                deliveries.pending(
                    referral.id,
                    version=referral.package_version,
                    partner_id=referral.partner_id,
                    level=referral.level,
                    revocation=True,
                    now=self.now,
                )
                for referral in self.revoked
                if referral.attempted and self.adapter(referral) is Adapter.WEBHOOK
            ],
        )
        for referral in self.revoked:
            adapter = self.adapter(referral)
            if referral.attempted and adapter is not None and work.for_person(adapter):
                due_at = targets.task_due_at(referral.level, clock=None, now=self.now)
                self.note_task(work.made(referral, kind=adapter, errand=Errand.REVOKE, due_at=due_at, now=self.now))

    def adapter(self, referral: Referral) -> Adapter | None:
        """Return how the partner of a referral is reached."""
        partner = self.directory.partners.get(referral.partner_id)
        return partner.adapter if partner else None


def subject_of(incident_id: UUID) -> str:
    """Return what the audit trail names: the incident, whichever of its referrals a row is about."""
    return reference("AM", of=incident_id)


def _outgoing(told: ReferralChanged | TaskChanged, *, level: Level) -> Outgoing:
    return Outgoing(event=told, key=told.incident_id, lane=lane_of(level))
