"""Who may do what to which referral, and how a no is said: the same for what is not there and what is not theirs."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection

from amparo_common.audit import AuditEntry, record
from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import Principal
from amparo_common.crypto.data_keys import KeyState
from amparo_common.crypto.sealing import DataKey
from amparo_common.errors import Problem, Refusal, Refused, TransientError
from amparo_common.vocabulary.codes import Purpose, ReferralStatus
from amparo_referral.changes import SERVICE
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.routes import PartnerEntry
from amparo_referral.service import Desk

_HELD_BACK = frozenset({ReferralStatus.AWAITING_REVIEW, ReferralStatus.AWAITING_APPROVAL})


def not_found() -> Problem:
    """Make the 404 that says nothing about whether there is such a thing."""
    return Problem(404, "not-found", "There is nothing of that id here.")


def not_allowed(message: str) -> Refused:
    """Make the refusal of something that is not possible in the present state."""
    return Refused(Refusal("TRANSITION_NOT_ALLOWED", message))


def sees(by: Principal, permission: Permission, *, country: str) -> bool:
    """Say whether a person of Amparo reaches what happened in `country` under `permission`."""
    reach = by.may(permission)
    return reach is Reach.ALL or (reach is Reach.COUNTRIES and by.sees_country(country))


def reaches(by: Principal, permission: Permission, *, referral: Referral, partner: PartnerEntry | None) -> bool:
    """Say whether `by` may have to do with `referral` under `permission`.

    A partner reaches its own organisation's, from when it was released; one that was taken back before it arrived it
    never learns of.
    """
    if by.may(permission) is not Reach.ORGANISATION:
        return sees(by, permission, country=referral.country)
    if partner is None or by.organisation is None or partner.organisation != by.organisation:
        return False
    if referral.status is ReferralStatus.REVOKED:
        return referral.delivered_at is not None
    return referral.status not in _HELD_BACK


async def seal_key(desk: Desk, incident_id: UUID) -> DataKey | None:
    """Return the key that what people write on an incident is sealed with; None once it was destroyed.

    Raises TransientError while intake does not give it.
    """
    key = (await desk.keys.of([incident_id], purpose=Purpose.REFERRAL))[incident_id]
    if isinstance(key, DataKey):
        return key
    if key is KeyState.UNKNOWN:
        raise TransientError("intake does not know the incident's key yet")
    return None


async def on_record(
    desk: Desk, by: Principal, action: str, *, subject: str, allowed: bool, purpose: Purpose | None = None
) -> None:
    """Write one audit row, in a unit of its own."""
    entry = AuditEntry(
        actor=by.name, role=by.role.lower(), action=action, subject=subject, allowed=allowed, purpose=purpose
    )

    def unit(connection: Connection) -> None:
        record(connection, [entry], service=SERVICE, now=desk.clock.now())

    await desk.database.write(unit)
