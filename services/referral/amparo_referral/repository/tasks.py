"""Tasks for people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select, update
from sqlalchemy.orm import Session

from amparo_common.db.upsert import upsert
from amparo_referral.domain.tasks import Task
from amparo_referral.tables import TASK

Source = Connection | Session


def of_referrals(source: Source, referral_ids: Collection[UUID]) -> list[Task]:
    """Read the tasks of referrals, oldest first."""
    query = select(TASK).where(TASK.c.referral_id.in_(list(referral_ids)))
    return [_task(row) for row in source.execute(query.order_by(TASK.c.created_at, TASK.c.id)).mappings()]


def get(source: Source, task_id: UUID) -> Task | None:
    """Read one task."""
    row = source.execute(select(TASK).where(TASK.c.id == task_id)).mappings().one_or_none()
    return _task(row) if row is not None else None


def put(connection: Connection, tasks: Sequence[Task]) -> None:
    """Store tasks whole."""
    rows = [
        {name: str(value) if isinstance(value, Enum) else value for name, value in msgspec.structs.asdict(one).items()}
        for one in tasks
    ]
    if rows:
        connection.execute(upsert(connection, TASK, unique=("id",)), rows)


def wipe_notes(connection: Connection, incident_ids: Collection[UUID]) -> None:
    """Drop what people wrote when they completed tasks on erased incidents."""
    connection.execute(update(TASK).where(TASK.c.incident_id.in_(list(incident_ids))).values(note=None))


def _task(row: object) -> Task:
    return msgspec.convert(dict(row), Task)  # type: ignore[call-overload] # a row of the whole table
