"""One write unit of triage: the incidents it touches, and what it will store and tell at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from amparo_common import outbox
from amparo_common.events.types import ReportJoined, ReportReceived
from amparo_common.ids import reference
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.sets import lane_of
from amparo_triage import repository
from amparo_triage.domain import incident as incidents
from amparo_triage.domain.facts import Passage, Reading, ReportFacts
from amparo_triage.domain.joining import Candidate, Claim, Placement, place
from amparo_triage.domain.policy import RulePack
from amparo_triage.domain.state import Incident, event_of

SERVICE: Final = "triage"
REFERENCE_PREFIX: Final = "AM"


class Batch:
    """Collects changes over one connection; `store` writes each kind with one statement.

    An incident is told of once, as it stands at the end, and only when it changed.
    """

    def __init__(self, connection: Connection, *, pack: RulePack, now: datetime) -> None:
        self.connection, self.pack, self.now = connection, pack, now
        self._incidents: dict[UUID, Incident] = {}
        self._changed: dict[UUID, None] = {}
        self._joined: list[ReportJoined] = []
        self._evidence: list[tuple[UUID, str, Sequence[Passage]]] = []

    def load(self, ids: Iterable[UUID]) -> None:
        """Read incidents that the unit will change, locked in id order."""
        missing = set(ids) - self._incidents.keys()
        if missing:
            self._incidents |= repository.load_incidents(self.connection, missing)

    def place(self, candidates: Sequence[Candidate]) -> Mapping[UUID, Placement]:
        """Claim the facts of reports and find the incident of each."""
        owners = repository.claim(self.connection, candidates)
        own = {claim for candidate in candidates for claim in candidate.claims}
        local: dict[Claim, UUID] = {claim: owner for claim, owner in owners.items() if claim in own}
        self.load(local.values())
        closed = {owner for owner in local.values() if not self._takes_reports(owner)}
        placements = place(candidates, owners=owners, closed=closed)
        repository.settle_claims(self.connection, placements)
        return {placed.report_id: placed for placed in placements}

    def _takes_reports(self, incident_id: UUID) -> bool:
        incident = self._incidents.get(incident_id)
        return incident is not None and incident.takes_reports

    def add(self, report: ReportReceived, facts: ReportFacts, *, reading: Reading | None, placed: Placement) -> None:
        """Open the report's incident, or join the report to the one it was placed in."""
        incident = self._incidents.get(placed.incident_id)
        if incident is None:
            incident = incidents.opened(
                facts,
                reference=reference(REFERENCE_PREFIX, of=facts.report_id),
                reading=reading,
                recurrence=placed.recurrence,
                pack=self.pack,
                now=self.now,
            )
        else:
            incident = incidents.joined(
                incident, facts, reading=reading, recurrence=placed.recurrence, pack=self.pack, now=self.now
            )
        self._put(incident)
        self._joined.append(_joined_event(report, incident=incident, now=self.now))
        if reading is not None:
            self.evidence(facts.report_id, "narrative", reading.passages)

    def get(self, incident_id: UUID) -> Incident | None:
        """Return a loaded incident as it stands in this unit; None for one that is not stored."""
        return self._incidents.get(incident_id)

    def change(self, incident_id: UUID, change: Callable[[Incident], Incident]) -> None:
        """Apply `change` to a loaded incident; one that is not stored is left alone."""
        before = self._incidents.get(incident_id)
        if before is None:
            return
        after = change(before)
        if after is not before:
            self._put(after)

    def evidence(self, report_id: UUID, part: str, passages: Sequence[Passage]) -> None:
        """Keep where proposals rest in a text."""
        self._evidence.append((report_id, part, passages))

    def store(self) -> None:
        """Write incidents and evidence, and put what is to be told into the outbox."""
        changed = [self._incidents[incident_id] for incident_id in self._changed]
        repository.store_incidents(self.connection, changed)
        repository.store_evidence(self.connection, self._evidence)
        told = [Outgoing(event=event_of(one), key=one.id, lane=lane_of(one.level)) for one in changed]
        lanes = {one.id: lane_of(one.level) for one in changed}
        told += [Outgoing(event=one, key=one.incident_id, lane=lanes[one.incident_id]) for one in self._joined]
        outbox.put(self.connection, told, service=SERVICE, now=self.now)

    def _put(self, incident: Incident) -> None:
        self._incidents[incident.id] = incident
        self._changed[incident.id] = None


def _joined_event(report: ReportReceived, *, incident: Incident, now: datetime) -> ReportJoined:
    return ReportJoined(
        incident_id=incident.id,
        incident_version=incident.version,
        report_id=report.report_id,
        lane=report.lane,
        at=now,
        received_at=report.received_at,
        channel=report.channel,
        language=report.language,
        country=report.country,
        victim_age=report.victim_age,
        victim_count=report.victim_count,
        imminent_danger=report.imminent_danger,
        reporter_type=report.reporter_type,
        safe_contact=report.safe_contact,
        owner=report.owner,
        narrative=report.narrative,
    )
