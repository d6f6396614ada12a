"""What happened to an incident, version by version."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self
from uuid import UUID

import msgspec
import strawberry

from amparo_common.events.types import IncidentTriaged
from amparo_gateway.domain_history import change
from amparo_gateway.repository import Version
from amparo_gateway.schema.context import Info
from amparo_gateway.schema.loaders import PageOf
from amparo_gateway.schema.paging import Page, PageInfo

_decode = msgspec.json.Decoder(IncidentTriaged).decode


@strawberry.type(description="A change of an incident, in codes and fixed words.")
class HistoryEntry:
    at: datetime
    kind: str
    actor_role: str = strawberry.field(description="HUMAN or SYSTEM.")
    summary: str
    version: int

    @classmethod
    def of(cls, before: IncidentTriaged | None, after: IncidentTriaged) -> Self:
        kind, actor, words = change(before, after)
        return cls(at=after.changed_at, kind=kind, actor_role=actor, summary=words, version=after.version)


@strawberry.type
class HistoryEdge:
    cursor: str
    node: HistoryEntry


@strawberry.type
class HistoryConnection:
    page_info: PageInfo
    edges: list[HistoryEdge]


async def history_of(info: Info, *, incident_id: UUID, first: int, after: str | None) -> HistoryConnection:
    """Return a page of what happened to an incident, oldest first."""
    context = info.context
    scope = context.scope("Incident.history")
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
