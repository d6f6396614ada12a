"""Who may operate: the permission table, and a record of those who were refused."""

from __future__ import annotations

from fastapi import Request

from amparo_common import audit
from amparo_common.audit import AuditEntry
from amparo_common.auth.http import bearer, forbidden
from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.clock import Clock
from amparo_common.db.port import Database


class Callers:
    """Lets callers through by their permission; a denial goes on the service's audit chain."""

    def __init__(self, *, service: str, database: Database, clock: Clock) -> None:
        self._service, self._database, self._clock = service, database, clock

    async def permitted(
        self, request: Request, permission: Permission, *, action: str, subject: str | None = None
    ) -> Principal:
        """Return the caller. Raises Problem 401, TokenError, or Problem 403 after recording the denial."""
        caller = await bearer(request)
        if not caller.may(permission):
            await self.record(caller, action=action, subject=subject, allowed=False)
            raise forbidden(permission)
        return caller

    async def record(self, caller: Principal, *, action: str, subject: str | None = None, allowed: bool = True) -> None:
        """Put what `caller` did, or was denied, on the chain. `subject` is an id; by default the service."""
        entry = AuditEntry(
            actor=caller.name, role=caller.role, action=action, subject=subject or self._service, allowed=allowed
        )
        service, now = self._service, self._clock.now()
        await self._database.write(lambda connection: audit.record(connection, [entry], service=service, now=now))
