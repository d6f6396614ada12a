"""Referrals, their packages, attempts and answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, func, or_, select, update
from sqlalchemy.orm import Session

from amparo_common.db.upsert import insert_if_new, upsert
from amparo_common.events.types import DeliveryAttempt, PartnerAnswer, ReferralChanged, WithheldField
from amparo_common.vocabulary.codes import AcknowledgementCode, Adapter, ReferralStatus
from amparo_referral.domain.profiles import profile_of
from amparo_referral.domain.referrals import SILENT, Referral
from amparo_referral.tables import ACKNOWLEDGEMENT, ATTEMPT, PACKAGE, PARTNER, REFERRAL

Source = Connection | Session
_withheld: Final = msgspec.json.Decoder(tuple[WithheldField, ...])


class StoredPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package as it is stored; `sealed` is the JSON of the delivery's `data`."""

    referral_id: UUID
    version: int
    incident_id: UUID
    created_at: datetime
    profile: str
    withheld: tuple[WithheldField, ...]
    complete: bool
    sealed: bytes


def of_incidents(connection: Connection, incident_ids: Sequence[UUID]) -> list[Referral]:
    """Read and lock the referrals of incidents, in id order."""
    query = select(REFERRAL).where(REFERRAL.c.incident_id.in_(incident_ids))
    return _referrals(connection, query.order_by(REFERRAL.c.id).with_for_update())


def locked(connection: Connection, ids: Sequence[UUID]) -> list[Referral]:
    """Read and lock referrals, in id order."""
    return _referrals(
        connection, select(REFERRAL).where(REFERRAL.c.id.in_(ids)).order_by(REFERRAL.c.id).with_for_update()
    )


def get(source: Source, referral_id: UUID) -> Referral | None:
    """Read one referral, without a lock."""
    found = _referrals(source, select(REFERRAL).where(REFERRAL.c.id == referral_id))
    return found[0] if found else None


def incident_of(source: Source, reference: str) -> UUID | None:
    """Return the incident of the referral that a reference names."""
    query = select(REFERRAL.c.incident_id).where(REFERRAL.c.reference == reference)
    incident_id: UUID | None = source.execute(query).scalar()
    return incident_id


def partner_of(source: Source, reference: str) -> UUID | None:
    """Return whose referral a reference names."""
    partner_id: UUID | None = source.execute(
        select(REFERRAL.c.partner_id).where(REFERRAL.c.reference == reference)
    ).scalar()
    return partner_id


def to_build(source: Source, *, now: datetime, limit: int) -> list[UUID]:
    """Return the incidents whose packages are wanted by `now`, the most urgent first."""
    query = (
        select(REFERRAL.c.incident_id)
        .where(REFERRAL.c.build_at <= now)
        .order_by(REFERRAL.c.level, REFERRAL.c.build_at, REFERRAL.c.id)
        .limit(limit)
    )
    return list(dict.fromkeys(source.execute(query).scalars()))


def to_escalate(source: Source, *, now: datetime, limit: int) -> list[UUID]:
    """Return the incidents with a partner that was silent too long by `now`, the most urgent first."""
    query = (
        select(REFERRAL.c.incident_id)
        .where(REFERRAL.c.escalate_at <= now)
        .order_by(REFERRAL.c.level, REFERRAL.c.escalate_at, REFERRAL.c.id)
        .limit(limit)
    )
    return list(dict.fromkeys(source.execute(query).scalars()))


def overdue(source: Source, *, now: datetime) -> int:
    """Count the referrals whose partner was silent too long by `now` and is so still."""
    silent = REFERRAL.c.status.in_([str(status) for status in SILENT])
    waits = select(func.count()).select_from(REFERRAL).where(REFERRAL.c.due_at <= now, silent)
    return source.execute(waits.where(REFERRAL.c.acknowledged_at.is_(None))).scalar_one()


def awaiting_approval(source: Source) -> int:
    """Count the referrals that wait for a second person."""
    waits = REFERRAL.c.status == str(ReferralStatus.AWAITING_APPROVAL)
    return source.execute(select(func.count()).select_from(REFERRAL).where(waits)).scalar_one()


def put(connection: Connection, referrals: Sequence[Referral]) -> None:
    """Store referrals whole."""
    rows = [
        {name: str(value) if isinstance(value, Enum) else value for name, value in msgspec.structs.asdict(one).items()}
        for one in referrals
    ]
    if rows:
        connection.execute(upsert(connection, REFERRAL, unique=("id",)), rows)


def mark_attempted(connection: Connection, ids: Sequence[UUID]) -> None:
    """Note that partners may have these from now on."""
    if ids:
        connection.execute(update(REFERRAL).where(REFERRAL.c.id.in_(ids)).values(attempted=True))


def want_complete(connection: Connection, incident_ids: Sequence[UUID], *, now: datetime) -> list[UUID]:
    """Ask for packages at once where one waits for the first report, or was made without it; return which."""
    newest = select(PACKAGE.c.referral_id).where(
        PACKAGE.c.incident_id.in_(incident_ids),
        PACKAGE.c.complete.is_(False),
        PACKAGE.c.version == REFERRAL.c.package_version,
        PACKAGE.c.referral_id == REFERRAL.c.id,
    )
    waits = or_(REFERRAL.c.build_at.is_not(None), newest.exists())
    wanted = update(REFERRAL).where(REFERRAL.c.incident_id.in_(incident_ids), waits)
    statement = wanted.values(build_at=now, wanted_at=func.coalesce(REFERRAL.c.wanted_at, now)).returning(REFERRAL.c.id)
    return list(connection.execute(statement).scalars())


def add_packages(connection: Connection, packages: Sequence[StoredPackage]) -> None:
    """Store packages."""
    rows = [
        msgspec.structs.asdict(package) | {"withheld": msgspec.json.encode(package.withheld)} for package in packages
    ]
    if rows:
        connection.execute(insert_if_new(connection, PACKAGE, unique=("referral_id", "version")), rows)


def packages(source: Source, keys: Iterable[tuple[UUID, int]]) -> dict[tuple[UUID, int], StoredPackage]:
    """Read packages by referral and version; erased ones are not there."""
    wanted = set(keys)
    query = select(PACKAGE).where(PACKAGE.c.referral_id.in_({referral_id for referral_id, _ in wanted}))
    rows = source.execute(query).mappings()
    return {
        (row["referral_id"], row["version"]): StoredPackage(**{**row, "withheld": _withheld.decode(row["withheld"])})
        for row in rows
        if (row["referral_id"], row["version"]) in wanted
    }


def newest_package(source: Source, referral_id: UUID, *, up_to: int) -> StoredPackage | None:
    """Read the newest package of a referral that is not newer than version `up_to`."""
    query = select(PACKAGE).where(PACKAGE.c.referral_id == referral_id, PACKAGE.c.version <= up_to)
    row = source.execute(query.order_by(PACKAGE.c.version.desc()).limit(1)).mappings().one_or_none()
    return StoredPackage(**{**row, "withheld": _withheld.decode(row["withheld"])}) if row is not None else None


def sealed_notes(source: Source, referral_id: UUID) -> list[tuple[UUID, bytes]]:
    """Read the sealed notes of a referral's answers, oldest first."""
    columns = ACKNOWLEDGEMENT.c
    query = select(columns.id, columns.note).where(columns.referral_id == referral_id, columns.note.is_not(None))
    return [(row.id, row.note) for row in source.execute(query.order_by(columns.taken_at, columns.id))]


def add_attempt(connection: Connection, referral_id: UUID, *, version: int, attempt: DeliveryAttempt) -> None:
    """Store an attempt; its own `number` is replaced by the next free one of the referral."""
    last = connection.execute(select(func.max(ATTEMPT.c.number)).where(ATTEMPT.c.referral_id == referral_id)).scalar()
    row = msgspec.structs.asdict(attempt) | {"referral_id": referral_id, "version": version, "number": (last or 0) + 1}
    connection.execute(ATTEMPT.insert(), [row])


def add_acknowledgement(connection: Connection, row: dict[str, Any]) -> bool:
    """Store an answer; returns False for an exact repeat."""
    new = insert_if_new(connection, ACKNOWLEDGEMENT, unique=("referral_id", "digest")).returning(ACKNOWLEDGEMENT.c.id)
    return bool(connection.execute(new, [row]).scalars().all())


def answered_before(source: Source, referral_id: UUID, *, digests: Sequence[bytes]) -> bool:
    """Say whether an answer with one of these digests was taken before."""
    same = select(ACKNOWLEDGEMENT.c.id).where(
        ACKNOWLEDGEMENT.c.referral_id == referral_id, ACKNOWLEDGEMENT.c.digest.in_(digests)
    )
    return source.execute(same.limit(1)).scalar() is not None


def wipe_notes(connection: Connection, incident_ids: Sequence[UUID]) -> None:
    """Drop what partners wrote on erased incidents."""
    of_these = select(REFERRAL.c.id).where(REFERRAL.c.incident_id.in_(incident_ids))
    connection.execute(update(ACKNOWLEDGEMENT).where(ACKNOWLEDGEMENT.c.referral_id.in_(of_these)).values(note=None))


def events_of(source: Source, changed: Sequence[Referral]) -> list[ReferralChanged]:
    """Tell the whole state of each referral, attempts and answers included, in the order given."""
    ids = [referral.id for referral in changed]
    attempts = _attempts(source, ids)
    answers = _answers(source, ids)
    stored = packages(source, [(referral.id, referral.package_version) for referral in changed])
    partner_ids = {referral.partner_id for referral in changed}
    columns = (PARTNER.c.id, PARTNER.c.name, PARTNER.c.organisation, PARTNER.c.adapter)
    partners = {row.id: row for row in source.execute(select(*columns).where(PARTNER.c.id.in_(partner_ids)))}
    return [
        _event(
            referral,
            partner=partners[referral.partner_id],
            package=stored.get((referral.id, referral.package_version)),
            attempts=attempts[referral.id],
            answers=answers[referral.id],
        )
        for referral in changed
    ]


def _event(
    referral: Referral,
    *,
    partner: Any,
    package: StoredPackage | None,
    attempts: Sequence[DeliveryAttempt],
    answers: Sequence[PartnerAnswer],
) -> ReferralChanged:
    return ReferralChanged(
        referral_id=referral.id,
        reference=referral.reference,
        version=referral.version,
        package_version=referral.package_version,
        changed_at=referral.changed_at,
        incident_id=referral.incident_id,
        partner_id=referral.partner_id,
        partner_name=partner.name,
        organisation=partner.organisation,
        country=referral.country,
        destination=referral.destination,
        adapter=Adapter(partner.adapter),
        status=referral.status,
        release=referral.release,
        level=referral.level,
        category=referral.category,
        lawful_basis=referral.lawful_basis,
        created_at=referral.created_at,
        delivered_at=referral.delivered_at,
        acknowledged_at=referral.acknowledged_at,
        due_at=referral.due_at,
        is_test=referral.is_test,
        profile=package.profile if package else profile_of(referral.destination),
        withheld=package.withheld if package else (),
        attempts=tuple(attempts),
        acknowledgements=tuple(answers),
    )


def _attempts(source: Source, ids: Sequence[UUID]) -> dict[UUID, list[DeliveryAttempt]]:
    found: dict[UUID, list[DeliveryAttempt]] = {referral_id: [] for referral_id in ids}
    query = select(ATTEMPT).where(ATTEMPT.c.referral_id.in_(ids)).order_by(ATTEMPT.c.referral_id, ATTEMPT.c.number)
    for row in source.execute(query):
        found[row.referral_id].append(
            DeliveryAttempt(
                number=row.number,
                at=row.at,
                outcome=row.outcome,
                status_code=row.status_code,
                next_attempt_at=row.next_attempt_at,
            )
        )
    return found


def _answers(source: Source, ids: Sequence[UUID]) -> dict[UUID, list[PartnerAnswer]]:
    found: dict[UUID, list[PartnerAnswer]] = {referral_id: [] for referral_id in ids}
    columns = ACKNOWLEDGEMENT.c
    query = select(ACKNOWLEDGEMENT).where(columns.referral_id.in_(ids)).order_by(columns.taken_at, columns.id)
    for row in source.execute(query):
        found[row.referral_id].append(
            PartnerAnswer(
                acknowledgement_id=row.id,
                at=row.at,
                code=AcknowledgementCode(row.code),
                by=row.by,
                partner_reference=row.partner_reference,
            )
        )
    return found


def _referrals(source: Source, query: Any) -> list[Referral]:
    return [msgspec.convert(dict(row), Referral) for row in source.execute(query).mappings()]
