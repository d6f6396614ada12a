"""Reading what people wrote on an incident, and where proposals rest in its reports: opened once that is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from amparo_common import audit
from amparo_common.audit import AuditEntry
from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.clock import Clock
from amparo_common.crypto.data_keys import DataKeys
from amparo_common.crypto.parts import open_text
from amparo_common.crypto.sealing import DataKey, SealBrokenError
from amparo_common.db.port import Database
from amparo_common.ids import reference
from amparo_common.vocabulary.codes import Purpose
from amparo_triage import repository
from amparo_triage.batch import REFERENCE_PREFIX, SERVICE
from amparo_triage.casework import incident_unknown, visible
from amparo_triage.domain.state import Incident
from amparo_triage.repository import Evidence, SealedNote

_log = structlog.get_logger()


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wrote, in clear. An empty text is one that does not open."""

    at: datetime
    by: str
    kind: str
    text: str

    def __repr__(self) -> str:
        return "Note(hidden)"


class LinkReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a link stands."""

    incident_id: UUID
    reason: str

    def __repr__(self) -> str:
        return "LinkReason(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a colleague reads of an incident at triage; after an erasure nothing that a person wrote."""

    notes: Sequence[Note]
    links: Sequence[LinkReason]
    evidence: Sequence[Evidence]


@dataclass(frozen=True, slots=True)
class _Loaded:
    incident: Incident
    notes: Sequence[SealedNote]
    evidence: Sequence[Evidence]


class Notes:
    """Opens notes for who may read sensitive text. Each reading, denied too, is one row of the audit trail."""

    def __init__(self, *, database: Database, keys: DataKeys, clock: Clock) -> None:
        self._database, self._keys, self._clock = database, keys, clock

    async def read(self, incident_id: UUID, *, purpose: Purpose, caller: Principal) -> Opened:
        """Open what stands on an incident, once the audit row of that is durable.

        Raises Problem 404 when the caller may see none of it, TransientError when intake gives no key now.
        """
        loaded = await self._database.read(partial(_load, incident_id=incident_id))
        seen = loaded is not None and visible(loaded.incident, caller=caller, permission=Permission.READ_SENSITIVE)
        await self.on_record(incident_id, purpose=purpose, caller=caller, allowed=seen)
        if loaded is None or not seen:
            raise incident_unknown()
        answers = await self._keys.of([incident_id], purpose=Purpose.TRIAGE) if loaded.notes else {}
        return _opened(loaded, key=answers.get(incident_id))

    async def on_record(self, incident_id: UUID, *, purpose: Purpose | None, caller: Principal, allowed: bool) -> None:
        """Write the audit row of a reading."""
        entry = AuditEntry(
            actor=caller.name,
            role=caller.role.lower(),
            action="incident.notes",
            subject=reference(REFERENCE_PREFIX, of=incident_id),
            purpose=purpose,
            allowed=allowed,
        )

        def unit(connection: Connection) -> None:
            audit.record(connection, [entry], service=SERVICE, now=self._clock.now())

        await self._database.write(unit)


def _load(session: Session, *, incident_id: UUID) -> _Loaded | None:
    incident = repository.find_incident(session, incident_id)
    if incident is None:
        return None
    return _Loaded(
        incident=incident,
        notes=repository.notes_of(session, incident_id),
        evidence=repository.evidence_of(session, incident_id),
    )


def _opened(loaded: _Loaded, *, key: object) -> Opened:
    sealed = loaded.notes if isinstance(key, DataKey) else ()
    texts = {note.id: _text(note, key) for note in sealed if isinstance(key, DataKey)}
    # In the order of writing, so the last reason of a link wins.
    reasons = {note.other_id: texts[note.id] for note in sealed if note.kind == "link"}
    return Opened(
        notes=[Note(at=note.at, by=note.by, kind=note.kind, text=texts[note.id]) for note in sealed],
        links=[
            LinkReason(incident_id=tie.incident_id, reason=reasons.get(tie.incident_id, ""))
            for tie in loaded.incident.links
        ],
        evidence=loaded.evidence,
    )


def _text(note: SealedNote, key: DataKey) -> str:
    try:
        return open_text(key, note.sealed, name=f"reason:{note.id}", report_id=note.incident_id)
    except SealBrokenError as error:
        # A damaged note must not hide the others.
        _log.error("a sealed note does not open", reason=error.reason, incident_id=str(note.incident_id))
        return ""
