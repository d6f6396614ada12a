"""The audit trail of all services."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from amparo_gateway.domain import EveryCountry, Scope, trail_since, trail_until
from amparo_gateway.repository.conditions import equal, one_of
from amparo_gateway.tables import AuditedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailWish:
    """What audited actions a caller asks for; None and an empty list ask nothing."""

    services: Collection[str] | None = None
    actor: str | None = None
    subject: str | None = None
    actions: Collection[str] | None = None
    allowed: bool | None = None
    after: datetime | None = None
    before: datetime | None = None


class Audited(NamedTuple):
    """An audited action as it is shown, with its place."""

    place: bytes
    sequence: int
    at: datetime
    service: str
    actor: str
    role: str
    action: str
    subject: str
    purpose: str | None
    allowed: bool
    hash: str


_SHOWN = tuple(col(getattr(AuditedRow, "newest_place" if name == "place" else name)) for name in Audited._fields)


def trail(session: Session, *, scope: Scope, wish: TrailWish, after: bytes | None, limit: int) -> list[Audited]:
    """Return up to `limit` audited actions, newest first, behind the place `after`; nobody sees a part of the trail."""
    if not isinstance(scope, EveryCountry):
        return []
    row, place = AuditedRow, col(AuditedRow.newest_place)
    query = select(*_SHOWN).where(
        *one_of((row.service, wish.services), (row.action, wish.actions)),
        *equal((row.actor, wish.actor), (row.subject, wish.subject), (row.allowed, wish.allowed)),
    )
    if wish.after is not None:
        query = query.where(place < trail_since(wish.after))
    if wish.before is not None:
        query = query.where(place > trail_until(wish.before))
    if after is not None:
        query = query.where(place > after)
    return [Audited(*found) for found in session.execute(query.order_by(place).limit(limit))]
