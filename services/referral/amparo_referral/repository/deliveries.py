"""The delivery table: what is on its way to which partner, who is sending it, when it is tried again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import ColumnElement, Connection, func, or_, select, update
from sqlalchemy.orm import Session

from amparo_common.db.upsert import insert_if_new
from amparo_common.vocabulary.codes import Level
from amparo_referral.tables import DELIVERY, REFERRAL

Source = Connection | Session
PENDING: Final = "pending"
SENDING: Final = "sending"
DELIVERED: Final = "delivered"
FAILED: Final = "failed"
SUPERSEDED: Final = "superseded"
REVOKED: Final = "revoked"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A version on its way. `kind` is the event type, set at the first attempt and stable from then on."""

    referral_id: UUID
    version: int
    partner_id: UUID
    webhook_id: str
    revocation: bool
    kind: str | None
    level: Level
    state: str
    attempts: int
    next_attempt_at: datetime
    lease_until: datetime | None
    created_at: datetime


def pending(
    referral_id: UUID, *, version: int, partner_id: UUID, level: Level, revocation: bool, now: datetime
) -> Delivery:
    """Make a delivery that is due at once; its webhook-id is the same for the same referral and version, always."""
    return Delivery(
        referral_id=referral_id,
        version=version,
        partner_id=partner_id,
        webhook_id=str(uuid5(referral_id, f"delivery:{version}")),
        revocation=revocation,
        kind=None,
        level=level,
        state=PENDING,
        attempts=0,
        next_attempt_at=now,
        lease_until=None,
        created_at=now,
    )


def add(connection: Connection, deliveries: Sequence[Delivery]) -> None:
    """Store deliveries; earlier versions of the same referrals that still wait are superseded."""
    if not deliveries:
        return
    stop_waiting(connection, [one.referral_id for one in deliveries], state=SUPERSEDED)
    rows = [msgspec.structs.asdict(one) | {"level": str(one.level)} for one in deliveries]
    connection.execute(insert_if_new(connection, DELIVERY, unique=("referral_id", "version")), rows)


def stop_waiting(connection: Connection, referral_ids: Collection[UUID], *, state: str) -> None:
    """End what waits for these referrals; what is being sent now ends by itself."""
    if referral_ids:
        waits = (DELIVERY.c.referral_id.in_(referral_ids), DELIVERY.c.state == PENDING)
        connection.execute(update(DELIVERY).where(*waits).values(state=state))


def give_back(connection: Connection, partner_id: UUID, *, now: datetime) -> None:
    """End what waits for a partner, and want its packages again: it is reached in another way from now on."""
    waits = (DELIVERY.c.partner_id == partner_id, DELIVERY.c.state == PENDING, ~DELIVERY.c.revocation)
    again = select(DELIVERY.c.referral_id).where(*waits)
    wanted = update(REFERRAL).where(REFERRAL.c.id.in_(again))
    connection.execute(wanted.values(build_at=now, wanted_at=func.coalesce(REFERRAL.c.wanted_at, now)))
    connection.execute(update(DELIVERY).where(*waits).values(state=SUPERSEDED))


def end_leases(connection: Connection, *, now: datetime) -> None:
    """End every lease at once: for a start where no other process can be sending."""
    connection.execute(update(DELIVERY).where(DELIVERY.c.state == SENDING).values(lease_until=now))


def abandoned(connection: Connection, *, now: datetime) -> list[Delivery]:
    """Take back, as due now, what was being sent by somebody whose lease ran out; returns it as it was."""
    lost = (DELIVERY.c.state == SENDING, DELIVERY.c.lease_until <= now)
    found = _read(connection, select(DELIVERY).where(*lost).with_for_update(skip_locked=True))
    for one in found:
        state = SUPERSEDED if has_newer(connection, one) else PENDING
        put(connection, msgspec.structs.replace(one, state=state, next_attempt_at=now, lease_until=None))
    return found


def claim(
    connection: Connection,
    *,
    now: datetime,
    lease: timedelta,
    busy: Collection[UUID],
    probed: Collection[UUID] = (),
    most_each: int,
    limit: int,
) -> list[Delivery]:
    """Lease what is due to this process, the most urgent first.

    At most `most_each` for a partner, one for a `probed` partner, none for a `busy` one.
    A referral whose other version is being sent waits, so that a partner gets its versions in their order.
    """
    other = DELIVERY.alias("other")
    being_sent = (
        select(other.c.version).where(other.c.referral_id == DELIVERY.c.referral_id, other.c.state == SENDING).exists()
    )
    rank = func.row_number().over(partition_by=DELIVERY.c.partner_id, order_by=_order())
    due = (
        select(DELIVERY, rank.label("rank"))
        .where(DELIVERY.c.state == PENDING, DELIVERY.c.next_attempt_at <= now, ~being_sent)
        .where(DELIVERY.c.partner_id.not_in(list(busy)))
        .subquery()
    )
    ranked = select(due.c.referral_id, due.c.version).where(
        due.c.rank <= most_each, or_(due.c.rank == 1, due.c.partner_id.not_in(list(probed)))
    )
    keys = connection.execute(ranked.order_by(due.c.level, due.c.next_attempt_at).limit(limit)).all()
    claimed = []
    for referral_id, version in keys:
        one = _locked(connection, referral_id, version)
        if one is not None:
            kind = one.kind or _kind(connection, one)
            leased = msgspec.structs.replace(
                one, state=SENDING, kind=kind, attempts=one.attempts + 1, lease_until=now + lease
            )
            put(connection, leased)
            claimed.append(leased)
    return claimed


def put(connection: Connection, one: Delivery) -> None:
    """Store what changed of a delivery."""
    row = update(DELIVERY).where(DELIVERY.c.referral_id == one.referral_id, DELIVERY.c.version == one.version)
    connection.execute(
        row.values(
            state=one.state,
            kind=one.kind,
            attempts=one.attempts,
            next_attempt_at=one.next_attempt_at,
            lease_until=one.lease_until,
        )
    )


def get(connection: Connection, referral_id: UUID, version: int) -> Delivery | None:
    """Read one delivery, locked."""
    key = (DELIVERY.c.referral_id == referral_id, DELIVERY.c.version == version)
    found = _read(connection, select(DELIVERY).where(*key).with_for_update())
    return found[0] if found else None


def has_newer(connection: Connection, one: Delivery) -> bool:
    """Say whether a later version of the same referral stands in the table."""
    newer = select(DELIVERY.c.version).where(
        DELIVERY.c.referral_id == one.referral_id, DELIVERY.c.version > one.version
    )
    return connection.execute(newer.limit(1)).scalar() is not None


def next_due(source: Source, *, busy: Collection[UUID] = ()) -> datetime | None:
    """Return when the next waiting delivery or running lease asks for attention."""
    waits = select(func.min(DELIVERY.c.next_attempt_at)).where(
        DELIVERY.c.state == PENDING, DELIVERY.c.partner_id.not_in(list(busy))
    )
    leases = select(func.min(DELIVERY.c.lease_until)).where(DELIVERY.c.state == SENDING)
    moments = [moment for query in (waits, leases) if (moment := source.execute(query).scalar()) is not None]
    return min(moments, default=None)


def waiting(source: Source) -> int:
    """Count what has not reached its partner and is still tried."""
    query = select(func.count()).select_from(DELIVERY).where(DELIVERY.c.state.in_((PENDING, SENDING)))
    return source.execute(query).scalar_one()


def _locked(connection: Connection, referral_id: UUID, version: int) -> Delivery | None:
    key = (DELIVERY.c.referral_id == referral_id, DELIVERY.c.version == version, DELIVERY.c.state == PENDING)
    found = _read(connection, select(DELIVERY).where(*key).with_for_update(skip_locked=True))
    return found[0] if found else None


def _kind(connection: Connection, one: Delivery) -> str:
    """Choose the event type: a partner that never took a version of this referral is sent it, not updated."""
    if one.revocation:
        return "org.amparo.referral.revoked.v1"
    taken = select(DELIVERY.c.version).where(
        DELIVERY.c.referral_id == one.referral_id,
        DELIVERY.c.state == DELIVERED,
        DELIVERY.c.partner_id == one.partner_id,
    )
    first = connection.execute(taken.limit(1)).scalar() is None
    return f"org.amparo.referral.{'sent' if first else 'updated'}.v1"


def _order() -> tuple[ColumnElement[str], ColumnElement[datetime]]:
    return DELIVERY.c.level, DELIVERY.c.next_attempt_at


def _read(connection: Connection, query: object) -> list[Delivery]:
    rows = connection.execute(query).mappings()  # type: ignore[call-overload] # a select of the whole table
    return [msgspec.convert(dict(row), Delivery) for row in rows]
