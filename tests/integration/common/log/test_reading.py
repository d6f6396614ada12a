from __future__ import annotations

from contextlib import aclosing

import pytest

from amparo_common.errors import TransientError
from amparo_common.log import reading
from amparo_common.log.port import NewRecord, TopicPartition
from amparo_common.log.reading import read_to_end
from amparo_common.log.sqlite import SqliteLog

pytestmark = pytest.mark.anyio
TOPICS = ("amparo.referrals", "amparo.audit")


@pytest.fixture
async def log(tmp_path):
    opened = await SqliteLog.open(tmp_path / "log")
    yield opened
    await opened.close()


def records(count: int, *, topic: str = TOPICS[0]) -> list[NewRecord]:
    return [NewRecord(topic=topic, key=bytes([number % 7]), value=str(number).encode()) for number in range(count)]


async def test_every_record_comes_once_and_in_the_order_of_its_partition(log):
    await log.append(records(500) + records(40, topic=TOPICS[1]))
    places: dict[TopicPartition, int] = {}
    total = 0
    async for slice_ in read_to_end(log, group="g", topics=TOPICS, max_records=30):
        assert len({record.at for record in slice_}) == 1
        for record in slice_:
            assert record.offset == places.get(record.at, 0)
            places[record.at] = record.offset + 1
        total += len(slice_)
    assert total == 540
    assert places == {at: end for at, end in (await log.end_offsets(TOPICS)).items() if end}


async def test_reading_ends_where_the_log_ended_when_it_began(log):
    await log.append(records(10))
    seen = 0
    async for slice_ in read_to_end(log, group="g", topics=TOPICS, max_records=2):
        seen += len(slice_)
        await log.append(records(5))
    assert seen == 10


async def test_reading_goes_on_from_given_places(log):
    await log.append(records(20, topic=TOPICS[1]))
    places = {TopicPartition(TOPICS[1], 0): 17}
    values = [
        record.value
        async for slice_ in read_to_end(log, group="g", topics=[TOPICS[1]], places=places)
        for record in slice_
    ]
    assert values == [b"17", b"18", b"19"]


async def test_an_empty_log_and_one_that_was_read_give_nothing(log):
    assert [s async for s in read_to_end(log, group="g", topics=TOPICS)] == []
    await log.append(records(3, topic=TOPICS[1]))
    places = {TopicPartition(TOPICS[1], 0): 3}
    assert [s async for s in read_to_end(log, group="g", topics=[TOPICS[1]], places=places)] == []


async def test_a_second_reader_of_the_group_is_told_to_come_later(log, monkeypatch):
    monkeypatch.setattr(reading, "_JOIN_S", 0.3)
    await log.append(records(10))
    first = read_to_end(log, group="g", topics=TOPICS, max_records=1)
    async with aclosing(first):
        await anext(first)
        with pytest.raises(TransientError, match="somebody else"):
            await anext(read_to_end(log, group="g", topics=TOPICS))
    assert sum([len(s) async for s in read_to_end(log, group="g", topics=TOPICS)]) == 10


async def test_no_position_is_stored(log):
    await log.append(records(10))
    for _ in range(2):
        assert sum([len(s) async for s in read_to_end(log, group="g", topics=TOPICS)]) == 10
