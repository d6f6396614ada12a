from __future__ import annotations

from uuid import UUID

import pytest

from amparo_common import audit, dead_letters, inbox, outbox
from amparo_common.clock import SetClock
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.types import RecordDeadLettered
from amparo_common.log.port import Record
from amparo_common.outbox import take, unpack_headers

pytestmark = pytest.mark.anyio
ID = "01a20c44-3b18-7000-aea1-ea16628180f1"


def record(*, offset: int = 3, attempt: bytes | None = None, value: bytes = b"\xff sealed") -> Record:
    headers = [("ce_id", ID.encode()), ("ce_type", b"org.example.unknown")]
    if attempt is not None:
        headers.append(("amparo_attempt", attempt))
    return Record(
        topic="amparo.reports.urgent",
        partition=1,
        offset=offset,
        key=b"k",
        value=value,
        headers=tuple(headers),
        appended_at_ms=0,
    )


async def put(database: SqliteDatabase, clock: SetClock, one: Record) -> bool:
    return await database.write(
        lambda connection: dead_letters.put(
            connection, one, service="triage", group="triage", reason="undecodable:bad_value", now=clock.now()
        )
    )


async def waiting(database: SqliteDatabase) -> list[dead_letters.DeadLetter]:
    return list(await database.read(lambda session: dead_letters.waiting(session, limit=10)))


async def test_a_dead_letter_keeps_the_record_as_it_came_and_is_told_once(
    database: SqliteDatabase, clock: SetClock
) -> None:
    assert await put(database, clock, record()) is True
    assert await put(database, clock, record()) is False
    assert await put(database, clock, record(offset=8)) is False, "the same event at another place"

    (letter,) = await waiting(database)
    assert (letter.topic, letter.partition, letter.offset) == ("amparo.reports.urgent", 1, 3)
    assert (letter.key, letter.value, unpack_headers(letter.headers)) == (b"k", b"\xff sealed", record().headers)
    assert (letter.reason, letter.attempt, letter.at) == ("undecodable:bad_value", 1, clock.now())

    (told,) = await database.read(lambda session: take(session, 10))
    assert dict(told.record.headers)["ce_type"].decode() == RecordDeadLettered.TYPE
    assert told.record.topic == "amparo.dlq"


async def test_a_record_without_a_readable_id_is_known_by_its_place(database: SqliteDatabase, clock: SetClock) -> None:
    nameless = [
        Record(topic="amparo.referrals", partition=0, offset=n, key=b"", value=b"", headers=(), appended_at_ms=0)
        for n in (1, 1, 2)
    ]

    assert [await put(database, clock, one) for one in nameless] == [True, False, True]


async def test_a_replay_publishes_the_record_again_one_attempt_higher_and_is_audited(
    database: SqliteDatabase, clock: SetClock
) -> None:
    await put(database, clock, record())
    (letter,) = await waiting(database)

    replayed = await database.write(
        lambda connection: dead_letters.replay(
            connection, [letter.id], actor="admin-1", role="ADMIN", service="triage", now=clock.now()
        )
    )

    assert replayed == [letter.id]
    assert await waiting(database) == []
    records = [one.record for one in await database.read(lambda session: take(session, 10))]
    again = next(one for one in records if one.topic == "amparo.reports.urgent")
    assert (again.key, again.value) == (b"k", b"\xff sealed")
    assert again.headers == (*record().headers, ("amparo_attempt", b"2"))
    assert any(b'"dead_letter.replay"' in one.value and b"admin-1" in one.value for one in records)
    assert (await database.read(lambda session: audit.verify(session, service="triage"))).size == 1


async def test_a_replayed_record_that_fails_again_is_a_dead_letter_again(
    database: SqliteDatabase, clock: SetClock
) -> None:
    await put(database, clock, record())
    (first,) = await waiting(database)
    await database.write(
        lambda connection: dead_letters.replay(
            connection, [first.id], actor="a", role="ADMIN", service="triage", now=clock.now()
        )
    )

    assert await put(database, clock, record(offset=9, attempt=b"2")) is True
    (second,) = await waiting(database)
    assert (second.attempt, second.id != first.id) == (2, True)


async def test_an_event_that_was_applied_before_is_no_dead_letter_when_it_comes_again(
    database: SqliteDatabase, clock: SetClock
) -> None:
    await database.write(lambda connection: inbox.mark(connection, UUID(ID), consumer="triage", record=record()))

    assert await put(database, clock, record(offset=9)) is False
    assert await waiting(database) == []


async def test_a_replay_lets_the_failed_group_take_the_event_and_no_other(
    database: SqliteDatabase, clock: SetClock
) -> None:
    def seen(connection: inbox.Connection, consumer: str) -> bool:
        return not inbox.mark(connection, UUID(ID), consumer=consumer, record=record())

    await database.write(lambda connection: seen(connection, "gateway"))
    await put(database, clock, record())
    (letter,) = await waiting(database)
    assert await database.write(lambda connection: seen(connection, "triage"))

    await database.write(
        lambda connection: dead_letters.replay(
            connection, [letter.id], actor="a", role="ADMIN", service="triage", now=clock.now()
        )
    )

    assert not await database.write(lambda connection: seen(connection, "triage"))
    assert await database.write(lambda connection: seen(connection, "gateway"))


async def test_what_is_settled_is_neither_replayed_nor_discarded_again(
    database: SqliteDatabase, clock: SetClock
) -> None:
    await put(database, clock, record())
    (letter,) = await waiting(database)
    arguments = {"actor": "a", "role": "ADMIN", "service": "triage", "now": clock.now()}

    gone = await database.write(lambda connection: dead_letters.discard(connection, [letter.id], **arguments))
    again = await database.write(lambda connection: dead_letters.replay(connection, [letter.id], **arguments))

    assert (gone, again) == ([letter.id], [])
    kept = await database.read(lambda session: dead_letters.find(session, letter.id))
    assert kept is not None
    assert (kept.state, kept.value, unpack_headers(kept.headers)) == ("discarded", b"", ())
    assert await database.read(dead_letters.depth) == 0


async def test_waiting_letters_come_in_pages_oldest_first(database: SqliteDatabase, clock: SetClock) -> None:
    for offset in range(5):
        one = Record(
            topic="amparo.referrals", partition=0, offset=offset, key=b"", value=b"", headers=(), appended_at_ms=0
        )
        await put(database, clock, one)

    first = await database.read(lambda session: dead_letters.waiting(session, limit=3))
    after = (first[-1].at, first[-1].id)
    rest = await database.read(lambda session: dead_letters.waiting(session, limit=3, after=after))

    assert {letter.offset for letter in (*first, *rest)} == set(range(5))
    assert len(rest) == 2


@pytest.mark.parametrize("attempt", [b"", b"-1", b"1e9", b"99999999999999999999", "٣".encode()])
def test_an_attempt_that_a_stranger_wrote_counts_as_the_first(attempt: bytes) -> None:
    assert dead_letters.attempt_of(record(attempt=attempt)) == 1


async def test_an_empty_replay_writes_nothing(database: SqliteDatabase, clock: SetClock) -> None:
    done = await database.write(
        lambda connection: dead_letters.replay(
            connection, [], actor="a", role="ADMIN", service="triage", now=clock.now()
        )
    )

    assert done == []
    assert await database.read(outbox.depth) == 0
