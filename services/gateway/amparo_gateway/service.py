"""The gateway's use cases: keep the projection, answer a question about it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from amparo_common import audit
from amparo_common.audit import AuditEntry
from amparo_common.auth.principal import Principal
from amparo_common.clock import Clock
from amparo_common.db.port import Database
from amparo_common.errors import Problem
from amparo_common.events.codec import Received
from amparo_gateway.budget import Budget
from amparo_gateway.commands.client import Owners
from amparo_gateway.cursors import CursorSeal
from amparo_gateway.documents.trust import Trust
from amparo_gateway.errors import DocumentError
from amparo_gateway.live.changes import changes
from amparo_gateway.live.hub import Hub
from amparo_gateway.projection import repository as stored
from amparo_gateway.projection.rows import batch_of
from amparo_gateway.schema import Context, execute
from amparo_gateway.schema.errors import Denial, denials, shown
from amparo_gateway.settings import SERVICE


async def apply(projection: Database, deliveries: Sequence[Received], *, hub: Hub | None = None) -> None:
    """Bring the projection up to what `deliveries` say, in one transaction; then tell `hub` what that changed.

    Only newer versions change anything, so the order and the number of deliveries do not matter and no inbox is needed.
    """
    batch = batch_of(deliveries)
    if hub is None:
        await projection.write(lambda connection: stored.apply(connection, batch))
        return

    def unit(connection: Connection) -> Mapping[UUID, bytes]:
        before = stored.stored_before(connection, batch)
        stored.apply(connection, batch)
        return before

    before = await projection.write(unit)
    if hub.listening:
        await hub.publish(changes(batch.incidents.values(), batch.referrals.values(), before=before))


async def is_filled_from_the_start(projection: Database) -> bool:
    """Say whether the log was rewound for this projection; if not, it must be before anything is consumed."""
    return await projection.read(lambda session: stored.filled_from_the_start(session.connection()))


async def mark_filled_from_the_start(projection: Database, *, now: datetime) -> None:
    """Note that the log was rewound."""
    await projection.write(lambda connection: stored.mark_filled_from_the_start(connection, now=now))


async def drop(projection: Database) -> None:
    """Empty the projection; the next start rewinds the log and refills it."""

    def emptied(connection: Connection) -> None:
        stored.empty(connection)

    await projection.write(emptied)


class Question(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A GraphQL request as it comes over HTTP: a document, or the id of a trusted one."""

    query: str | None = None
    document_id: str | None = None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


async def _as_it_is() -> None:
    """Answer from the projection as it stands."""


class Desk:
    """Answers questions about the projection; what a role was denied goes on record in the gateway's own database."""

    def __init__(
        self,
        *,
        own: Database,
        projection: Database,
        seal: CursorSeal,
        owners: Owners,
        clock: Clock,
        hub: Hub | None = None,
        budget: Budget | None = None,
        trust: Trust | None = None,
        fresh: Callable[[], Awaitable[None]] = _as_it_is,
    ) -> None:
        self._own, self._projection, self._seal, self._owners, self._clock = own, projection, seal, owners, clock
        self._hub, self._budget, self._trust = hub or Hub(), budget or Budget(), trust or Trust(production=False)
        self._fresh = fresh

    async def answer(self, question: Question, *, principal: Principal, trace_id: str) -> Mapping[str, Any]:
        """Return the members `data` and, where there are any, `errors` of a GraphQL answer.

        Raises Problem for a document without an operation that can be run here.
        """
        await self._fresh()
        context = self.context(principal, trace_id=trace_id)
        try:
            document = self.document(question.query, question.document_id, principal=principal)
            result = await execute(
                document, variables=question.variables, operation=question.operation_name, context=context
            )
        except DocumentError as error:
            return {"data": None, "errors": [error.formatted]}
        except (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError) as error:
            raise Problem(400, "no-operation", "The document has no query of that name to run.") from error
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            await self.record_denials(denials(result.errors), principal=principal)
            answer["errors"] = [error.formatted for error in shown(result.errors, trace_id=trace_id)]
        return answer

    def document(self, query: str | None, document_id: str | None, *, principal: Principal) -> str:
        """Return the text of the document that is to run. Raises DocumentError."""
        return self._trust.document(query, document_id, principal=principal)

    def context(self, principal: Principal, *, trace_id: str) -> Context:
        """Make what the resolvers of one request share."""
        return Context(
            principal=principal,
            projection=self._projection,
            seal=self._seal,
            owners=self._owners.traced(f"00-{trace_id}-{secrets.token_hex(8)}-01"),
            now=self._clock.now(),
            apply=partial(apply, self._projection, hub=self._hub),
            hub=self._hub,
            budget=self._budget,
        )

    async def record_denials(self, denied: Sequence[Denial], *, principal: Principal) -> None:
        """Put what the role was denied on the audit chain, each once a request."""
        if not denied:
            return
        now, role = self._clock.now(), principal.role.lower()
        entries = [AuditEntry(actor=principal.name, role=role, allowed=False, **one._asdict()) for one in denied]
        await self._own.write(lambda connection: audit.record(connection, entries, service=SERVICE, now=now))
