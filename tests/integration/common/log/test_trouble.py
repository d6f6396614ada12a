"""What the log says when it cannot write now, and that it goes on afterwards."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from amparo_common.errors import TransientError
from amparo_common.log.port import Consumer, NewRecord, TopicPartition
from amparo_common.log.sqlite import SqliteLog
from amparo_common.testing.log_records import ONLY, SINGLE, fetched, numbered, numbers

pytestmark = pytest.mark.anyio

OpenLog = Callable[[Path], Awaitable[SqliteLog]]


async def all_numbers(log: SqliteLog) -> list[int]:
    end = (await log.end_offsets([SINGLE]))[ONLY]
    return numbers(await fetched(await log.consumer("checker", topics=[SINGLE]), end))


async def test_a_full_disk_is_said_and_survived(open_log: OpenLog, tmp_path: Path) -> None:
    log = await open_log(tmp_path)
    await log.append(numbered(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "log.db-wal").stat().st_size + 20_000, hard))
    try:
        with pytest.raises(TransientError, match="does not take records now"):
            await log.append([NewRecord(topic=SINGLE, key=b"k", value=b"x" * 200_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await log.append(numbered(2, start=3))
    assert await all_numbers(log) == [0, 1, 2, 3, 4]
    assert [damage async for damage in log.verify()] == []


@pytest.mark.slow
async def test_a_file_that_another_program_holds_is_said_and_survived(open_log: OpenLog, tmp_path: Path) -> None:
    log = await open_log(tmp_path)
    await log.append(numbered(1))
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError, match="locked"):
        await log.append(numbered(1, start=1))
    other.execute("ROLLBACK")
    other.close()
    await log.append(numbered(1, start=2))
    assert await all_numbers(log) == [0, 2]


@pytest.mark.parametrize(("point", "stored"), [("log.before_commit", [0, 9]), ("log.after_commit", [0, 1, 9])])
async def test_an_append_that_fails_says_so_and_the_next_goes_on(
    open_log: OpenLog, plan: Callable[[str], None], tmp_path: Path, point: str, stored: list[int]
) -> None:
    """After an error a part is written or not; the caller appends again."""
    log = await open_log(tmp_path)
    await log.append(numbered(1))
    plan(f"log:{point}:1:raise")
    with pytest.raises(TransientError, match="fault planned"):
        await log.append(numbered(1, start=1))
    await log.append(numbered(1, start=9))
    assert await all_numbers(log) == stored


async def test_a_record_that_is_no_bytes_fails_alone(open_log: OpenLog, tmp_path: Path) -> None:
    log = await open_log(tmp_path)
    wrong = NewRecord(topic=SINGLE, key=b"k", value="text")  # type: ignore[arg-type]
    outcomes = await asyncio.gather(
        log.append(numbered(1)), log.append([wrong]), log.append(numbered(1, start=1)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), TypeError, type(None)]
    assert await all_numbers(log) == [0, 1]


async def test_a_cancelled_append_does_not_disturb_the_others(open_log: OpenLog, tmp_path: Path) -> None:
    log = await open_log(tmp_path)
    tasks = [asyncio.create_task(log.append(numbered(1, start=number))) for number in range(20)]
    await asyncio.sleep(0)
    tasks[7].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [7]
    await log.append(numbered(1, start=20))
    assert set(range(21)) - set(await all_numbers(log)) <= {7}


async def test_a_member_that_does_not_let_go_does_not_hold_up_the_group(open_log: OpenLog, tmp_path: Path) -> None:
    log = await open_log(tmp_path)

    async def hang(_: frozenset[TopicPartition]) -> None:
        await asyncio.Event().wait()

    one = await log.consumer("group", topics=["amparo.referrals"], on_revoked=hang)
    other = await asyncio.wait_for(log.consumer("group", topics=["amparo.referrals"]), timeout=5)
    assert len(one.assignment()) == len(other.assignment()) == 2
    with pytest.raises(TransientError, match="on_revoked did not end within"):
        await one.fetch(max_records=1, timeout_s=0)
    assert await one.fetch(max_records=1, timeout_s=0) == {}


async def test_what_on_revoked_raises_reaches_its_own_member(open_log: OpenLog, tmp_path: Path) -> None:
    log = await open_log(tmp_path)

    async def fail(_: frozenset[TopicPartition]) -> None:
        raise LookupError("the work has no end")

    one = await log.consumer("group", topics=["amparo.referrals"], on_revoked=fail)
    other = await log.consumer("group", topics=["amparo.referrals"])
    with pytest.raises(LookupError, match="the work has no end"):
        await one.fetch(max_records=1, timeout_s=0)
    assert await other.fetch(max_records=1, timeout_s=0) == {}


async def test_a_member_that_leaves_while_it_is_asked_to_let_go_does_not_hold_up_the_group(
    open_log: OpenLog, tmp_path: Path
) -> None:
    log = await SqliteLog.open(tmp_path)
    asked = asyncio.Event()

    async def hang(_: frozenset[TopicPartition]) -> None:
        asked.set()
        await asyncio.Event().wait()

    one = await log.consumer("group", topics=[SINGLE, "amparo.referrals"], on_revoked=hang)
    joining = asyncio.create_task(log.consumer("group", topics=[SINGLE, "amparo.referrals"]))
    await asked.wait()
    await one.close()
    other: Consumer = await asyncio.wait_for(joining, timeout=5)
    assert len(other.assignment()) == 5
    await log.close()


async def test_a_join_that_is_cancelled_leaves_the_partitions_where_they_were(
    open_log: OpenLog, tmp_path: Path
) -> None:
    log = await open_log(tmp_path)
    asked = asyncio.Event()

    async def hang(_: frozenset[TopicPartition]) -> None:
        asked.set()
        await asyncio.Event().wait()

    one = await log.consumer("group", topics=[SINGLE, "amparo.referrals"], on_revoked=hang)
    joining = asyncio.create_task(log.consumer("group", topics=[SINGLE, "amparo.referrals"]))
    await asked.wait()
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert len(one.assignment()) == 5


@pytest.mark.parametrize("position", [-1, 4])
async def test_a_position_outside_of_the_partition_is_refused(open_log: OpenLog, tmp_path: Path, position: int) -> None:
    log = await open_log(tmp_path)
    await log.append(numbered(3))
    consumer = await log.consumer("reader", topics=[SINGLE])
    with pytest.raises(ValueError, match=rf"amparo\.audit\[0\] has offsets 0 to 3, not {position}"):
        await consumer.commit({ONLY: position})
    with pytest.raises(ValueError, match="has offsets 0 to 3"):
        consumer.seek({ONLY: position})


async def test_a_closed_log_takes_and_gives_nothing(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path)
    consumer = await log.consumer("reader", topics=[SINGLE])
    await log.append(numbered(1))
    await log.close()
    with pytest.raises(RuntimeError, match="closed"):
        await log.append(numbered(1))
    with pytest.raises(RuntimeError, match="closed"):
        await log.consumer("reader", topics=[SINGLE])
    with pytest.raises(RuntimeError, match="closed"):
        await consumer.fetch(max_records=1, timeout_s=0)
    with pytest.raises(RuntimeError, match="closed"):
        await consumer.commit({ONLY: 1})
