"""Work for a person: done."""

from __future__ import annotations

import strawberry

from amparo_common.auth.permissions import Permission
from amparo_common.events.types import TaskChanged
from amparo_gateway.domain import Kind
from amparo_gateway.schema.arguments import given
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import commanding
from amparo_gateway.schema.mutations.command import ask, key_in, permitted, state_of
from amparo_gateway.schema.mutations.outcome import DomainError, outcome
from amparo_gateway.schema.task import Task, task_or_none


@strawberry.input(description="What came of a call or a portal.")
class CompleteTaskInput:
    task_id: strawberry.ID
    partner_reference: str | None = strawberry.UNSET
    note: str


@strawberry.type(description="The task, done.")
class CompleteTaskPayload:
    task: Task | None
    errors: list[DomainError]


@strawberry.type
class TaskMutations:
    @commanding("Say that a task was done; its referral counts as delivered.")
    async def complete_task(self, info: Info, input: CompleteTaskInput) -> CompleteTaskPayload:  # noqa: A002
        context = permitted(info, "completeTask")
        task, errors = await outcome(_completed(context, input), about="taskId")
        return CompleteTaskPayload(task=task, errors=errors)


async def _completed(context: Context, done: CompleteTaskInput) -> Task | None:
    key = key_in(Kind.TASK, done.task_id, field="taskId")
    body = {"partner_reference": given(done.partner_reference), "note": done.note}
    states = await ask(context, "referral", f"/v1/tasks/{key}/completion", body)
    key = state_of(states, "task", TaskChanged).task_id
    scope = context.reach(Permission.WORK_QUEUE)
    context.forget_what_was_read()
    return await task_or_none(context, key, scope=scope)
