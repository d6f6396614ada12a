"""Keeping and forgetting: holds on an incident's reports, and erasure by destroying their data keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.clock import Clock
from amparo_common.crypto.key_table import unwrapped_for
from amparo_common.crypto.parts import open_text, seal_text
from amparo_common.crypto.sealing import DataKey, seal
from amparo_common.db.port import Database
from amparo_common.errors import Problem, Refusal, Refused, TransientError
from amparo_common.events.types import ReportsErased
from amparo_common.ids import uuid7
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Lane
from amparo_intake import repository
from amparo_intake.casework import Casework, entry_for, incident_unknown, visible
from amparo_intake.keyed import IntakeSecrets
from amparo_intake.repository import KeptHold

_SCRUB_TRIES: Final = 20
_SCRUB_PAUSE_S: Final = 0.05
_log = structlog.get_logger()


class HoldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for a hold and why; sealed where it is stored. `released_for` is why it ended."""

    requested_by: str
    reason: str
    released_for: str | None = None

    def __repr__(self) -> str:
        return "HoldRequest(hidden)"


class ShownHold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as colleagues see it; `requested_by` is None once the incident was erased."""

    hold_id: UUID
    incident_id: UUID
    record_classes: tuple[str, ...]
    requested_by: str | None
    placed_by: str
    placed_at: datetime
    until: datetime
    released_at: datetime | None


class Preservation:
    """Holds and erasure. No erasure while a hold stands; both are decided in one transaction each."""

    def __init__(self, casework: Casework, *, database: Database, secrets: IntakeSecrets, clock: Clock) -> None:
        self._casework, self._database, self._secrets, self._clock = casework, database, secrets, clock
        # After a crash nobody knows whether the last erasure was followed by its scrub.
        self.scrub_is_due = True

    async def holds(self, incident_id: UUID, *, caller: Principal) -> list[ShownHold]:
        """Return the holds of an incident, oldest first. Raises Problem 404 as all of this class does."""
        await self._permit(incident_id, caller=caller, permission=Permission.WORK_QUEUE, action="holds.read")
        return await self._database.read(lambda session: self._shown(session, incident_id))

    async def place_hold(
        self,
        incident_id: UUID,
        *,
        record_classes: Sequence[str],
        request: HoldRequest,
        until: datetime,
        caller: Principal,
    ) -> ShownHold:
        """Keep an incident's reports until a time, or until the hold is released."""
        await self._permit(incident_id, caller=caller, permission=Permission.SIGN, action="hold.place")
        hold_id, now, entry = uuid7(), self._clock.now(), entry_for(caller, "hold.place", incident_id=incident_id)
        if until <= now:
            raise Refused(Refusal("INVALID", "A hold ends in the future.", "until"))

        def unit(connection: Connection) -> KeptHold:
            repository.lock_incident(connection, incident_id)
            key = self._key(connection, incident_id)
            if key is None:
                raise Refused(Refusal("NOT_FOUND", "This incident was erased.", "incidentId"))
            kept = KeptHold(
                hold_id=hold_id,
                incident_id=incident_id,
                record_classes=" ".join(dict.fromkeys(record_classes)),
                placed_by=caller.name,
                placed_at=now,
                until=until,
                released_at=None,
                request=_sealed(request, key, hold_id=hold_id, incident_id=incident_id),
            )
            repository.store_hold(connection, kept, entry=entry, now=now)
            return kept

        return _shown_hold(await self._database.write(unit), request=request)

    async def release_hold(self, hold_id: UUID, *, reason: str, caller: Principal) -> ShownHold:
        """End a hold now; one that ended stays as it is."""
        kept = await self._database.read(lambda session: repository.hold(session, hold_id))
        if kept is None:
            raise Problem(404, "hold-unknown", "There is no such hold here.")
        incident_id = kept.incident_id
        await self._permit(incident_id, caller=caller, permission=Permission.SIGN, action="hold.release")
        now, entry = self._clock.now(), entry_for(caller, "hold.release", incident_id=incident_id)

        def unit(connection: Connection) -> tuple[KeptHold, HoldRequest | None]:
            repository.lock_incident(connection, incident_id)
            stands = repository.hold(connection, hold_id) or kept
            key = self._key(connection, incident_id)
            request = _opened(stands, key)
            if stands.released_at is not None or key is None or request is None:
                return stands, request
            noted = msgspec.structs.replace(request, released_for=reason)
            sealed = _sealed(noted, key, hold_id=hold_id, incident_id=incident_id)
            ended = msgspec.structs.replace(stands, released_at=now, request=sealed)
            repository.store_hold(connection, ended, entry=entry, now=now)
            return ended, noted

        ended, request = await self._database.write(unit)
        return _shown_hold(ended, request=request)

    async def erase(self, incident_id: UUID, *, reason: str, caller: Principal) -> tuple[UUID, ...]:
        """Destroy the data keys of all reports of an incident and return their ids.

        Raises Refused ON_HOLD while a hold stands. An erased incident is erased again without harm.
        """
        await self._permit(incident_id, caller=caller, permission=Permission.SIGN, action="incident.erase")
        now, entry = self._clock.now(), entry_for(caller, "incident.erase", incident_id=incident_id)
        sealing_key = DataKey(self._secrets.provider.derive("intake.erasure-reason"))
        sealed_reason = seal(sealing_key, reason.encode(), context=f"erasure:{incident_id}")
        remains = {
            "incident_id": incident_id, "erased_at": now, "erased_by": caller.name, "reason": sealed_reason,
        }  # fmt: skip

        def unit(connection: Connection) -> tuple[UUID, ...]:
            repository.lock_incident(connection, incident_id)
            if any(_stands(kept, now=now) for kept in repository.holds_of_incident(connection, incident_id)):
                raise Refused(Refusal("ON_HOLD", "A hold stands on this incident.", "incidentId"))
            ids = tuple(report.report_id for report in repository.reports_of_incident(connection, incident_id))
            event = ReportsErased(incident_id=incident_id, report_ids=ids, at=now)
            outgoing = Outgoing(event=event, key=incident_id, lane=Lane.URGENT)
            repository.erase(connection, ids, remains=remains, event=outgoing, entry=entry, now=now)
            return ids

        erased = await self._database.write(unit)
        self.scrub_is_due = True
        await self.scrub()
        return erased

    async def scrub(self) -> None:
        """Clear what the storage still holds of destroyed keys; what readers hold up is left to the next call."""
        for _ in range(_SCRUB_TRIES if self.scrub_is_due else 0):
            try:
                await self._database.scrub()
            except TransientError:
                await asyncio.sleep(_SCRUB_PAUSE_S)
            else:
                self.scrub_is_due = False
                return
        if self.scrub_is_due:
            _log.warning("what remains of destroyed keys could not be cleared yet; it is tried again")

    async def _permit(self, incident_id: UUID, *, caller: Principal, permission: Permission, action: str) -> None:
        reports = await self._database.read(lambda session: repository.reports_of_incident(session, incident_id))
        if not visible(reports, caller=caller, permission=permission):
            await self._casework.on_record(entry_for(caller, action, incident_id=incident_id, allowed=False))
            raise incident_unknown()

    def _shown(self, session: Session, incident_id: UUID) -> list[ShownHold]:
        key = self._key(session, incident_id)
        kept = repository.holds_of_incident(session, incident_id)
        return [_shown_hold(one, request=_opened(one, key)) for one in kept]

    def _key(self, source: Session | Connection, incident_id: UUID) -> DataKey | None:
        wrapped = repository.wrapped_key(source, incident_id)
        return None if wrapped is None else unwrapped_for(incident_id, wrapped, provider=self._secrets.provider)


def _stands(kept: KeptHold, *, now: datetime) -> bool:
    return kept.released_at is None and kept.until > now


def _sealed(request: HoldRequest, key: DataKey, *, hold_id: UUID, incident_id: UUID) -> bytes:
    return seal_text(key, msgspec.json.encode(request).decode(), name=f"note:{hold_id}", report_id=incident_id)


def _opened(kept: KeptHold, key: DataKey | None) -> HoldRequest | None:
    if key is None:
        return None
    text = open_text(key, kept.request, name=f"note:{kept.hold_id}", report_id=kept.incident_id)
    return msgspec.json.decode(text, type=HoldRequest)


def _shown_hold(kept: KeptHold, *, request: HoldRequest | None) -> ShownHold:
    return ShownHold(
        hold_id=kept.hold_id,
        incident_id=kept.incident_id,
        record_classes=tuple(kept.record_classes.split()),
        requested_by=request.requested_by if request else None,
        placed_by=kept.placed_by,
        placed_at=kept.placed_at,
        until=kept.until,
        released_at=kept.released_at,
    )
