from __future__ import annotations

import random
from uuid import UUID

import pytest
from sqlalchemy import event, select
from sqlalchemy.engine import Engine

from amparo_common.events.types import ReportsErased
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import IncidentStatus, Lane, Level, ReferralStatus
from amparo_gateway import service
from amparo_gateway.tables import projection_metadata

pytestmark = pytest.mark.anyio


async def contents(projection):
    """Return every row of every table as the driver gives it, state bytes included."""

    def dump(session):
        return {
            name: sorted(repr(tuple(row)) for row in session.execute(select(table)))
            for name, table in projection_metadata.tables.items()
        }

    return await projection.read(dump)


def story(invented):
    """Two incidents with several versions, joined reports, referrals and audit rows, as received."""
    first, second = UUID(int=11), UUID(int=12)
    events = []
    for key in (first, second):
        events += [
            invented.incident(key, version=1, owners=("agent:a",)),
            invented.joined(key, key, version=1, owner="agent:a"),
            invented.incident(key, version=2, level=Level.P1, lane=Lane.URGENT, owners=("agent:a",)),
            invented.incident(key, version=3, level=Level.P1, report_count=2, owners=("agent:a", "agent:b")),
            invented.joined(key, UUID(int=key.int + 100), version=3, owner="agent:b"),
            invented.incident(
                key, version=4, level=Level.P1, status=IncidentStatus.CLOSED, owners=("agent:a", "agent:b")
            ),
        ]
    referral = UUID(int=21)
    for version, status in enumerate(
        (ReferralStatus.AWAITING_REVIEW, ReferralStatus.QUEUED, ReferralStatus.DELIVERED, ReferralStatus.ACCEPTED), 1
    ):
        events.append(invented.referral(first, key=referral, version=version, status=status))
    partner, task = UUID(int=22), UUID(int=23)
    for version, name in enumerate(("Demo hotline", "Another name"), 1):
        events.append(invented.partner(partner, version=version, name=name))
    sent = invented.referral(first, key=referral)
    for version, done in enumerate((None, invented.at), 1):
        events.append(invented.task(sent, key=task, version=version, completed_at=done))
    events += [invented.audited(number) for number in range(4)]
    return invented.received(*events)


async def told(projection, deliveries, *, batch):
    for start in range(0, len(deliveries), batch):
        await service.apply(projection, deliveries[start : start + batch])
    return await contents(projection)


async def test_any_order_and_any_repeat_end_with_the_same_bytes(open_projection, invented):
    deliveries = story(invented)
    expected = await told(await open_projection("in-order"), deliveries, batch=len(deliveries))
    assert len(expected["incident_history"]) == 8
    assert len(expected["incident"]) == 2
    for seed in range(12):
        chance = random.Random(seed)  # noqa: S311 - a seed, so that a failure can be seen again
        shuffled = deliveries * chance.randint(1, 3)
        chance.shuffle(shuffled)
        projection = await open_projection(f"shuffled-{seed}")
        assert await told(projection, shuffled, batch=chance.randint(1, 9)) == expected, f"seed {seed}"


async def test_a_replay_from_zero_into_a_dropped_projection_gives_the_same_bytes(open_projection, invented):
    deliveries = story(invented)
    projection = await open_projection("projection")
    expected = await told(projection, deliveries, batch=5)
    await service.drop(projection)
    assert not any((await contents(projection)).values())
    assert await told(projection, deliveries, batch=7) == expected


async def test_a_replay_over_what_stands_changes_no_byte(open_projection, invented):
    deliveries = story(invented)
    projection = await open_projection("projection")
    expected = await told(projection, deliveries, batch=5)
    assert await told(projection, deliveries, batch=1) == expected


async def test_the_state_is_kept_as_the_bytes_that_came(open_projection, invented):
    deliveries = invented.received(invented.incident(version=3))
    projection = await open_projection("projection")
    await service.apply(projection, deliveries)
    incident = projection_metadata.tables["incident"]
    assert (
        await projection.read(lambda s: s.execute(select(incident.c.state)).scalar_one()) == deliveries[0].record.value
    )


async def test_a_batch_costs_at_most_one_statement_a_table(open_projection, invented):
    projection = await open_projection("projection")
    events = [invented.incident(owners=("agent:a",)) for _ in range(200)]
    events += [invented.joined(one.incident_id, one.incident_id) for one in list(events)]
    referrals = [invented.referral(uuid7()) for _ in range(200)]
    events += [*referrals, *(invented.task(one) for one in referrals), *(invented.partner() for _ in range(200))]
    events += [invented.audited(number) for number in range(200)]
    statements = []

    def note(connection, cursor, statement, *rest):
        if not statement.startswith(("BEGIN", "SAVEPOINT", "RELEASE", "PRAGMA")):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await service.apply(projection, invented.received(*events))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) == 8, statements


async def test_an_event_without_a_place_here_is_let_pass(open_projection, invented):
    projection = await open_projection("projection")
    erased = ReportsErased(incident_id=UUID(int=1), report_ids=(UUID(int=1),), at=invented.at)
    await service.apply(projection, invented.received(erased))
    assert not any((await contents(projection)).values())
