"""A question sees what stood in the log when it came, and waits for it no longer than it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from amparo_common.log.port import NewRecord, TopicPartition
from amparo_common.log.sqlite import SqliteLog
from amparo_gateway.freshness import Freshness

pytestmark = pytest.mark.anyio

TOPIC = "amparo.audit"
AT = TopicPartition(TOPIC, 0)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(tmp_path / "log")
    await opened.append([NewRecord(topic=TOPIC, key=b"k", value=b"1"), NewRecord(topic=TOPIC, key=b"k", value=b"2")])
    yield opened
    await opened.close()


async def test_it_waits_until_the_projection_holds_what_stands_in_the_log(log: SqliteLog) -> None:
    applied = {AT: 0}
    waiting = asyncio.ensure_future(Freshness(log, topics=[TOPIC], applied=lambda: applied, patience_s=5).wait())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    applied[AT] = 1
    await asyncio.sleep(0.02)
    assert not waiting.done()
    applied[AT] = 2
    await asyncio.wait_for(waiting, 1)


async def test_what_comes_after_the_question_is_not_waited_for(log: SqliteLog) -> None:
    applied = {AT: 1}
    waiting = asyncio.ensure_future(Freshness(log, topics=[TOPIC], applied=lambda: applied, patience_s=5).wait())
    await asyncio.sleep(0.02)
    await log.append([NewRecord(topic=TOPIC, key=b"k", value=b"3")])
    applied[AT] = 2
    await asyncio.wait_for(waiting, 1)


async def test_a_projection_that_is_far_behind_is_not_waited_for_for_ever(log: SqliteLog) -> None:
    began = time.monotonic()
    await Freshness(log, topics=[TOPIC], applied=dict, patience_s=0.05).wait()
    assert 0.04 < time.monotonic() - began < 3
