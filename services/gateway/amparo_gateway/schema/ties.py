"""What stands beside an incident: links to others, holds on its records."""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import UUID

import strawberry

from amparo_common.events.types import IncidentTriaged
from amparo_common.vocabulary.codes import LinkKind, Purpose, RecordClass
from amparo_gateway.domain import Kind, global_id
from amparo_gateway.schema.asked import StandingHold
from amparo_gateway.schema.context import Info
from amparo_gateway.schema.fields import described
from amparo_gateway.schema.loaders import One


@strawberry.type(description="A link to another incident that the caller may see.")
class IncidentLink:
    of_id: strawberry.Private[UUID]
    of_reference: strawberry.Private[str]
    other_id: strawberry.Private[UUID]
    incident_id: strawberry.ID
    kind: LinkKind
    reference: str

    @described("Why it was made, in the words of who made it; reading it goes on record.")
    async def reason(self, info: Info) -> str:
        info.context.scope("IncidentLink.reason", of=self.of_reference)
        found = await info.context.asked.notes(self.of_id, purpose=Purpose.TRIAGE)
        return next((link.reason for link in found.links if link.incident_id == self.other_id), "")


async def links_of(info: Info, incident: IncidentTriaged) -> list[IncidentLink]:
    """Return the links of an incident to those incidents that the caller may see."""
    scope = info.context.scope("Incident.links", of=incident.reference)
    load = info.context.loaders.incident.load
    seen = await asyncio.gather(*(load(One(scope, tie.incident_id)) for tie in incident.links))
    return [
        IncidentLink(
            of_id=incident.incident_id,
            of_reference=incident.reference,
            other_id=tie.incident_id,
            incident_id=strawberry.ID(global_id(Kind.INCIDENT, tie.incident_id)),
            kind=tie.kind,
            reference=tie.reference,
        )
        for tie, other in zip(incident.links, seen, strict=True)
        if other is not None
    ]


@strawberry.type(description="Records that somebody outside Amparo is asked to keep.")
class Hold:
    id: strawberry.ID
    record_classes: list[RecordClass]
    requested_by: str = strawberry.field(description="Empty once the incident was erased.")
    placed_at: datetime
    until: datetime
    released_at: datetime | None

    @classmethod
    def of(cls, hold: StandingHold) -> Hold:
        return cls(
            id=strawberry.ID(global_id(Kind.HOLD, hold.hold_id)),
            record_classes=list(hold.record_classes),
            requested_by=hold.requested_by or "",
            placed_at=hold.placed_at,
            until=hold.until,
            released_at=hold.released_at,
        )


async def holds_of(info: Info, incident: IncidentTriaged) -> list[Hold]:
    """Return the holds of an incident, the oldest first."""
    info.context.scope("Incident.holds", of=incident.reference)
    found = await info.context.asked.holds(incident.incident_id)
    return [Hold.of(one) for one in found.holds]
