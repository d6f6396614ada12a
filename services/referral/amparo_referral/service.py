"""The use cases of referral: take what triage says, package what is wanted, place what nobody took."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amparo_common import inbox
from amparo_common.clock import Clock
from amparo_common.consumer import of_type
from amparo_common.crypto.data_keys import DataKeys, KeyAnswer
from amparo_common.crypto.provider import KeyProvider
from amparo_common.db.port import Database
from amparo_common.errors import TransientError
from amparo_common.events.codec import Received
from amparo_common.events.types import IncidentTriaged, ReportJoined, ReportsErased
from amparo_common.vocabulary.codes import Purpose
from amparo_referral import erasure
from amparo_referral.changes import SERVICE, Changes
from amparo_referral.domain.incidents import Basis, Reaction, fallback, first_destination, react
from amparo_referral.domain.referrals import Referral
from amparo_referral.packaging import Workbench, build, shown
from amparo_referral.repository import directory as entries, incidents, referrals
from amparo_referral.repository.incidents import KnownIncident, KnownReport

#: Keys for packages are asked for on the way of an event only if they come at once; the builder has more patience.
_KEYS_AT_ONCE_S: Final = 0.25
_BUILT_AT_ONCE: Final = 100


@dataclass(slots=True, kw_only=True)
class Desk:
    """What the use cases share. `ring_builder` and `ring_sender` wake the loops after a commit left work for them."""

    database: Database
    keys: DataKeys
    provider: KeyProvider
    clock: Clock
    acknowledge_url: str
    #: A demo lets people refer to partners that nobody verified yet.
    demo: bool = False
    ring_builder: Callable[[], None] = field(default=lambda: None)
    ring_sender: Callable[[], None] = field(default=lambda: None)
    #: Publishes what waits in the outbox; awaited where the caller looks for what it did at once.
    publish: Callable[[], Awaitable[None]] | None = None
    #: Told of each referral opened: the incident's receipt and lane, for the latency metric.
    opened: Callable[[Sequence[IncidentTriaged]], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class _News:
    """What is new in a batch, sorted out: the newest state of each incident."""

    states: Mapping[UUID, IncidentTriaged]
    joined: Sequence[ReportJoined]
    erased: Sequence[ReportsErased]

    @property
    def incident_ids(self) -> list[UUID]:
        return list({*self.states, *(e.incident_id for e in self.joined), *(e.incident_id for e in self.erased)})

    @classmethod
    def of(cls, deliveries: Sequence[Received]) -> _News:
        states: dict[UUID, IncidentTriaged] = {}
        for event in of_type(deliveries, IncidentTriaged):
            known = states.get(event.incident_id)
            if known is None or known.version < event.version:
                states[event.incident_id] = event
        return cls(states, of_type(deliveries, ReportJoined), of_type(deliveries, ReportsErased))


async def take(desk: Desk, deliveries: Sequence[Received]) -> None:
    """Apply a batch of events: store what they tell, refer what is to be referred, package what the keys allow."""
    news = _News.of(deliveries)
    if not news.incident_ids:
        return
    for event in news.erased:
        desk.keys.forget(event.report_ids)
    keys = await _keys_at_once(desk, news)
    opened = await desk.database.write(lambda connection: _take(connection, deliveries, desk=desk, keys=keys))
    desk.ring_sender()
    desk.ring_builder()
    desk.opened(opened)


def _take(
    connection: Connection, deliveries: Sequence[Received], *, desk: Desk, keys: Mapping[UUID, KeyAnswer]
) -> list[IncidentTriaged]:
    news = _News.of(inbox.fresh(connection, consumer=SERVICE, deliveries=deliveries))
    ids = news.incident_ids
    if not ids:
        return []
    changes = Changes(now=desk.clock.now(), directory=entries.directory(connection))
    known = incidents.locked(connection, ids)
    incidents.add_reports(connection, news.joined, erased={one.id for one in known.values() if one.erased})
    standing = _by_incident(referrals.of_incidents(connection, ids), ids)
    known |= erasure.apply(connection, changes, news.erased, known=known, referrals=standing)
    opened = []
    for incident_id, state in news.states.items():
        if known[incident_id].version < state.version:
            before = len(standing[incident_id])
            known[incident_id] = _advance(connection, changes, known[incident_id], state, standing[incident_id])
            opened += [state] if len(standing[incident_id]) > before else []
    _want_again(connection, changes, news.joined, standing)
    incidents.put(connection, list(known.values()))
    _build(connection, changes, known=known, standing=standing, desk=desk, keys=keys)
    changes.write(connection)
    return opened


def _advance(
    connection: Connection, changes: Changes, known: KnownIncident, state: IncidentTriaged, standing: list[Referral]
) -> KnownIncident:
    """Carry a newer state into the referrals, and return the incident as it is known now."""
    if known.erased:
        state = msgspec.structs.replace(state, erased=True)
    reaction = react(state, seen=known.basis, referrals=standing, directory=changes.directory, now=changes.now)
    _apply(connection, changes, state, reaction, standing)
    return msgspec.structs.replace(known, version=state.version, state=state, basis=Basis.of(state))


def _apply(
    connection: Connection, changes: Changes, state: IncidentTriaged, reaction: Reaction, standing: list[Referral]
) -> None:
    changes.note_all(reaction.changed)
    by_id = {referral.id: referral for referral in standing} | {one.id: one for one in reaction.changed}
    standing[:] = by_id.values()
    # New rows stand before packages and deliveries refer to them.
    referrals.put(connection, [one for one in reaction.changed if one.version == 1])
    if reaction.no_route is not None:
        new = incidents.note_no_route(connection, state, destination=reaction.no_route, now=changes.now)
        if new:
            changes.audit("referral.no_route", subject=state.reference)
    elif any(one.version == 1 for one in reaction.changed):
        incidents.forget_no_route(connection, [state.incident_id])


def _want_again(
    connection: Connection, changes: Changes, joined: Sequence[ReportJoined], standing: Mapping[UUID, list[Referral]]
) -> None:
    """Want packages at once that were made, or are waited with, for want of the incident's first report."""
    ids = [event.incident_id for event in joined if event.report_id == event.incident_id]
    if not ids:
        return
    wanted = set(referrals.want_complete(connection, ids, now=changes.now))
    for held in standing.values():
        held[:] = [
            msgspec.structs.replace(one, build_at=changes.now, wanted_at=one.wanted_at or changes.now)
            if one.id in wanted
            else one
            for one in held
        ]


def _build(
    connection: Connection,
    changes: Changes,
    *,
    known: Mapping[UUID, KnownIncident],
    standing: Mapping[UUID, list[Referral]],
    desk: Desk,
    keys: Mapping[UUID, KeyAnswer],
) -> None:
    # Without any key there is nothing to make now; the builder, which asks for them, finds the referrals by `build_at`.
    wanted = [
        incident_id
        for incident_id, held in standing.items()
        if incident_id in keys and any(one.build_at is not None for one in held)
    ]
    reports = incidents.reports_of(connection, wanted)
    workbench = Workbench(keys=keys, acknowledge_url=desk.acknowledge_url)
    for incident_id in wanted:
        build(
            connection,
            changes,
            incident=known[incident_id],
            reports=reports[incident_id],
            referrals=standing[incident_id],
            workbench=workbench,
        )


async def build_due(desk: Desk) -> bool:
    """Make the packages that are wanted by now; return False when none were. Raises TransientError without keys."""
    now = desk.clock.now()
    ids = await desk.database.read(lambda session: referrals.to_build(session, now=now, limit=_BUILT_AT_ONCE))
    if not ids:
        return False
    reports = await desk.database.read(lambda session: incidents.reports_of(session, ids))
    keys = await desk.keys.of(_key_ids(ids, reports), purpose=Purpose.REFERRAL)
    await desk.database.write(lambda connection: _build_due(connection, ids, desk=desk, keys=keys))
    desk.ring_sender()
    return True


def _build_due(connection: Connection, ids: Sequence[UUID], *, desk: Desk, keys: Mapping[UUID, KeyAnswer]) -> None:
    changes = Changes(now=desk.clock.now(), directory=entries.directory(connection))
    known = incidents.locked(connection, ids)
    standing = _by_incident(referrals.of_incidents(connection, ids), ids)
    _build(connection, changes, known=known, standing=standing, desk=desk, keys=keys)
    changes.write(connection)


async def place_unrouted(desk: Desk) -> int:
    """Open referrals for incidents that nobody took before; return for how many. Called when the directory changed."""
    ids = await desk.database.read(incidents.without_route)
    if not ids:
        return 0
    placed = await desk.database.write(lambda connection: _place(connection, ids, now=desk.clock.now()))
    desk.ring_builder()
    return placed


def _place(connection: Connection, ids: Sequence[UUID], *, now: datetime) -> int:
    changes = Changes(now=now, directory=entries.directory(connection))
    known = incidents.locked(connection, ids)
    standing = _by_incident(referrals.of_incidents(connection, ids), ids)
    placed = 0
    for incident_id, incident in known.items():
        state = incident.state
        destination = first_destination(state) if state else None
        if state is None or destination is None or Basis.of(state).closed or incident.erased:
            incidents.forget_no_route(connection, [incident_id])
            continue
        held = standing[incident_id]
        fresh = fallback(state, destination=destination, referrals=held, directory=changes.directory, now=now)
        if fresh is not None:
            _apply(connection, changes, state, Reaction(changed=(fresh,)), held)
            placed += 1
    changes.write(connection)
    return placed


async def _keys_at_once(desk: Desk, news: _News) -> Mapping[UUID, KeyAnswer]:
    """Return the keys that packages of this batch need, if intake gives them at once; nothing otherwise."""
    ids = await _changed(desk, news)
    if not ids:
        return {}
    return await package_keys(desk, ids, joined=[e.report_id for e in news.joined if e.incident_id in set(ids)])


async def package_keys(desk: Desk, ids: Sequence[UUID], *, joined: Sequence[UUID] = ()) -> Mapping[UUID, KeyAnswer]:
    """Return the keys that packages of incidents need, `joined` reports too, if intake gives them at once."""
    reports = await desk.database.read(lambda session: incidents.reports_of(session, ids))
    try:
        async with asyncio.timeout(_KEYS_AT_ONCE_S):
            return await desk.keys.of([*_key_ids(ids, reports), *joined], purpose=Purpose.REFERRAL)
    except (TransientError, TimeoutError):
        return {}


async def _changed(desk: Desk, news: _News) -> list[UUID]:
    """Return the incidents of a batch that may need a package: those with another basis, or a first report, now."""
    first = [event.incident_id for event in news.joined if event.report_id == event.incident_id]
    if not news.states:
        return first
    bases = await desk.database.read(lambda session: incidents.bases_of(session, list(news.states)))
    changed = [incident_id for incident_id, state in news.states.items() if bases.get(incident_id) != Basis.of(state)]
    return list(dict.fromkeys([*changed, *first]))


def _key_ids(ids: Sequence[UUID], reports: Mapping[UUID, list[KnownReport]]) -> list[UUID]:
    return [*ids, *(one.joined.report_id for held in reports.values() for one in shown(held) if one.narrative)]


def _by_incident(found: Sequence[Referral], ids: Sequence[UUID]) -> dict[UUID, list[Referral]]:
    held: dict[UUID, list[Referral]] = {incident_id: [] for incident_id in ids}
    for referral in found:
        held[referral.incident_id].append(referral)
    return held
