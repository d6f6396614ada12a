"""Work for a person: a call to make, a portal to fill."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Self
from uuid import UUID

import msgspec
import strawberry

from amparo_common.events.types import TaskChanged
from amparo_common.vocabulary.codes import Adapter
from amparo_common.vocabulary.languages import shown_in
from amparo_gateway import repository
from amparo_gateway.domain import Kind, Scope, global_id
from amparo_gateway.errors import NoSuchError
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.decision import Language
from amparo_gateway.schema.fields import described
from amparo_gateway.schema.loaders import One
from amparo_gateway.schema.node import Node
from amparo_gateway.schema.paging import Page, PageInfo
from amparo_gateway.schema.referral import Referral, referral_or_none

_decode: Final = msgspec.json.Decoder(TaskChanged).decode


@strawberry.type(description="Work for a person on a referral.")
class Task(Node):
    state: strawberry.Private[TaskChanged]
    kind: Adapter
    created_at: datetime
    due_at: datetime
    completed_at: datetime | None
    completed_by: str | None

    @classmethod
    def of(cls, state: bytes) -> Self:
        task = _decode(state)
        return cls(
            state=task,
            id=strawberry.ID(global_id(Kind.TASK, task.task_id)),
            kind=task.kind,
            created_at=task.created_at,
            due_at=task.due_at,
            completed_at=task.completed_at,
            completed_by=task.completed_by,
        )

    @strawberry.field
    async def referral(self, info: Info) -> Referral:
        scope = info.context.scope("Task.referral")
        found = referral_or_none(await info.context.loaders.referral.load(One(scope, self.state.referral_id)))
        if found is None:
            raise NoSuchError("referral")
        return found

    @described("What to do, from a fixed set, without any personal data.")
    def instructions(self, language: Language = strawberry.UNSET) -> str:
        words = self.state.instructions
        return words.get(shown_in(language or "", available=tuple(words)), "") if words else ""


@strawberry.type
class TaskEdge:
    cursor: str
    node: Task


@strawberry.type
class TaskConnection:
    page_info: PageInfo
    edges: list[TaskEdge]


async def tasks_page(info: Info, *, first: int, after: str | None, is_open: bool) -> TaskConnection:
    """Return a page of the work that waits (else: that is done), the earliest due first."""
    context = info.context
    scope = context.scope("Query.tasks")
    page = Page(context, name=f"tasks|{is_open}", first=first, after=after)
    found = await context.projection.read(
        lambda session: repository.tasks(session, scope=scope, is_open=is_open, after=page.after, limit=page.limit)
    )
    edges = [TaskEdge(cursor=page.cursor(place), node=Task.of(state)) for place, state, _ in page.cut(found)]
    return TaskConnection(page_info=page.info([edge.cursor for edge in edges], found=len(found)), edges=edges)


async def task_or_none(context: Context, key: UUID, *, scope: Scope) -> Task | None:
    """Return a task that `scope` shows."""
    state = await context.loaders.task.load(One(scope, key))
    return Task.of(state) if state is not None else None
