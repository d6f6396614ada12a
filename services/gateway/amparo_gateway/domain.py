"""What the gateway decides by itself: how far a caller sees, what an id looks like, in which order work stands."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from amparo_common.events.types import AuditRecorded, IncidentTriaged, PartnerChanged, ReferralChanged, TaskChanged
from amparo_common.vocabulary.codes import Channel, IncidentStatus, Level, ReferralStatus

# ---------------------------------------------------------------- how far a caller sees


@dataclass(frozen=True, slots=True)
class Nothing:
    """Sees no row."""


@dataclass(frozen=True, slots=True)
class EveryCountry:
    """Sees the rows of all countries."""


@dataclass(frozen=True, slots=True)
class InCountries:
    """Sees the rows of these countries."""

    codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class OwnedBy:
    """Sees the incidents with a report of this owner (see ReportReceived.owner)."""

    owner: str


@dataclass(frozen=True, slots=True)
class OfOrganisation:
    """Sees the referrals that went to this organisation."""

    name: str


#: What a list is narrowed to before anything else. Every query takes one; a kind that a table lacks shows nothing.
Scope = Nothing | EveryCountry | InCountries | OwnedBy | OfOrganisation


def sees_incident(scope: Scope, incident: IncidentTriaged) -> bool:
    """Say whether `scope` shows `incident`, as the repository decides for rows."""
    match scope:
        case EveryCountry():
            return True
        case InCountries(codes):
            return incident.country in codes
        case OwnedBy(owner):
            return owner in incident.owners
        case _:
            return False


def sees_referral(scope: Scope, referral: ReferralChanged) -> bool:
    """Say whether `scope` shows `referral`, as the repository decides for rows."""
    match scope:
        case EveryCountry():
            return True
        case InCountries(codes):
            return referral.country in codes
        case OfOrganisation(name):
            return referral.organisation == name and partner_sees(referral)
        case _:
            return False


_HELD_BACK: Final = frozenset({ReferralStatus.AWAITING_REVIEW, ReferralStatus.AWAITING_APPROVAL})


def partner_sees(referral: ReferralChanged) -> bool:
    """Say whether the partner may know of `referral`: not before it was released, and not when it never went."""
    if referral.status is ReferralStatus.REVOKED:
        return referral.delivered_at is not None
    return referral.status not in _HELD_BACK


_VERIFIED_FOR: Final = timedelta(days=90)


def verification_is_stale(last_verified_at: datetime | None, *, now: datetime) -> bool:
    """Say whether a partner's entry was not looked at for so long that automatic routing warns."""
    return last_verified_at is None or now - last_verified_at > _VERIFIED_FOR


# ---------------------------------------------------------------- ids


class Kind(StrEnum):
    """The types behind a global id, by the letter that it starts with."""

    INCIDENT = "I"
    REFERRAL = "R"
    PARTNER = "P"
    TASK = "T"
    HOLD = "H"


_LETTERS: Final = {kind: kind.encode() for kind in Kind}
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def global_id(kind: Kind, key: UUID) -> str:
    """Write the opaque, typed id of an object: unpadded base64url of the kind's letter and the key's 16 bytes."""
    # As `urlsafe_b64encode` without its generality: a page writes fifty of them.
    return binascii.b2a_base64(_LETTERS[kind] + key.bytes, newline=False).translate(_URL_SAFE, b"=").decode()


def from_global_id(text: str) -> tuple[Kind, UUID] | None:
    """Read a global id; None for anything that `global_id` did not write."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        kind, key = Kind(raw[:1].decode()), UUID(bytes=raw[1:])
    except (binascii.Error, ValueError):
        return None
    return (kind, key) if global_id(kind, key) == text else None


def key_of(kind: Kind, text: str) -> UUID | None:
    """Return the key behind a global id of `kind`; None for another kind and for what is no id."""
    found = from_global_id(text)
    return found[1] if found and found[0] is kind else None


# ---------------------------------------------------------------- order
#
# A place in a list is one byte string that compares as the list is ordered, on SQLite and PostgreSQL alike: one column,
# one index, one comparison for a page.

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NEVER: Final = b"\xff" * 8
_NAME_BYTES: Final = 200
_SCORES: Final = 2**31
_LEVELS: Final = {level: bytes((rank,)) for rank, level in enumerate(Level)}


def _moment(at: datetime) -> bytes:
    return ((at - _EPOCH) // _MICROSECOND + 2**62).to_bytes(8)


def _backwards(place: bytes) -> bytes:
    return bytes(255 - byte for byte in place)


def queue_place(incident: IncidentTriaged) -> bytes:
    """Return where `incident` stands by level, due time (none last), score descending, time of receipt and id."""
    score = min(max(incident.decision.score, 1 - _SCORES), _SCORES - 1)
    return b"".join(
        (
            _LEVELS[incident.level],
            _moment(incident.due_at) if incident.due_at else _NEVER,
            (_SCORES - score).to_bytes(4),
            _moment(incident.received_at),
            incident.incident_id.bytes,
        )
    )


def receipt_place(incident: IncidentTriaged) -> bytes:
    """Return where `incident` stands by time of receipt, oldest first."""
    return _moment(incident.received_at) + incident.incident_id.bytes


def newest_place(referral: ReferralChanged) -> bytes:
    """Return where `referral` stands by the time it was made, newest first."""
    return _backwards(_moment(referral.created_at) + referral.referral_id.bytes)


def due_place(task: TaskChanged) -> bytes:
    """Return where `task` stands by the time it is due, the earliest first."""
    return _moment(task.due_at) + task.task_id.bytes


def name_place(partner: PartnerChanged) -> bytes:
    """Return where `partner` stands by name, whatever the case of its letters."""
    return partner.name.casefold().encode()[:_NAME_BYTES] + b"\0" + partner.partner_id.bytes


def trail_place(row: AuditRecorded) -> bytes:
    """Return where an audited action stands, newest first."""
    return _backwards(_moment(row.at) + row.sequence.to_bytes(8) + row.service.encode())


def trail_since(after: datetime) -> bytes:
    """Return the place before which every action stands that is later than `after`."""
    return _backwards(_moment(after))


def trail_until(before: datetime) -> bytes:
    """Return the place behind which every action stands that is earlier than `before`."""
    return _backwards(_moment(before)) + b"\xff" * _NAME_BYTES


def in_queue(incident: IncidentTriaged) -> bool:
    """Say whether a human still has to look: not closed, and provisional or waiting for a second signature."""
    return incident.status is not IncidentStatus.CLOSED and (incident.provisional or incident.awaiting_signature)


_CHANNEL_BITS: Final = {channel: 1 << rank for rank, channel in enumerate(Channel)}


def channel_bits(channels: tuple[Channel, ...]) -> int:
    """Return a set of channels as one number, a bit a channel in the order of the vocabulary."""
    return sum(_CHANNEL_BITS[channel] for channel in set(channels))
