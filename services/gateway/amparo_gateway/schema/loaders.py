"""One statement for what many rows of a page ask: a loader for each kind of question, made anew for every request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session
from strawberry.dataloader import DataLoader

from amparo_common.db.port import Database
from amparo_gateway import repository
from amparo_gateway.domain import Scope
from amparo_gateway.repository import Found, Standing, Version

Row = TypeVar("Row")
_MOST: Final = 500


class One(NamedTuple):
    """A question for the object of an id, as far as `scope` shows it."""

    scope: Scope
    id: UUID


class PageOf(NamedTuple):
    """A question for up to `limit` of what belongs to an object, as far as `scope` shows it."""

    scope: Scope
    id: UUID
    after: Any
    limit: int


class Loaders:
    """The loaders of one request. They answer states, still encoded; None or an empty list for what is not shown."""

    def __init__(self, projection: Database) -> None:
        self.incident: DataLoader[One, bytes | None] = _ones(projection, repository.incidents_by_id)
        self.incident_of_report: DataLoader[One, bytes | None] = _ones(projection, repository.incidents_of_reports)
        self.referral: DataLoader[One, bytes | None] = _ones(projection, repository.referrals_by_id)
        self.partner: DataLoader[One, bytes | None] = _ones(projection, repository.partners_by_id)
        self.standing: DataLoader[One, Standing | None] = _ones(projection, repository.standings_of_partners)
        self.task: DataLoader[One, bytes | None] = _ones(projection, repository.tasks_by_id)
        self.referrals: DataLoader[PageOf, list[Found]] = _pages(projection, repository.referrals_of_incidents)
        self.history: DataLoader[PageOf, list[Version]] = _pages(projection, repository.history_of_incidents)


def _ones(projection: Database, query: Callable[..., dict[UUID, Row]]) -> DataLoader[One, Row | None]:
    async def load(questions: list[One]) -> list[Row | None]:
        ids: dict[Scope, list[UUID]] = defaultdict(list)
        for question in questions:
            ids[question.scope].append(question.id)

        def answers(session: Session) -> dict[Scope, dict[UUID, Row]]:
            return {scope: query(session, scope=scope, ids=asked) for scope, asked in ids.items()}

        found = await projection.read(answers)
        return [found[question.scope].get(question.id) for question in questions]

    return DataLoader(load, max_batch_size=_MOST)


def _pages(projection: Database, query: Callable[..., dict[UUID, list[Row]]]) -> DataLoader[PageOf, list[Row]]:
    async def load(questions: list[PageOf]) -> Sequence[list[Row]]:
        ids: dict[tuple[Scope, Any, int], list[UUID]] = defaultdict(list)
        for scope, key, after, limit in questions:
            ids[scope, after, limit].append(key)

        def answers(session: Session) -> dict[tuple[Scope, Any, int], dict[UUID, list[Row]]]:
            return {
                (scope, after, limit): query(session, scope=scope, ids=asked, after=after, limit=limit)
                for (scope, after, limit), asked in ids.items()
            }

        found = await projection.read(answers)
        return [found[scope, after, limit].get(key, []) for scope, key, after, limit in questions]

    return DataLoader(load, max_batch_size=_MOST)
