"""What an attempt leaves behind: its row, the next state of delivery and referral, a fallback where all is lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection

from amparo_common.events.types import DeliveryAttempt
from amparo_common.vocabulary.codes import ReferralStatus
from amparo_referral import fallbacks
from amparo_referral.adapters.port import Outcome
from amparo_referral.changes import Changes
from amparo_referral.domain import referrals as change, retries
from amparo_referral.domain.referrals import Referral
from amparo_referral.repository import deliveries, directory as entries, incidents, referrals
from amparo_referral.repository.deliveries import Delivery

#: A partner that asks for a longer pause is asked again all the same.
_LONGEST_ASKED_PAUSE: Final = timedelta(hours=1)


def store(
    connection: Connection,
    sent: Delivery,
    referral: Referral,
    outcome: Outcome,
    *,
    now: datetime,
    chance: Callable[[], float],
) -> bool:
    """Store how an attempt ended; returns True when a fallback was opened.

    `sent` is the delivery as it was claimed. Where the lease ran out and another claimed it, only a success counts.
    """
    known = incidents.locked(connection, [referral.incident_id])[referral.incident_id]
    standing = referrals.of_incidents(connection, [referral.incident_id])
    present = next(one for one in standing if one.id == referral.id)
    row = deliveries.get(connection, sent.referral_id, sent.version)
    if row is None or (row.attempts != sent.attempts and not outcome.delivered):
        return False
    ended = _after(connection, row, present, outcome, now=now, chance=chance)
    deliveries.put(connection, ended)
    again = ended.next_attempt_at if ended.state == deliveries.PENDING else None
    _note(connection, sent, outcome, now=now, next_attempt_at=again)
    changes = Changes(now=now, directory=entries.directory(connection))
    moved = _moved(present, ended, outcome, now=now)
    changes.note(moved, action=_action(moved, ended, outcome))
    if outcome.delivered:
        entries.note_delivery(connection, sent.partner_id, at=now)
    lost = moved.status is ReferralStatus.UNDELIVERABLE and present.status is not moved.status
    opened = lost and fallbacks.open_next(connection, changes, moved, known=known, standing=standing)
    changes.write(connection)
    return bool(opened)


def postpone(connection: Connection, sent: Delivery, *, at: datetime) -> bool:
    """Give a claimed delivery back, unsent, until `at`; no attempt is counted."""
    row = deliveries.get(connection, sent.referral_id, sent.version)
    if row is not None and row.attempts == sent.attempts and row.state == deliveries.SENDING:
        state = deliveries.SUPERSEDED if deliveries.has_newer(connection, row) else deliveries.PENDING
        back = msgspec.structs.replace(
            row, state=state, attempts=row.attempts - 1, next_attempt_at=at, lease_until=None
        )
        deliveries.put(connection, back)
    return False


def note_interrupted(connection: Connection, lost: Delivery, *, now: datetime) -> None:
    """Store an attempt whose outcome nobody knows: the process ended while it was being made."""
    _note(connection, lost, Outcome(slug="interrupted"), now=now, next_attempt_at=now)


def _note(
    connection: Connection, sent: Delivery, outcome: Outcome, *, now: datetime, next_attempt_at: datetime | None
) -> None:
    attempt = DeliveryAttempt(
        number=sent.attempts,
        at=now,
        outcome=outcome.slug,
        status_code=outcome.status_code,
        next_attempt_at=next_attempt_at,
    )
    referrals.add_attempt(connection, sent.referral_id, version=sent.version, attempt=attempt)


def _after(
    connection: Connection,
    row: Delivery,
    referral: Referral,
    outcome: Outcome,
    *,
    now: datetime,
    chance: Callable[[], float],
) -> Delivery:
    if outcome.delivered:
        return msgspec.structs.replace(row, state=deliveries.DELIVERED, lease_until=None)
    if deliveries.has_newer(connection, row):
        return msgspec.structs.replace(row, state=deliveries.SUPERSEDED, lease_until=None)
    if referral.status is ReferralStatus.REVOKED and not row.revocation:
        return msgspec.structs.replace(row, state=deliveries.REVOKED, lease_until=None)
    wait = None if outcome.permanent else retries.wait_after(row.attempts, chance=chance)
    if wait is None:
        return msgspec.structs.replace(row, state=deliveries.FAILED, lease_until=None)
    asked = min(timedelta(seconds=outcome.retry_after_s or 0), _LONGEST_ASKED_PAUSE)
    return msgspec.structs.replace(
        row, state=deliveries.PENDING, lease_until=None, next_attempt_at=now + max(wait, asked)
    )


def _moved(referral: Referral, row: Delivery, outcome: Outcome, *, now: datetime) -> Referral:
    if outcome.delivered and not row.revocation:
        return change.delivered(referral, now=now)
    return change.undelivered(referral, gave_up=row.state == deliveries.FAILED, now=now)


def _action(referral: Referral, row: Delivery, outcome: Outcome) -> str | None:
    if outcome.delivered:
        return "referral.revocation_delivered" if row.revocation else "referral.delivered"
    if row.state != deliveries.FAILED:
        return None
    return (
        "referral.undeliverable" if referral.status is ReferralStatus.UNDELIVERABLE else "referral.update_undelivered"
    )
