from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from amparo_common import inbox
from amparo_common.clock import SetClock
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.codec import Envelope, Received, decode, encode
from amparo_common.ids import uuid7
from amparo_common.log.port import Record, TopicPartition
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Lane

pytestmark = pytest.mark.anyio
MakeOutgoing = Callable[..., Outgoing]


def delivery(one: Outgoing, *, event_id: UUID, offset: int, at: datetime) -> Received:
    envelope = Envelope(id=event_id, type=one.event.TYPE, source="x", time=at, key=one.key, lane=Lane.STANDARD)
    new = encode(one.event, envelope=envelope)
    return decode(
        Record(
            topic=new.topic,
            partition=0,
            offset=offset,
            key=new.key,
            value=new.value,
            headers=new.headers,
            appended_at_ms=0,
        )
    )


async def fresh(database: SqliteDatabase, *deliveries: Received, consumer: str = "triage") -> list[int]:
    found = await database.write(lambda connection: inbox.fresh(connection, consumer=consumer, deliveries=deliveries))
    return [one.record.offset for one in found]


async def test_only_the_first_delivery_is_fresh_and_order_is_kept(
    database: SqliteDatabase, clock: SetClock, outgoing: MakeOutgoing
) -> None:
    ids = [uuid7() for _ in range(4)]
    first, second, third, fourth = (
        delivery(outgoing(), event_id=event_id, offset=offset, at=clock.now()) for offset, event_id in enumerate(ids)
    )
    repeat = delivery(outgoing(), event_id=ids[0], offset=9, at=clock.now())

    assert await fresh(database, third, first, repeat, second) == [2, 0, 1]
    assert await fresh(database, repeat, first, fourth) == [3]
    assert await fresh(database) == []


async def test_each_consumer_has_its_own_inbox(
    database: SqliteDatabase, clock: SetClock, outgoing: MakeOutgoing
) -> None:
    one = delivery(outgoing(), event_id=uuid7(), offset=0, at=clock.now())

    assert await fresh(database, one) == [0]
    assert await fresh(database, one, consumer="other") == [0]


async def test_a_unit_that_fails_leaves_its_events_fresh(
    database: SqliteDatabase, clock: SetClock, outgoing: MakeOutgoing
) -> None:
    one = delivery(outgoing(), event_id=uuid7(), offset=0, at=clock.now())

    def apply_and_fail(connection: inbox.Connection) -> None:
        inbox.fresh(connection, consumer="triage", deliveries=[one])
        raise ValueError("not applied")

    with pytest.raises(ValueError, match="not applied"):
        await database.write(apply_and_fail)

    assert await fresh(database, one) == [0]


async def test_a_thousand_events_pass_in_one_unit(
    database: SqliteDatabase, clock: SetClock, outgoing: MakeOutgoing
) -> None:
    many = [delivery(outgoing(), event_id=uuid7(), offset=n, at=clock.now()) for n in range(2500)]

    assert await fresh(database, *many) == list(range(2500))
    assert await fresh(database, *many) == []


async def test_pruning_takes_only_rows_that_are_old_and_below_the_position(
    database: SqliteDatabase, clock: SetClock, outgoing: MakeOutgoing
) -> None:
    now_ms = int(clock.now().timestamp() * 1000)
    day_ms = 24 * 3600 * 1000
    # Ids are made by hand: uuid7() never goes back, whatever time it is given.
    old, old_above, young = (
        UUID(int=(at_ms << 80) | 0x7 << 76 | number)
        for number, at_ms in enumerate((now_ms - 2 * day_ms, now_ms - 2 * day_ms, now_ms))
    )
    for offset, event_id in enumerate((old, young, old_above)):
        await fresh(database, delivery(outgoing(), event_id=event_id, offset=offset, at=clock.now()))

    gone = await database.write(
        lambda connection: inbox.prune(
            connection,
            consumer="triage",
            positions={TopicPartition("amparo.reports.standard", 0): 2},
            before=clock.now() - timedelta(hours=24),
        )
    )

    left = await database.read(lambda session: session.execute(text('SELECT "offset" FROM inbox')).scalars().all())
    assert (gone, sorted(left)) == (1, [1, 2])
