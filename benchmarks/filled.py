"""Projections filled for a measurement: events of a usual size, many times over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Index

from amparo_common.clock import SystemClock
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events import types as events
from amparo_common.ids import reference, uuid7
from amparo_common.vocabulary.codes import (
    AcknowledgementCode,
    Adapter,
    Category,
    Channel,
    ClockKind,
    ClockState,
    Destination,
    Factor,
    FactorSource,
    IncidentStatus,
    Lane,
    LawfulBasis,
    Level,
    ReferralStatus,
    Release,
)
from amparo_gateway import service
from amparo_gateway.projection import repository as stored
from amparo_gateway.projection.rows import Batch
from amparo_gateway.tables import projection_metadata

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_INCIDENT: Final = projection_metadata.tables["incident"]
#: Every row is the template's but for what is unique; places differ in their first bytes, as those of levels and times.
_MULTIPLY: Final = """
  WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
  INSERT INTO incident ({names}) SELECT {values} FROM numbers, incident AS template WHERE template.id = ?
"""
_UNIQUE: Final = {"id": "randomblob(16)", "queue_place": "randomblob(37)", "receipt_place": "randomblob(24)"}


async def opened(path: Path) -> SqliteDatabase:
    """Open a migrated, empty projection that counts as filled from the log."""
    database = await SqliteDatabase.open(path, service="gateway")
    await migrate(database, package="amparo_gateway.projection")
    await service.mark_filled_from_the_start(database, now=SystemClock().now())
    return database


async def multiply_incidents(database: SqliteDatabase, *, rows: int) -> None:
    """Store `rows` incidents by one SQL statement, with the indexes made afterwards."""
    template = incident()
    batch = Batch()
    batch.incident(template, state=msgspec.json.encode(template))
    names = [column.name for column in _INCIDENT.columns]
    values = ", ".join(_UNIQUE.get(name, f"template.{name}") for name in names)
    statement = _MULTIPLY.format(names=", ".join(names), values=values)

    def unit(connection: Connection) -> None:
        stored.apply(connection, batch)
        indexes: list[Index] = sorted(_INCIDENT.indexes, key=lambda index: str(index.name))
        for index in indexes:
            index.drop(connection)
        connection.exec_driver_sql(statement, (rows - 1, template.incident_id.bytes))
        for index in indexes:
            index.create(connection)

    await database.write(unit)


async def store_referrals(database: SqliteDatabase, *, rows: int) -> None:
    """Store `rows` referrals to one partner."""
    batch = Batch()
    entry = partner()
    batch.partner(entry, state=msgspec.json.encode(entry))
    for number in range(rows):
        one = referral(entry, number)
        batch.referral(one, state=msgspec.json.encode(one))
    await database.write(lambda connection: stored.apply(connection, batch))


def incident() -> events.IncidentTriaged:
    """Invent an incident with two rules, three factors and two clocks."""
    key = uuid7()
    rules = tuple(
        events.RuleFired(id=name, floor=Level.P2, factors=(Factor.UNDER13,), guidelines=("G-ONE",))
        for name in ("R04", "R11")
    )
    factors = tuple(
        events.FactorFinding(factor=factor, source=FactorSource.TEXT, report_id=key)
        for factor in (Factor.UNDER13, Factor.ADULT_UNKNOWN, Factor.CHILD_REPORTER)
    )
    decision = events.Decision(
        version=1, pack="base 1", pack_digest="00" * 32, base_level=Level.P3, level=Level.P2, score=40, rules=rules,
        factors=factors, guidelines=("G-ONE",), reasons={"en": ("A child under 13.", "An unknown adult.")},
        proposed_destinations=(Destination.HOTLINE,), human=False, decided_by=None, decided_at=NOON,
    )  # fmt: skip
    clocks = tuple(
        events.ClockReading(kind=kind, state=ClockState.RUNNING, started_at=NOON, due_at=NOON + timedelta(hours=1))
        for kind in (ClockKind.HUMAN_TRIAGE, ClockKind.FIRST_REFERRAL)
    )
    return events.IncidentTriaged(
        incident_id=key, reference=reference("AM", of=key), version=1, changed_at=NOON, lane=Lane.STANDARD,
        country="GT", channels=(Channel.WEB,), received_at=NOON, level=Level.P2, provisional=True,
        status=IncidentStatus.OPEN, category=Category.GROOMING, secondary_categories=(), report_count=1,
        decision=decision, clocks=clocks, due_at=NOON + timedelta(hours=1), claimed_by=None, claimed_until=None,
        awaiting_signature=False, proposed_lowering=None, owners=(), victim_age=11, victim_count=1, is_test=False,
    )  # fmt: skip


def partner() -> events.PartnerChanged:
    """Invent a partner with a route."""
    route = events.RouteStanding(
        country="*", destination=Destination.HOTLINE, priority=100, release=Release.AUTOMATIC, categories=(),
        levels=(), enabled=True,
    )  # fmt: skip
    return events.PartnerChanged(
        partner_id=uuid7(), version=1, changed_at=NOON, name="A hotline", destination=Destination.HOTLINE,
        countries=("*",), languages=("en", "es"), adapter=Adapter.WEBHOOK, organisation="a-hotline",
        accepts_emergency=False, last_verified_at=NOON, routes=(route,),
    )  # fmt: skip


def referral(to: events.PartnerChanged, number: int) -> events.ReferralChanged:
    """Invent an acknowledged referral with an attempt and two withheld fields."""
    key, at = uuid7(), NOON + timedelta(seconds=number)
    attempt = events.DeliveryAttempt(number=1, at=at, outcome="delivered", status_code=200, next_attempt_at=None)
    answer = events.PartnerAnswer(
        acknowledgement_id=UUID(int=number),
        at=at,
        code=AcknowledgementCode.RECEIVED,
        by=to.name,
        partner_reference="H-1",
    )
    withheld = tuple(
        events.WithheldField(field=name, safeguard="SG-07", reason="The partner does not need it.")
        for name in ("reporter.name", "reporter.contact")
    )
    return events.ReferralChanged(
        referral_id=key, reference=reference("RF", of=key), version=4, package_version=1, changed_at=at,
        incident_id=uuid7(), partner_id=to.partner_id, partner_name=to.name, organisation=to.organisation,
        country="GT", destination=to.destination, adapter=to.adapter, status=ReferralStatus.ACKNOWLEDGED,
        release=Release.AUTOMATIC, level=Level.P2, category=Category.GROOMING, lawful_basis=LawfulBasis.VITAL_INTEREST,
        created_at=at, delivered_at=at, acknowledged_at=at, due_at=None, is_test=False, profile="hotline.v1",
        withheld=withheld, attempts=(attempt,), acknowledgements=(answer,),
    )  # fmt: skip
