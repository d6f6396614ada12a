"""The part of the event log's contract that takes two members of one group."""

# ruff: noqa: S101, PLR2004 - this is a test suite, kept here so that every adapter's tests can import it

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import ClassVar

import pytest

from amparo_common.log.port import Consumer, Record, TopicPartition
from amparo_common.testing.log_records import (
    PATIENCE_S,
    REPORTS,
    SINGLE,
    OpenLog,
    fetched,
    nothing_more,
    numbered,
    numbers,
)


class GroupContract:
    """What holds when members come, share, leave and lose partitions. See EventLogContract."""

    #: What the backend cannot show, and why: `two_members`.
    cannot: ClassVar[Mapping[str, str]] = {}

    def needs(self, ability: str) -> None:
        """Skip the test, with the reason, when the backend lacks `ability`."""
        if reason := self.cannot.get(ability):
            pytest.skip(reason)

    async def test_two_members_share_the_partitions_without_overlap(self, open_log: OpenLog) -> None:
        self.needs("two_members")
        log = await open_log()
        await log.append(numbered(80, topic=REPORTS, keys=20))
        one = await log.consumer("group", topics=[REPORTS])
        other = await log.consumer("group", topics=[REPORTS])
        both = await _settled(one, other)
        assert both == {TopicPartition(REPORTS, n) for n in range(4)}
        assert len(one.assignment()) == len(other.assignment()) == 2
        came = await _all_of(one, other, count=80)
        assert sorted(numbers(came[one] + came[other])) == list(range(80))
        assert {record.at for record in came[one]} == one.assignment()

    async def test_the_one_who_stays_takes_over_at_the_committed_position(self, open_log: OpenLog) -> None:
        self.needs("two_members")
        log = await open_log()
        await log.append(numbered(40, topic=REPORTS, keys=20))
        one = await log.consumer("group", topics=[REPORTS])
        other = await log.consumer("group", topics=[REPORTS])
        await _settled(one, other)
        came = await _all_of(one, other, count=40)
        done = {at: max(r.offset for r in came[other] if r.at == at) for at in other.assignment()}
        await other.commit(done)
        await one.commit({at: (await log.end_offsets([REPORTS]))[at] for at in one.assignment()})
        await other.close()
        left = await fetched(one, 2)
        assert {record.at: record.offset for record in left} == done
        assert len(one.assignment()) == 4

    async def test_running_work_ends_and_commits_before_its_partition_changes_hands(self, open_log: OpenLog) -> None:
        self.needs("two_members")
        log = await open_log()
        await log.append(numbered(60, topic=REPORTS, keys=20))
        steps: list[str] = []
        one: Consumer

        async def end_work(lost: frozenset[TopicPartition]) -> None:
            steps.append("revoked")
            await asyncio.sleep(0.3)
            ends = await log.end_offsets([REPORTS])
            await one.commit({at: ends[at] for at in lost})
            steps.append("ended")

        one = await log.consumer("group", topics=[REPORTS], on_revoked=end_work)
        await fetched(one, 60)
        other = await log.consumer("group", topics=[REPORTS])
        steps.append("joined")
        await _settled(one, other)
        assert steps == ["revoked", "ended", "joined"]
        assert set((await other.lag()).values()) == {0}
        await nothing_more(other)

    async def test_a_partition_that_is_being_handed_over_is_not_read_any_more(self, open_log: OpenLog) -> None:
        self.needs("two_members")
        log = await open_log()
        revoked, go_on = asyncio.Event(), asyncio.Event()

        async def end_work(_: frozenset[TopicPartition]) -> None:
            revoked.set()
            await go_on.wait()

        one = await log.consumer("group", topics=[SINGLE, REPORTS], on_revoked=end_work)
        joining = asyncio.create_task(log.consumer("group", topics=[SINGLE, REPORTS]))
        await revoked.wait()
        await log.append([*numbered(20, topic=REPORTS, keys=20), *numbered(1)])
        staying = one.assignment()
        read = [at for _ in range(3) for at in await one.fetch(max_records=30, timeout_s=0.2)]
        assert set(read) <= staying
        go_on.set()
        other = await joining
        await _settled(one, other)
        assert one.assignment() & other.assignment() == frozenset()

    async def test_a_late_commit_for_a_lost_partition_does_not_move_the_new_reader(self, open_log: OpenLog) -> None:
        self.needs("two_members")
        log = await open_log()
        await log.append(numbered(40, topic=REPORTS, keys=20))
        one = await log.consumer("group", topics=[REPORTS])
        await fetched(one, 40)
        other = await log.consumer("group", topics=[REPORTS])
        await _settled(one, other)
        ends = await log.end_offsets([REPORTS])
        await one.commit({at: ends[at] for at in other.assignment()})
        one.seek(dict.fromkeys(other.assignment(), 0))
        assert await other.lag() == {at: ends[at] for at in other.assignment()}
        count = sum(ends[at] for at in other.assignment())
        assert len(await fetched(other, count)) == count


async def _settled(one: Consumer, other: Consumer) -> frozenset[TopicPartition]:
    """Wait until both members hold partitions; return what they hold together."""
    async with asyncio.timeout(PATIENCE_S):
        while not (one.assignment() and other.assignment()):  # noqa: ASYNC110 - the port tells no change of hands
            await asyncio.sleep(0.05)
    assert not one.assignment() & other.assignment()
    return one.assignment() | other.assignment()


async def _all_of(one: Consumer, other: Consumer, *, count: int) -> dict[Consumer, list[Record]]:
    """Read with both members until `count` records came."""
    came: dict[Consumer, list[Record]] = {one: [], other: []}
    end = time.monotonic() + PATIENCE_S
    while sum(map(len, came.values())) < count and time.monotonic() < end:
        for consumer, records in came.items():
            batch = await consumer.fetch(max_records=count, timeout_s=0.1)
            records += [record for part in batch.values() for record in part]
    return came
