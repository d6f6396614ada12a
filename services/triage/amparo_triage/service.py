"""The use cases of triage: take a batch of the log, read what was pending, notice missed clocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from amparo_common import inbox
from amparo_common.clock import Clock
from amparo_common.consumer import of_type
from amparo_common.db.port import Database
from amparo_common.events.codec import Received
from amparo_common.events.types import ReferralChanged, ReporterMessageReceived, ReportReceived, ReportsErased
from amparo_common.telemetry import Telemetry
from amparo_triage import repository
from amparo_triage.batch import Batch
from amparo_triage.domain import human, incident as incidents
from amparo_triage.domain.facts import NOTHING_READ, Recurrence, ReportFacts
from amparo_triage.domain.joining import Candidate, Claim, Placement, recurrence_of
from amparo_triage.domain.policy import RulePack
from amparo_triage.opening import GONE, NOT_YET, Opened, Opener, Sealed
from amparo_triage.repository import PendingText

#: The consumer group, and the consumer's name in the inbox.
GROUP: Final = "triage"
#: How many rows a background pass takes.
_PASS: Final = 200
_FIRST_RETRY: Final = timedelta(seconds=2)
_LAST_RETRY: Final = timedelta(seconds=60)
_DOUBLINGS: Final = 5


class Triage:
    """Triage's use cases. Each stores state, inbox and outbox in one write unit; texts are opened before it."""

    def __init__(
        self, *, database: Database, opener: Opener, pack: RulePack, clock: Clock, telemetry: Telemetry | None = None
    ) -> None:
        self._database, self._opener, self._pack, self._clock = database, opener, pack, clock
        self._to_triage = telemetry.histogram("amparo.report.to_triage") if telemetry else None

    async def handle(self, deliveries: Sequence[Received]) -> None:
        """Apply a batch of the log, whole. Raises UnknownKeyError for a record whose report intake never had."""
        erased = of_type(deliveries, ReportsErased)
        if erased:
            self._opener.forget([report_id for event in erased for report_id in event.report_ids])
        opened = await self._opener.open(_sealed_parts(deliveries))
        reports = await self._database.write(partial(self._apply, deliveries=deliveries, opened=opened))
        self._measure(reports)

    def _apply(
        self, connection: Connection, *, deliveries: Sequence[Received], opened: Mapping[UUID, Opened]
    ) -> list[ReportReceived]:
        fresh = inbox.fresh(connection, consumer=GROUP, deliveries=deliveries)
        batch = Batch(connection, pack=self._pack, now=self._clock.now())
        reports = _take_reports(batch, of_type(fresh, ReportReceived), opened=opened)
        _take_messages(batch, of_type(fresh, ReporterMessageReceived), opened=opened)
        _take_referrals(batch, of_type(fresh, ReferralChanged))
        for erasure in of_type(fresh, ReportsErased):
            _take_erasure(batch, erasure)
        batch.store()
        return reports

    def _measure(self, reports: Iterable[ReportReceived]) -> None:
        if self._to_triage is not None:
            now = self._clock.now()
            for report in reports:
                age = max(0.0, (now - report.received_at).total_seconds())
                self._to_triage.record(age, {"lane": report.lane.lower()})

    async def read_pending(self) -> int:
        """Try the texts that wait and whose time has come; return how many were settled."""
        now = self._clock.now()
        due = await self._database.read(partial(repository.pending_due, now=now, limit=_PASS))
        if not due:
            return 0
        opened = await self._opener.open_known([_sealed_again(text) for text in due])
        return await self._database.write(partial(self._settle, due=due, opened=opened))

    def _settle(self, connection: Connection, *, due: Sequence[PendingText], opened: Mapping[UUID, Opened]) -> int:
        batch = Batch(connection, pack=self._pack, now=self._clock.now())
        applied = _settle_texts(batch, due, opened=opened)
        batch.store()
        return applied

    async def notice_missed_clocks(self) -> int:
        """Mark clocks whose time has come, and decide anew; return how many incidents changed."""
        now = self._clock.now()
        if not await self._database.read(partial(repository.clocks_due, now=now, limit=1)):
            return 0
        return await self._database.write(self._miss)

    async def free_lapsed_claims(self) -> int:
        """Take away claims whose lease ran out, each told of once; return how many."""
        now = self._clock.now()
        if not await self._database.read(partial(repository.leases_over, now=now, limit=1)):
            return 0
        return await self._database.write(self._free)

    def _free(self, connection: Connection) -> int:
        batch = Batch(connection, pack=self._pack, now=self._clock.now())
        over = repository.leases_over(connection, now=batch.now, limit=_PASS)
        batch.load(over)
        for incident_id in over:
            batch.change(incident_id, partial(human.lapsed, now=batch.now))
        batch.store()
        return len(over)

    def _miss(self, connection: Connection) -> int:
        batch = Batch(connection, pack=self._pack, now=self._clock.now())
        due = repository.clocks_due(connection, now=batch.now, limit=_PASS)
        batch.load(due)
        for incident_id in due:
            batch.change(incident_id, partial(incidents.clocks_missed, pack=self._pack, now=batch.now))
        batch.store()
        return len(due)


def retry_after(attempts: int) -> timedelta:
    """Return how long a text waits after `attempts` failures before: doubling from 2 s to a minute."""
    factor: int = 2 ** min(attempts, _DOUBLINGS)
    return min(_LAST_RETRY, _FIRST_RETRY * factor)


# ---------------------------------------------------------------- reports


def _take_reports(
    batch: Batch, reports: Sequence[ReportReceived], *, opened: Mapping[UUID, Opened]
) -> list[ReportReceived]:
    known = repository.known_reports(batch.connection, [report.report_id for report in reports])
    first: dict[UUID, ReportReceived] = {}
    for report in reports:
        if report.report_id not in known:
            first.setdefault(report.report_id, report)
    new = list(first.values())
    if not new:
        return []
    erased = repository.noted_erased(batch.connection, first.keys())
    found = {report_id: GONE if report_id in erased else opened.get(report_id, NOT_YET) for report_id in first}
    candidates = [
        Candidate(report_id=report.report_id, country=report.country, facts=found[report.report_id].facts)
        for report in new
    ]
    placements = batch.place(candidates)
    homes = []
    for report in new:
        facts, placed = _facts(report), placements[report.report_id]
        batch.add(report, facts, reading=found[report.report_id].reading, placed=placed)
        homes.append((facts, placed.incident_id))
    repository.store_reports(batch.connection, homes, erased=erased)
    waiting = [report for report in new if found[report.report_id].reading is None]
    repository.store_pending(batch.connection, [_waiting_report(report, now=batch.now) for report in waiting])
    _catch_up(batch, [incident_id for _, incident_id in homes])
    for facts, incident_id in homes:
        if facts.report_id in erased:
            _erase(batch, incident_id, count=1, pending=0)
    return new


def _catch_up(batch: Batch, incident_ids: Iterable[UUID]) -> None:
    """Apply to new incidents what was told of them before they were (a replay, another lane)."""
    for incident_id, at in repository.noted_referred(batch.connection, set(incident_ids)).items():
        batch.change(incident_id, partial(incidents.referred, delivered_at=at, pack=batch.pack, now=batch.now))


def _facts(report: ReportReceived) -> ReportFacts:
    return ReportFacts(
        report_id=report.report_id,
        received_at=report.received_at,
        country=report.country,
        channel=report.channel,
        category=report.category,
        factors=report.factors,
        victim_age=report.victim_age,
        victim_count=report.victim_count,
        imminent_danger=report.imminent_danger,
        reporter_type=report.reporter_type,
        owner=report.owner,
        trusted_source=report.trusted_source,
        is_test=report.is_test,
    )


# ---------------------------------------------------------------- texts


def _sealed_parts(deliveries: Iterable[Received]) -> list[Sealed]:
    parts: dict[UUID, Sealed] = {}
    for delivery in deliveries:
        event = delivery.event
        if isinstance(event, ReportReceived):
            parts[event.report_id] = Sealed(
                id=event.report_id,
                report_id=event.report_id,
                country=event.country,
                sealed=event.narrative,
                trusted_source=event.trusted_source,
            )
        elif isinstance(event, ReporterMessageReceived):
            parts[event.message_id] = Sealed(
                id=event.message_id, report_id=event.report_id, country=None, sealed=event.message, is_message=True
            )
    return list(parts.values())


def _take_messages(batch: Batch, messages: Sequence[ReporterMessageReceived], *, opened: Mapping[UUID, Opened]) -> None:
    """Read a reporter's messages; one whose report is not here yet, or whose key is not, waits as a pending text."""
    homes = repository.known_reports(batch.connection, {message.report_id for message in messages})
    batch.load(homes.values())
    waiting = []
    for message in messages:
        found, home = opened.get(message.message_id, NOT_YET), homes.get(message.report_id)
        if found.reading is None or home is None:
            waiting.append(_waiting_message(message, now=batch.now))
            continue
        change = partial(
            incidents.read_later,
            report_id=message.report_id,
            reading=found.reading,
            recurrence=Recurrence(),
            settles=False,
            pack=batch.pack,
            now=batch.now,
        )
        batch.change(home, change)
        batch.evidence(message.report_id, str(message.message_id), found.reading.passages)
    repository.store_pending(batch.connection, waiting)


def _waiting_report(report: ReportReceived, *, now: datetime) -> PendingText:
    return PendingText(
        id=report.report_id,
        report_id=report.report_id,
        country=report.country,
        is_message=False,
        trusted_source=report.trusted_source,
        sealed=report.narrative,
        due_at=now + _FIRST_RETRY,
        attempts=0,
    )


def _waiting_message(message: ReporterMessageReceived, *, now: datetime) -> PendingText:
    return PendingText(
        id=message.message_id,
        report_id=message.report_id,
        country=None,
        is_message=True,
        trusted_source=False,
        sealed=message.message,
        due_at=now + _FIRST_RETRY,
        attempts=0,
    )


def _sealed_again(text: PendingText) -> Sealed:
    return Sealed(
        id=text.id,
        report_id=text.report_id,
        country=text.country,
        sealed=text.sealed,
        is_message=text.is_message,
        trusted_source=text.trusted_source,
    )


def _settle_texts(batch: Batch, due: Sequence[PendingText], *, opened: Mapping[UUID, Opened]) -> int:
    homes = repository.known_reports(batch.connection, {text.report_id for text in due})
    ready = [text for text in due if opened[text.id].reading is not None and text.report_id in homes]
    taken = repository.take_pending(batch.connection, [text.id for text in ready])
    applied = [text for text in ready if text.id in taken]
    recurrences = _late_claims(batch, applied, homes=homes, opened=opened)
    batch.load(homes[text.report_id] for text in applied)
    for text in applied:
        reading = opened[text.id].reading or NOTHING_READ
        change = partial(
            incidents.read_later,
            report_id=text.report_id,
            reading=reading,
            recurrence=recurrences.get(text.id, Recurrence()),
            settles=not text.is_message,
            pack=batch.pack,
            now=batch.now,
        )
        batch.change(homes[text.report_id], change)
        batch.evidence(text.report_id, str(text.id) if text.is_message else "narrative", reading.passages)
    ready_ids = {text.id for text in ready}
    later = {text.id: batch.now + retry_after(text.attempts) for text in due if text.id not in ready_ids}
    repository.postpone(batch.connection, later)
    return len(applied)


def _late_claims(
    batch: Batch, texts: Sequence[PendingText], *, homes: Mapping[UUID, UUID], opened: Mapping[UUID, Opened]
) -> dict[UUID, Recurrence]:
    """Claim the facts of reports that already have an incident: they move nowhere, but what recurs is known now."""
    candidates = [
        Candidate(report_id=text.report_id, country=text.country, facts=opened[text.id].facts)
        for text in texts
        if text.country is not None
    ]
    owners = repository.claim(batch.connection, candidates)
    named, gained = {claim.fact for claim in owners}, dict(owners)
    recurrences = {}
    for candidate in candidates:
        recurrences[candidate.report_id] = recurrence_of(candidate, named=named)
        home = homes[candidate.report_id]
        won = tuple(claim for claim in candidate.claims if claim not in gained)
        repository.settle_claims(batch.connection, [_at_home(candidate, home=home, claims=won)])
        gained |= dict.fromkeys(won, home)
        named.update(candidate.facts)
    return recurrences


def _at_home(candidate: Candidate, *, home: UUID, claims: tuple[Claim, ...]) -> Placement:
    return Placement(
        report_id=candidate.report_id, incident_id=home, opens=False, recurrence=Recurrence(), claims=claims
    )


# ---------------------------------------------------------------- referrals and erasures


def _take_referrals(batch: Batch, changes: Sequence[ReferralChanged]) -> None:
    """Complete the clock of the first referral when one reached a partner."""
    delivered: dict[UUID, datetime] = {}
    for change in changes:
        if change.delivered_at is not None:
            at = delivered.get(change.incident_id, change.delivered_at)
            delivered[change.incident_id] = min(at, change.delivered_at)
    news = repository.note_referred(batch.connection, delivered)
    batch.load(news)
    for incident_id, at in news.items():
        batch.change(incident_id, partial(incidents.referred, delivered_at=at, pack=batch.pack, now=batch.now))


def _take_erasure(batch: Batch, erasure: ReportsErased) -> None:
    """Forget the facts of erased reports and close their incident for joining."""
    repository.note_erased(batch.connection, erasure.report_ids, at=erasure.at)
    repository.drop_claims(batch.connection, erasure.report_ids)
    repository.drop_notes(batch.connection, erasure.report_ids)
    pending = repository.drop_texts(batch.connection, erasure.report_ids)
    counts = {erasure.incident_id: 0} | repository.mark_erased(batch.connection, erasure.report_ids)
    batch.load(counts)
    for incident_id, count in sorted(counts.items()):
        _erase(batch, incident_id, count=count, pending=pending.get(incident_id, 0))


def _erase(batch: Batch, incident_id: UUID, *, count: int, pending: int) -> None:
    change = partial(incidents.erased, count=count, pending=pending, pack=batch.pack, now=batch.now)
    batch.change(incident_id, change)
