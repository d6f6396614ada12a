"""What second people said to versions of referrals."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select, update
from sqlalchemy.orm import Session

from amparo_referral.tables import APPROVAL

Source = Connection | Session


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A yes or no to one package version; `reason` is sealed, None once erased."""

    id: UUID
    referral_id: UUID
    incident_id: UUID
    package_version: int
    at: datetime
    by: str
    approved: bool
    reason: bytes | None


def add(connection: Connection, approval: Approval) -> None:
    """Store an approval or a refusal."""
    connection.execute(APPROVAL.insert(), [msgspec.structs.asdict(approval)])


def of_referral(source: Source, referral_id: UUID) -> list[Approval]:
    """Read what was said to a referral, oldest first."""
    query = select(APPROVAL).where(APPROVAL.c.referral_id == referral_id).order_by(APPROVAL.c.at, APPROVAL.c.id)
    return [msgspec.convert(dict(row), Approval) for row in source.execute(query).mappings()]


def wipe_reasons(connection: Connection, incident_ids: Collection[UUID]) -> None:
    """Drop the reasons of erased incidents."""
    erased = APPROVAL.c.incident_id.in_(list(incident_ids))
    connection.execute(update(APPROVAL).where(erased).values(reason=None))
