"""What happened to an incident, version by version."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Self

import msgspec
import strawberry

from amparo_common.events.types import IncidentTriaged
from amparo_gateway.domain_history import summary
from amparo_gateway.repository import Version
from amparo_gateway.schema.context import Info
from amparo_gateway.schema.loaders import PageOf
from amparo_gateway.schema.paging import Page, PageInfo

_SYSTEM: Final = "SYSTEM"
_decode = msgspec.json.Decoder(IncidentTriaged).decode


@strawberry.type(description="A change of an incident, in codes and fixed words.")
class HistoryEntry:
    at: datetime
    kind: str = strawberry.field(description="What brought the version about, such as `triaged` or `claimed`.")
    actor_role: str = strawberry.field(description="The role of who did it; SYSTEM when nobody did.")
    summary: str
    version: int

    @classmethod
    def of(cls, before: IncidentTriaged | None, after: IncidentTriaged) -> Self:
        return cls(
            at=after.changed_at,
            kind=after.change,
            actor_role=after.actor_role or _SYSTEM,
            summary=summary(before, after),
            version=after.version,
        )


@strawberry.type
class HistoryEdge:
    cursor: str
    node: HistoryEntry


@strawberry.type
class HistoryConnection:
    page_info: PageInfo
    edges: list[HistoryEdge]


async def history_of(info: Info, incident: IncidentTriaged, *, first: int, after: str | None) -> HistoryConnection:
    """Return a page of what happened to an incident, oldest first."""
    context = info.context
    incident_id = incident.incident_id
    scope = context.scope("Incident.history", of=incident.reference)
    page = Page(context, name=f"history|{incident_id}", first=first, after=after)
    start = int.from_bytes(page.after) if page.after is not None else None
    # What changed shows against the version before, so the one that the cursor names is read once more.
    limit = page.limit if start is None else page.limit + 1
    versions = await context.loaders.history.load(PageOf(scope, incident_id, start, limit))
    entries = _entries(versions)[0 if start is None else 1 :]
    shown = page.cut(entries)
    edges = [HistoryEdge(cursor=page.cursor(entry.version.to_bytes(8)), node=entry) for entry in shown]
    return HistoryConnection(page_info=page.info([edge.cursor for edge in edges], found=len(entries)), edges=edges)


def _entries(versions: Sequence[Version]) -> list[HistoryEntry]:
    states = [_decode(version.state) for version in versions]
    return [HistoryEntry.of(before, after) for before, after in zip([None, *states], states, strict=False)]
