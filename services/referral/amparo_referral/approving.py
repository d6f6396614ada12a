"""A second person lets a package go, or refuses it."""

from __future__ import annotations

from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.crypto.parts import seal_text
from amparo_common.crypto.sealing import DataKey
from amparo_common.errors import Refusal, Refused
from amparo_common.events.types import IncidentTriaged, ReferralChanged
from amparo_common.ids import uuid7
from amparo_referral.callers import not_allowed, not_found, seal_key, sees
from amparo_referral.changes import Changes
from amparo_referral.domain import referrals as change
from amparo_referral.domain.incidents import ended, reviewed
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.release import WAITING
from amparo_referral.packaging import send
from amparo_referral.repository import approvals, directory as entries, incidents, referrals
from amparo_referral.repository.approvals import Approval
from amparo_referral.service import Desk


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a second person says. `expected_version` is the referral's version that they saw. No `repr` shows why."""

    expected_version: int | None
    approve: bool
    reason: str

    def __repr__(self) -> str:
        return f"Signature({'approve' if self.approve else 'refuse'})"


async def sign(desk: Desk, referral_id: UUID, signature: Signature, *, by: Principal) -> ReferralChanged:
    """Let the present package of a referral go, or refuse it, and return the referral's state.

    A refusal takes a referral back that still waits. Raises Problem 404 for what is not the caller's to see; Refused
    SAME_PERSON, VERSION_CONFLICT, TRANSITION_NOT_ALLOWED, LOWERING_NEEDS_SIGNATURE; TransientError without the key that
    seals the reason. Nothing is stored then.
    """
    found = await desk.database.read(lambda session: referrals.get(session, referral_id))
    if found is None or not sees(by, Permission.SIGN, country=found.country):
        raise not_found()
    key = await seal_key(desk, found.incident_id)
    told = await desk.database.write(lambda connection: _sign(connection, desk, found, signature, by=by, key=key))
    desk.ring_sender()
    return told


def _sign(
    connection: Connection, desk: Desk, found: Referral, signature: Signature, *, by: Principal, key: DataKey | None
) -> ReferralChanged:
    known = incidents.locked(connection, [found.incident_id])[found.incident_id]
    (referral,) = referrals.locked(connection, [found.id])
    state = known.state
    if not sees(by, Permission.SIGN, country=referral.country):
        raise not_found()
    if state is None or known.erased or ended(state) or key is None:
        raise not_allowed("The incident is closed or erased; nothing of it leaves any more.")
    _check(referral, state, signature, by=by)
    changes = Changes(now=desk.clock.now(), directory=entries.directory(connection))
    _store(connection, referral, signature, by=by, key=key, changes=changes)
    if signature.approve:
        action = "referral.approved"
        send(connection, changes, change.approved(referral, now=changes.now), state=state)
    else:
        action = "referral.refused"
        changes.note_all([change.revoked(referral, now=changes.now)])
    changes.audit(action, subject=state.reference, actor=by.name, role=by.role)
    changes.write(connection)
    return changes.of_referral(referral.id)


def _check(referral: Referral, state: IncidentTriaged, signature: Signature, *, by: Principal) -> None:
    if not change.awaits_approval(referral):
        raise not_allowed("This referral waits for no approval.")
    first = referral.referred_by or (state.decision.decided_by if reviewed(state) else None)
    if first is None and state.awaiting_signature:
        message = "A lowering of this incident waits for a second person; sign or refuse it first."
        raise Refused(Refusal("LOWERING_NEEDS_SIGNATURE", message))
    if first is None:
        raise not_allowed("Two people let this go, and nobody decided on the incident or referred it yet.")
    if first == by.name:
        raise Refused(Refusal("SAME_PERSON", "A second person signs; you let it go first."))
    if not referral.package_version or referral.build_at is not None:
        raise _conflict("The package is being made anew; read it again in a moment.")
    if signature.expected_version is not None and not (
        referral.packaged_version <= signature.expected_version <= referral.version
    ):
        raise _conflict("The package is not the one that you saw; read it again.")
    if not signature.approve and referral.status not in WAITING:
        raise not_allowed("The partner has an earlier version; without an approval it gets no other.")


def _conflict(message: str) -> Refused:
    return Refused(Refusal("VERSION_CONFLICT", message, "expected_version"))


def _store(
    connection: Connection, referral: Referral, signature: Signature, *, by: Principal, key: DataKey, changes: Changes
) -> None:
    approval_id = uuid7()
    approvals.add(
        connection,
        Approval(
            id=approval_id,
            referral_id=referral.id,
            incident_id=referral.incident_id,
            package_version=referral.package_version,
            at=changes.now,
            by=by.name,
            approved=signature.approve,
            reason=seal_text(key, signature.reason, name=f"reason:{approval_id}", report_id=referral.incident_id),
        ),
    )
