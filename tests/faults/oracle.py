"""The oracle: from the acknowledged reports alone it says what must stand in log, databases and at the partner."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from amparo_common import audit, outbox
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.codec import Received, decode
from amparo_common.events.types import IncidentTriaged, ReferralChanged, ReportJoined, ReportReceived
from amparo_common.log.port import TOPICS
from amparo_common.log.sqlite import SqliteLog

SERVICES = ("intake", "triage", "referral", "gateway")


@dataclass
class Verdict:
    """What the oracle found; empty lists mean all is well."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return not (self.lost or self.duplicated or self.reordered or self.broken)


async def judge(data_dir: Path, *, acknowledged: list[str]) -> Verdict:
    """Read everything under `data_dir` (the platform is stopped) and judge it."""
    verdict = Verdict()
    events = await _events(data_dir)
    _judge_reports(events, verdict, acknowledged=acknowledged)
    _judge_order(events, verdict)
    _judge_partner(data_dir, events, verdict)
    for service in SERVICES:
        await _judge_database(data_dir, service, verdict)
    return verdict


async def _events(data_dir: Path) -> list[Received]:
    """Return every event of the log once, in the order of its partition."""
    log = await SqliteLog.open(data_dir)
    seen: set[UUID] = set()
    events = []
    try:
        consumer = await log.consumer("oracle", topics=list(TOPICS))
        while batch := await consumer.fetch(max_records=1000, timeout_s=0.2):
            for records in batch.values():
                for received in map(decode, records):
                    if received.envelope.id not in seen:
                        seen.add(received.envelope.id)
                        events.append(received)
    finally:
        await log.close()
    return events


def _judge_reports(events: list[Received], verdict: Verdict, *, acknowledged: list[str]) -> None:
    received = Counter(str(e.event.report_id) for e in events if isinstance(e.event, ReportReceived))
    joined = Counter(str(e.event.report_id) for e in events if isinstance(e.event, ReportJoined))
    referred = defaultdict(set)
    for event in (e.event for e in events if isinstance(e.event, ReferralChanged)):
        referred[str(event.incident_id)].add(event.referral_id)
    for report_id in acknowledged:
        for what, count in (("event", received[report_id]), ("incident", joined[report_id])):
            if count == 0:
                verdict.lost.append(f"{report_id}: no {what}")
        if not referred[report_id]:
            verdict.lost.append(f"{report_id}: no referral")
    verdict.duplicated += [f"{report_id}: {count} reports" for report_id, count in received.items() if count > 1]
    verdict.duplicated += [f"{report_id}: joined {count} times" for report_id, count in joined.items() if count > 1]
    verdict.duplicated += [f"{incident}: {len(ids)} referrals" for incident, ids in referred.items() if len(ids) > 1]


def _versions(events: list[Received]) -> Iterator[tuple[str, int]]:
    for received in events:
        event = received.event
        if isinstance(event, IncidentTriaged):
            yield f"incident {event.incident_id} {received.envelope.lane}", event.version
        elif isinstance(event, ReferralChanged):
            yield f"referral {event.referral_id}", event.version


def _judge_order(events: list[Received], verdict: Verdict) -> None:
    """Versions of an aggregate come in order and once: one decision chain, one life of a referral."""
    last: dict[str, int] = {}
    for aggregate, version in _versions(events):
        if version == last.get(aggregate):
            verdict.duplicated.append(f"{aggregate}: version {version} twice")
        elif version < last.get(aggregate, 0):
            verdict.reordered.append(f"{aggregate}: version {version} after {last[aggregate]}")
        last[aggregate] = version


def _judge_partner(data_dir: Path, events: list[Received], verdict: Verdict) -> None:
    """The partner took each version of a referral under one id, and nothing that no referral stands for."""
    references = {e.event.reference for e in events if isinstance(e.event, ReferralChanged)}
    taken = defaultdict(set)
    for line in (data_dir / "demo-partner.jsonl").read_text(encoding="utf-8").splitlines():
        delivery = json.loads(line)
        taken[delivery["referral_reference"], delivery["version"]].add(delivery["webhook_id"])
    known = {reference for reference, _ in taken}
    verdict.lost += [f"{reference}: not at the partner" for reference in sorted(references - known)]
    verdict.broken += [f"{reference}: at the partner, in no event" for reference in sorted(known - references)]
    verdict.duplicated += [f"{place}: under {len(ids)} ids" for place, ids in taken.items() if len(ids) > 1]


async def _judge_database(data_dir: Path, service: str, verdict: Verdict) -> None:
    database = await SqliteDatabase.open(data_dir / f"{service}.db", service=service)
    try:
        chain = await database.read(lambda session: audit.verify(session, service=service))
        if not chain.ok:
            verdict.broken.append(f"audit of {service}: {chain.problem} at {chain.sequence}")
        waiting = await database.read(outbox.depth)
        if waiting:
            verdict.broken.append(f"outbox of {service}: {waiting} rows wait")
    finally:
        await database.close()
