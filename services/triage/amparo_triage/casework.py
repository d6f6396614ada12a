"""The use cases of people at triage. Each loads, decides and stores in one write unit, so none loses to a batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from amparo_common import audit
from amparo_common.audit import AuditEntry
from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import EVERY_COUNTRY, Principal
from amparo_common.clock import Clock
from amparo_common.crypto.data_keys import DataKeys
from amparo_common.crypto.parts import seal_text
from amparo_common.crypto.sealing import DataKey
from amparo_common.db.port import Database
from amparo_common.errors import Problem, Refusal, Refused
from amparo_common.events.types import IncidentTriaged
from amparo_common.ids import reference, uuid7
from amparo_common.vocabulary.codes import Lane, Level, LinkKind, Purpose
from amparo_common.vocabulary.sets import lane_of
from amparo_triage import repository
from amparo_triage.batch import REFERENCE_PREFIX, SERVICE, Batch
from amparo_triage.domain import human
from amparo_triage.domain.human import NotAllowedError, Person
from amparo_triage.domain.judgement import Judgement
from amparo_triage.domain.policy import RulePack
from amparo_triage.domain.state import Incident, event_of
from amparo_triage.repository import SealedNote

Answer = TypeVar("Answer")
Change = Callable[[Incident], Incident]
#: Stands as the subject of an audit row about no incident in particular.
QUEUE: Final = "queue"


class _UnseenError(Exception):
    """The caller may not know of this incident, or there is none."""

    def __init__(self, incident_id: UUID) -> None:
        super().__init__("unseen")
        self.incident_id = incident_id


@dataclass(frozen=True, slots=True)
class _Command:
    """Who does what: the action and permission of one audit row."""

    action: str
    permission: Permission
    caller: Principal
    purpose: Purpose | None = None

    @property
    def person(self) -> Person:
        return Person(name=self.caller.name, subject=self.caller.subject, role=self.caller.role)

    def entry(self, subject: UUID | None, *, allowed: bool = True) -> AuditEntry:
        return AuditEntry(
            actor=self.caller.name,
            role=self.caller.role.lower(),
            action=self.action,
            subject=QUEUE if subject is None else reference(REFERENCE_PREFIX, of=subject),
            purpose=self.purpose,
            allowed=allowed,
        )

    def require_seen(self, incidents: Mapping[UUID, Incident], incident_id: UUID) -> Incident:
        incident = incidents.get(incident_id)
        if incident is None or not visible(incident, caller=self.caller, permission=self.permission):
            raise _UnseenError(incident_id)
        return incident


def visible(incident: Incident, *, caller: Principal, permission: Permission) -> bool:
    """Say whether `caller` may have to do with `incident` under `permission`."""
    reach = caller.may(permission)
    if reach is Reach.OWN:
        return caller.owner is not None and caller.owner in incident.owners
    return reach is Reach.ALL or (reach is Reach.COUNTRIES and caller.sees_country(incident.country))


class Casework:
    """What people do with incidents. Every command answers the state that it put into the outbox.

    Raises Problem 404 for an incident that is not there or not the caller's to know of (on record), Refused for what a
    rule does not allow (nothing is stored), TransientError when intake gives no key to seal a reason with.
    """

    def __init__(self, *, database: Database, keys: DataKeys, pack: RulePack, clock: Clock) -> None:
        self._database, self._keys, self._pack, self._clock = database, keys, pack, clock

    async def claim(self, incident_id: UUID, *, release: bool, caller: Principal) -> IncidentTriaged:
        """Claim an incident for half an hour, renew the claim, or give it back."""
        action = "incident.release" if release else "incident.claim"
        command = _Command(action, Permission.WORK_QUEUE, caller)
        change = partial(human.released if release else human.claimed, by=command.person, now=self._clock.now())
        return await self._change(command, incident_id, change)

    async def claim_next(self, *, lane: Lane | None, caller: Principal) -> IncidentTriaged | None:
        """Claim the most urgent free incident of the queue; None when there is none in the caller's countries."""
        command = _Command("incident.claim_next", Permission.WORK_QUEUE, caller)
        return await self._database.write(partial(self._take_next, command=command, lane=lane))

    def _take_next(self, connection: Connection, *, command: _Command, lane: Lane | None) -> IncidentTriaged | None:
        now, caller = self._clock.now(), command.caller
        taken = repository.take_next(
            connection,
            by=caller.name,
            now=now,
            until=now + human.LEASE,
            countries=None if EVERY_COUNTRY in caller.countries else caller.countries,
            levels=[level for level in Level if lane is None or lane_of(level) is lane],
        )
        if taken is None:
            self._record(connection, [command.entry(None)])
            return None
        batch = self._batch(connection, [taken])
        batch.change(taken, partial(human.claimed, by=command.person, now=now))
        return self._stored(batch, command, [taken])[0]

    async def decide(
        self, incident_id: UUID, judgement: Judgement, *, reason: str, caller: Principal
    ) -> IncidentTriaged:
        """Decide with one's own claim; a lowering from P1 waits for another person's signature."""
        command = _Command("incident.decide", Permission.WORK_QUEUE, caller)
        change = partial(human.decided, judgement=judgement, by=command.person, pack=self._pack, now=self._clock.now())
        return await self._change_for_a_reason(command, incident_id, change, kind="decision", reason=reason)

    async def countersign(
        self, incident_id: UUID, *, approve: bool, expected_version: int, reason: str, caller: Principal
    ) -> IncidentTriaged:
        """Sign what another person proposed, or refuse it."""
        command = _Command("incident.countersign", Permission.SIGN, caller)
        change = partial(
            human.countersigned,
            approve=approve,
            known_version=expected_version,
            by=command.person,
            pack=self._pack,
            now=self._clock.now(),
        )
        kind = "countersignature" if approve else "countersignature refused"
        return await self._change_for_a_reason(command, incident_id, change, kind=kind, reason=reason)

    async def close(
        self, incident_id: UUID, *, expected_version: int, reason: str, caller: Principal
    ) -> IncidentTriaged:
        """Close with one's own claim."""
        command = _Command("incident.close", Permission.WORK_QUEUE, caller)
        change = partial(human.closed, known_version=expected_version, by=command.person, now=self._clock.now())
        return await self._change_for_a_reason(command, incident_id, change, kind="closing", reason=reason)

    async def reopen(self, incident_id: UUID, *, reason: str, caller: Principal) -> IncidentTriaged:
        """Put a closed incident back into the queue."""
        command = _Command("incident.reopen", Permission.WORK_QUEUE, caller)
        change = partial(human.reopened, by=command.person, pack=self._pack, now=self._clock.now())
        return await self._change_for_a_reason(command, incident_id, change, kind="re-opening", reason=reason)

    async def link(
        self, incident_id: UUID, other_id: UUID, *, kind: LinkKind, reason: str, caller: Principal
    ) -> tuple[IncidentTriaged, IncidentTriaged]:
        """Link two incidents that the caller sees; both change. The reason stands with each, under its own key."""
        command = _Command("incident.link", Permission.WORK_QUEUE, caller)
        tie = partial(human.linked, kind=kind, by=command.person, now=self._clock.now())
        return await self._change_both(command, incident_id, other_id, tie, kind="link", reason=reason)

    async def unlink(
        self, incident_id: UUID, other_id: UUID, *, reason: str, caller: Principal
    ) -> tuple[IncidentTriaged, IncidentTriaged]:
        """Undo a link; both incidents change."""
        command = _Command("incident.unlink", Permission.WORK_QUEUE, caller)
        untie = partial(human.unlinked, by=command.person, now=self._clock.now())
        return await self._change_both(command, incident_id, other_id, untie, kind="unlink", reason=reason)

    async def claimed_by(self, incident_id: UUID, *, caller: Principal) -> str | None:
        """Return the login name of who holds the claim now."""
        command = _Command("incident.claimant", Permission.WORK_QUEUE, caller)
        seen = await self._seen(command, [incident_id])
        return human.claimant(seen[incident_id], now=self._clock.now())

    async def deny(self, action: str, incident_id: UUID | None, *, caller: Principal) -> None:
        """Put on record that `caller` lacks the permission for `action`."""
        command = _Command(action, Permission.WORK_QUEUE, caller)
        await self._on_record(command.entry(incident_id, allowed=False))

    # ------------------------------------------------------------ how a command runs

    async def _change(
        self, command: _Command, incident_id: UUID, change: Change, *, notes: Sequence[SealedNote] = ()
    ) -> IncidentTriaged:
        unit = partial(
            self._apply, command=command, ids=[incident_id], changes=lambda _: {incident_id: change}, notes=notes
        )
        return (await self._answered(command, unit))[0]

    async def _change_for_a_reason(
        self, command: _Command, incident_id: UUID, change: Change, *, kind: str, reason: str
    ) -> IncidentTriaged:
        notes = await self._sealed(command, [(incident_id, None)], kind=kind, reason=reason)
        return await self._change(command, incident_id, change, notes=notes)

    async def _change_both(
        self,
        command: _Command,
        incident_id: UUID,
        other_id: UUID,
        tie: Callable[..., Incident],
        *,
        kind: str,
        reason: str,
    ) -> tuple[IncidentTriaged, IncidentTriaged]:
        pairs = [(incident_id, other_id), (other_id, incident_id)]
        notes = await self._sealed(command, pairs, kind=kind, reason=reason)
        unit = partial(
            self._apply,
            command=command,
            ids=list(dict(pairs)),
            changes=lambda loaded: {one: partial(tie, other=loaded[other]) for one, other in pairs},
            notes=notes,
        )
        states = await self._answered(command, unit)
        return states[0], states[-1]

    def _apply(
        self,
        connection: Connection,
        *,
        command: _Command,
        ids: Sequence[UUID],
        changes: Callable[[Mapping[UUID, Incident]], Mapping[UUID, Change]],
        notes: Sequence[SealedNote],
    ) -> list[IncidentTriaged]:
        batch = self._batch(connection, ids)
        loaded = {one: incident for one in ids if (incident := batch.get(one)) is not None}
        for incident_id in ids:
            command.require_seen(loaded, incident_id)
        if notes and repository.noted_erased(connection, [note.incident_id for note in notes]):
            raise _unsealable()
        for incident_id, change in changes(loaded).items():
            batch.change(incident_id, change)
        if notes:
            repository.store_notes(connection, notes)
        return self._stored(batch, command, ids)

    def _batch(self, connection: Connection, ids: Collection[UUID]) -> Batch:
        batch = Batch(connection, pack=self._pack, now=self._clock.now())
        batch.load(ids)
        return batch

    def _stored(self, batch: Batch, command: _Command, ids: Sequence[UUID]) -> list[IncidentTriaged]:
        batch.store()
        self._record(batch.connection, [command.entry(incident_id) for incident_id in ids])
        return [event_of(incident) for one in ids if (incident := batch.get(one)) is not None]

    async def _answered(self, command: _Command, unit: Callable[[Connection], Answer]) -> Answer:
        try:
            return await self._database.write(unit)
        except _UnseenError as error:
            raise await self._unseen(command, error) from None
        except NotAllowedError as error:
            raise refused(error) from error

    # ------------------------------------------------------------ what people wrote

    async def _sealed(
        self, command: _Command, pairs: Sequence[tuple[UUID, UUID | None]], *, kind: str, reason: str
    ) -> list[SealedNote]:
        """Seal a reason for each incident of `pairs` (incident, other); keys are asked for what the caller sees."""
        ids = [incident_id for incident_id, _ in pairs]
        await self._seen(command, ids)
        try:
            words = human.checked_words(reason)
            keys = await self._keys_of(ids)
        except NotAllowedError as error:
            raise refused(error) from error
        return [self._note(command, one, keys[one], other_id=other, kind=kind, words=words) for one, other in pairs]

    async def _keys_of(self, ids: Sequence[UUID]) -> dict[UUID, DataKey]:
        answers = await self._keys.of(list(dict.fromkeys(ids)), purpose=Purpose.TRIAGE)
        keys = {one: key for one in ids if isinstance(key := answers.get(one), DataKey)}
        if len(keys) < len(set(ids)):
            raise _unsealable()
        return keys

    def _note(
        self, command: _Command, incident_id: UUID, key: DataKey, *, other_id: UUID | None, kind: str, words: str
    ) -> SealedNote:
        note_id = uuid7()
        return SealedNote(
            id=note_id,
            incident_id=incident_id,
            kind=kind,
            at=self._clock.now(),
            by=command.caller.name,
            other_id=other_id,
            sealed=seal_text(key, words, name=f"reason:{note_id}", report_id=incident_id),
        )

    # ------------------------------------------------------------ sight and record

    async def _seen(self, command: _Command, ids: Sequence[UUID]) -> dict[UUID, Incident]:
        found = await self._database.read(partial(_find, ids=ids))
        try:
            return {one: command.require_seen(found, one) for one in ids}
        except _UnseenError as error:
            raise await self._unseen(command, error) from None

    async def _unseen(self, command: _Command, error: _UnseenError) -> Problem:
        await self._on_record(command.entry(error.incident_id, allowed=False))
        return incident_unknown()

    async def _on_record(self, entry: AuditEntry) -> None:
        await self._database.write(partial(self._record, entries=[entry]))

    def _record(self, connection: Connection, entries: Sequence[AuditEntry]) -> None:
        audit.record(connection, entries, service=SERVICE, now=self._clock.now())


def incident_unknown() -> Problem:
    """Make the 404 for an incident that is not there, or not for this caller to know of."""
    return Problem(404, "incident-unknown", "There is no such incident here.")


def refused(error: NotAllowedError) -> Refused:
    """Turn what a rule said into what the caller is told."""
    return Refused(Refusal(error.code, error.message, error.field))


def _unsealable() -> NotAllowedError:
    message = "The incident was erased, so nothing written on it can be kept sealed."
    return NotAllowedError("INVALID", message, "incidentId")


def _find(session: Session, *, ids: Sequence[UUID]) -> dict[UUID, Incident]:
    found = {one: repository.find_incident(session, one) for one in ids}
    return {one: incident for one, incident in found.items() if incident is not None}
