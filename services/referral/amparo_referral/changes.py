"""What one write unit changes, stored at its end: each referral once, with its event, deliveries and audit rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from amparo_common import outbox
from amparo_common.audit import AuditEntry, record
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Adapter, Lane, Level, ReferralStatus, Role
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.routes import Directory
from amparo_referral.repository import deliveries, referrals

SERVICE: Final = "referral"


@dataclass(slots=True, kw_only=True)
class Changes:
    """Collects what a unit decided; `write` stores it. A referral that changes twice is stored and told once."""

    now: datetime
    directory: Directory
    referrals: dict[UUID, Referral] = field(default_factory=dict)
    entries: list[AuditEntry] = field(default_factory=list)
    revoked: list[Referral] = field(default_factory=list)

    def note(
        self, referral: Referral, *, action: str | None = None, actor: str = SERVICE, role: Role = Role.SERVICE
    ) -> None:
        """Take the new state of a referral; `action` adds an audit row about it."""
        self.referrals[referral.id] = referral
        if action:
            self.audit(action, subject=referral.reference, actor=actor, role=role)

    def note_all(self, changed: Iterable[Referral]) -> None:
        """Take the new states of referrals; those opened and revoked are audited."""
        for referral in changed:
            gone = referral.status is ReferralStatus.REVOKED
            if gone:
                self.revoked.append(referral)
            action = "referral.revoked" if gone else "referral.opened" if referral.version == 1 else None
            self.note(referral, action=action)

    def audit(self, action: str, *, subject: str, actor: str = SERVICE, role: Role = Role.SERVICE) -> None:
        """Add an audit row."""
        self.entries.append(
            AuditEntry(actor=actor, role=role, action=action, subject=subject, allowed=True, purpose=None)
        )

    def write(self, connection: Connection) -> None:
        """Store everything, in the unit's transaction."""
        changed = list(self.referrals.values())
        referrals.put(connection, changed)
        self._take_back(connection)
        told = referrals.events_of(connection, changed)
        outgoing = [Outgoing(event=event, key=event.incident_id, lane=_lane(event.level)) for event in told]
        outbox.put(connection, outgoing, service=SERVICE, now=self.now)
        record(connection, self.entries, service=SERVICE, now=self.now)

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
                if referral.attempted and self._adapter(referral) is Adapter.WEBHOOK
            ],
        )

    def _adapter(self, referral: Referral) -> Adapter | None:
        partner = self.directory.partners.get(referral.partner_id)
        return partner.adapter if partner else None


def _lane(level: Level) -> Lane:
    return Lane.URGENT if level.at_least(Level.P2) else Lane.STANDARD
