"""The contract of the event log as one suite for every adapter.

A subclass provides the fixture `open_log`: called, it opens the log under test, and called again, the same log anew.
It lists in `cannot` what its backend is not able to show, with the reason; those tests are then skipped with it, and
counted.
"""

# ruff: noqa: S101, PLR2004 - this is a test suite, kept here so that every adapter's tests can import it

from __future__ import annotations

import asyncio
import time

import pytest

from amparo_common.log.port import TOPICS, NewRecord, TopicPartition, UnknownTopicError, partition_of
from amparo_common.testing.group_contract import GroupContract
from amparo_common.testing.log_records import (
    INCIDENTS,
    ONLY,
    REPORTS,
    SINGLE,
    OpenLog,
    fetched,
    nothing_more,
    numbered,
    numbers,
)


class EventLogContract(GroupContract):
    """Every promise of `log.port`, one test each."""

    # ------------------------------------------------------------ appending

    async def test_the_key_decides_the_partition_in_every_topic(self, open_log: OpenLog) -> None:
        log = await open_log()
        keys = [f"key-{number}".encode() for number in range(40)]
        await log.append([NewRecord(topic=topic, key=key, value=b"") for topic in (REPORTS, INCIDENTS) for key in keys])
        records = await fetched(await log.consumer("reader", topics=[REPORTS, INCIDENTS]), 80)
        assert {(record.topic, record.key, record.partition) for record in records} == {
            (topic, key, partition_of(key, count=TOPICS[topic])) for topic in (REPORTS, INCIDENTS) for key in keys
        }
        assert {record.partition for record in records} == {0, 1, 2, 3}

    async def test_records_of_one_key_keep_their_order(self, open_log: OpenLog) -> None:
        log = await open_log()
        for start in range(0, 60, 20):
            await log.append(numbered(20, topic=REPORTS, keys=6, start=start))
        records = await fetched(await log.consumer("reader", topics=[REPORTS]), 60)
        for key in {record.key for record in records}:
            of_key = numbers([record for record in records if record.key == key])
            assert of_key == sorted(of_key)

    async def test_offsets_grow_by_one_from_zero_in_each_partition(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(40, topic=REPORTS, keys=9))
        records = await fetched(await log.consumer("reader", topics=[REPORTS]), 40)
        for at in {record.at for record in records}:
            offsets = [record.offset for record in records if record.at == at]
            assert offsets == list(range(len(offsets)))

    async def test_appends_at_the_same_time_all_arrive_each_in_its_own_order(self, open_log: OpenLog) -> None:
        log = await open_log()
        parts = [numbered(15, start=100 * number) for number in range(8)]
        await asyncio.gather(*(log.append(part) for part in parts))
        came = numbers(await fetched(await log.consumer("reader", topics=[SINGLE]), 120))
        for number in range(8):
            assert [n for n in came if n // 100 == number] == list(range(100 * number, 100 * number + 15))

    async def test_key_value_and_headers_come_back_byte_for_byte(self, open_log: OpenLog) -> None:
        log = await open_log()
        every_byte = bytes(range(256))
        headers = (("ce_id", b"\x00\xff"), ("again", b"1"), ("again", b"2"), ("empty", b""))
        await log.append(
            [
                NewRecord(topic=SINGLE, key=every_byte, value=every_byte * 40, headers=headers),
                NewRecord(topic=SINGLE, key=b"k", value=b""),
            ]
        )
        first, second = await fetched(await log.consumer("reader", topics=[SINGLE]), 2)
        assert (first.key, first.value, first.headers) == (every_byte, every_byte * 40, headers)
        assert (second.key, second.value, second.headers) == (b"k", b"", ())

    async def test_a_record_tells_when_it_was_appended(self, open_log: OpenLog) -> None:
        log = await open_log()
        before = int(time.time() * 1000)
        await log.append(numbered(1))
        after = int(time.time() * 1000)
        (record,) = await fetched(await log.consumer("reader", topics=[SINGLE]), 1)
        assert before <= record.appended_at_ms <= after

    async def test_appending_nothing_writes_nothing(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append([])
        assert set((await log.end_offsets(list(TOPICS))).values()) == {0}

    async def test_an_unknown_topic_is_refused_before_anything_is_written(self, open_log: OpenLog) -> None:
        log = await open_log()
        stranger = NewRecord(topic="amparo.unheard", key=b"k", value=b"v")
        with pytest.raises(UnknownTopicError, match=r"amparo\.unheard"):
            await log.append([*numbered(3), stranger])
        with pytest.raises(UnknownTopicError):
            await log.consumer("reader", topics=[SINGLE, "amparo.unheard"])
        with pytest.raises(UnknownTopicError):
            await log.end_offsets(["amparo.unheard"])
        assert (await log.end_offsets([SINGLE]))[ONLY] == 0

    async def test_end_offsets_tell_the_next_offset_of_every_partition(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(7))
        key = b"key-0"
        await log.append([NewRecord(topic=REPORTS, key=key, value=b"")] * 2)
        ends = await log.end_offsets([SINGLE, REPORTS])
        written = TopicPartition(REPORTS, partition_of(key, count=4))
        assert ends == {ONLY: 7} | {TopicPartition(REPORTS, n): 0 for n in range(4)} | {written: 2}

    async def test_what_was_appended_stands_after_the_log_is_opened_anew(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(5))
        await log.close()
        log = await open_log()
        await log.append(numbered(2, start=5))
        records = await fetched(await log.consumer("reader", topics=[SINGLE]), 7)
        assert numbers(records) == list(range(7))
        assert [record.offset for record in records] == list(range(7))

    # ------------------------------------------------------------ fetching

    async def test_a_new_group_starts_at_the_oldest_record(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(4))
        assert numbers(await fetched(await log.consumer("late", topics=[SINGLE]), 4)) == [0, 1, 2, 3]

    async def test_a_consumer_reads_its_topics_alone(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append([*numbered(3), *numbered(3, topic=REPORTS)])
        consumer = await log.consumer("reader", topics=[SINGLE])
        assert consumer.assignment() == {ONLY}
        assert {record.topic for record in await fetched(consumer, 3)} == {SINGLE}
        await nothing_more(consumer)

    async def test_a_fetch_returns_no_more_than_it_was_asked_for(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(30, topic=REPORTS, keys=9))
        consumer = await log.consumer("reader", topics=[REPORTS])
        for asked in (1, 2, 7):
            batch = await consumer.fetch(max_records=asked, timeout_s=5)
            assert 1 <= sum(map(len, batch.values())) <= asked
            assert all(batch.values())

    async def test_a_fetch_without_records_returns_nothing_after_its_timeout(self, open_log: OpenLog) -> None:
        log = await open_log()
        consumer = await log.consumer("reader", topics=[SINGLE])
        await consumer.fetch(max_records=1, timeout_s=0)
        start = time.monotonic()
        assert await consumer.fetch(max_records=1, timeout_s=0.4) == {}
        assert 0.3 <= time.monotonic() - start < 3

    async def test_a_waiting_fetch_wakes_when_something_is_appended(self, open_log: OpenLog) -> None:
        log = await open_log()
        consumer = await log.consumer("reader", topics=[SINGLE])
        waiting = asyncio.create_task(consumer.fetch(max_records=5, timeout_s=30))
        await asyncio.sleep(0.3)
        start = time.monotonic()
        await log.append(numbered(1))
        batch = await waiting
        assert numbers(batch[ONLY]) == [0]
        assert time.monotonic() - start < 3

    async def test_a_fetch_moves_the_reading_place_but_not_the_position(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(4))
        consumer = await log.consumer("reader", topics=[SINGLE])
        assert numbers(await fetched(consumer, 2)) == [0, 1]
        assert numbers(await fetched(consumer, 2)) == [2, 3]
        assert await consumer.lag() == {ONLY: 4}

    async def test_seek_moves_the_reading_place_back_and_forth(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(6))
        consumer = await log.consumer("reader", topics=[SINGLE])
        await fetched(consumer, 4)
        consumer.seek({ONLY: 1})
        assert numbers(await fetched(consumer, 2)) == [1, 2]
        consumer.seek({ONLY: 5})
        assert numbers(await fetched(consumer, 1)) == [5]
        consumer.seek({ONLY: 6})
        await nothing_more(consumer)

    async def test_seek_leaves_partitions_of_others_alone(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(3))
        consumer = await log.consumer("reader", topics=[SINGLE])
        consumer.seek({TopicPartition(REPORTS, 0): 0})
        assert numbers(await fetched(consumer, 3)) == [0, 1, 2]

    async def test_every_partition_gets_its_turn(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(400, topic=REPORTS, keys=40))
        consumer = await log.consumer("reader", topics=[REPORTS])
        seen: set[TopicPartition] = set()
        read = 0
        while read < 400:
            batch = await consumer.fetch(max_records=50, timeout_s=5)
            assert batch
            seen |= set(batch)
            read += sum(map(len, batch.values()))
        assert len(seen) == 4

    # ------------------------------------------------------------ positions

    async def test_each_group_has_its_own_position(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(4))
        one, other = await log.consumer("one", topics=[SINGLE]), await log.consumer("other", topics=[SINGLE])
        await fetched(one, 4)
        await one.commit({ONLY: 4})
        assert await one.lag() == {ONLY: 0}
        assert await other.lag() == {ONLY: 4}
        assert numbers(await fetched(other, 4)) == [0, 1, 2, 3]

    async def test_what_was_not_committed_comes_again(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(5))
        consumer = await log.consumer("reader", topics=[SINGLE])
        await fetched(consumer, 5)
        await consumer.commit({ONLY: 2})
        await consumer.close()
        assert numbers(await fetched(await log.consumer("reader", topics=[SINGLE]), 3)) == [2, 3, 4]

    async def test_a_committed_position_stands_after_the_log_is_opened_anew(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(5))
        consumer = await log.consumer("reader", topics=[SINGLE])
        await fetched(consumer, 5)
        await consumer.commit({ONLY: 3})
        await log.close()
        log = await open_log()
        assert numbers(await fetched(await log.consumer("reader", topics=[SINGLE]), 2)) == [3, 4]

    async def test_a_later_position_covers_what_stands_before_it(self, open_log: OpenLog) -> None:
        """There is no acknowledgement of single records."""
        log = await open_log()
        await log.append(numbered(5))
        consumer = await log.consumer("reader", topics=[SINGLE])
        consumer.seek({ONLY: 3})
        await fetched(consumer, 1)
        await consumer.commit({ONLY: 4})
        await consumer.close()
        again = await log.consumer("reader", topics=[SINGLE])
        assert numbers(await fetched(again, 1)) == [4]

    async def test_a_position_may_move_back(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(3))
        consumer = await log.consumer("reader", topics=[SINGLE])
        await fetched(consumer, 3)
        await consumer.commit({ONLY: 3})
        await consumer.commit({ONLY: 1})
        assert await consumer.lag() == {ONLY: 2}
        await consumer.close()
        assert numbers(await fetched(await log.consumer("reader", topics=[SINGLE]), 2)) == [1, 2]

    async def test_lag_counts_what_stands_after_the_committed_position(self, open_log: OpenLog) -> None:
        log = await open_log()
        consumer = await log.consumer("reader", topics=[REPORTS])
        assert await consumer.lag() == {TopicPartition(REPORTS, n): 0 for n in range(4)}
        key = b"key-0"
        await log.append([NewRecord(topic=REPORTS, key=key, value=b"")] * 5)
        at = TopicPartition(REPORTS, partition_of(key, count=4))
        assert (await consumer.lag())[at] == 5
        await fetched(consumer, 5)
        await consumer.commit({at: 2})
        assert await consumer.lag() == {TopicPartition(REPORTS, n): 0 for n in range(4)} | {at: 3}

    async def test_committing_a_partition_that_is_not_held_is_ignored(self, open_log: OpenLog) -> None:
        log = await open_log()
        await log.append(numbered(3, topic=REPORTS))
        at = TopicPartition(REPORTS, partition_of(b"key-0", count=4))
        stranger = await log.consumer("reader", topics=[SINGLE])
        await stranger.commit({at: 3})
        await stranger.close()
        assert numbers(await fetched(await log.consumer("reader", topics=[REPORTS]), 3)) == [0, 1, 2]

    # ------------------------------------------------------------ closing

    async def test_closing_the_log_ends_a_waiting_fetch(self, open_log: OpenLog) -> None:
        log = await open_log()
        consumer = await log.consumer("reader", topics=[SINGLE])
        waiting = asyncio.create_task(consumer.fetch(max_records=1, timeout_s=60))
        await asyncio.sleep(0.2)
        await log.close()
        assert await asyncio.wait_for(waiting, timeout=10) == {}

    async def test_closing_twice_is_closing_once(self, open_log: OpenLog) -> None:
        log = await open_log()
        consumer = await log.consumer("reader", topics=[SINGLE])
        await consumer.close()
        await consumer.close()
        await log.close()
        await log.close()
