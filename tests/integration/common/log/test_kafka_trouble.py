"""KafkaLog through outages and errors of the broker: callers are told, and everything goes on by itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from amparo_common.errors import TransientError
from amparo_common.log.kafka import KafkaLog
from amparo_common.log.port import NewRecord
from amparo_common.testing.log_records import ONLY, SINGLE, fetched, numbered, numbers
from amparo_common.testing.mock_broker import MockBroker, MockCluster

pytestmark = pytest.mark.anyio

PRODUCE, OFFSET_COMMIT = 0, 8
NOT_ENOUGH_REPLICAS, REQUEST_TIMED_OUT, TOPIC_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED = 19, 7, 29, 30


@pytest.fixture(scope="module")
def broker() -> Iterator[MockBroker]:
    with MockBroker() as broker:
        yield broker


@pytest.fixture
def cluster(broker: MockBroker) -> Iterator[MockCluster]:
    cluster = broker.cluster()
    yield cluster
    cluster.destroy()


@pytest.fixture
async def log(cluster: MockCluster) -> AsyncIterator[KafkaLog]:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    log = KafkaLog(cluster.bootstrap, session_s=1.2, silence_s=1.0, patience_s=1.5)
    yield log
    await log.close()
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)


async def appended(log: KafkaLog, records: list[NewRecord]) -> None:
    """Append as the relay does: again until the log takes it. Fails after 20 s."""
    end = time.monotonic() + 20
    while True:
        try:
            await log.append(records)
        except TransientError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def test_a_log_that_is_first_used_during_an_outage_works_afterwards(log: KafkaLog, cluster: MockCluster) -> None:
    cluster.down()
    with pytest.raises(TransientError):
        await log.append(numbered(1))
    with pytest.raises(TransientError):
        await log.end_offsets([SINGLE])
    with pytest.raises(TransientError):
        await log.consumer("reader", topics=[SINGLE])
    cluster.up()
    await appended(log, numbered(2))
    assert numbers(await fetched(await log.consumer("reader", topics=[SINGLE]), 2)) == [0, 1]


@pytest.mark.slow
async def test_an_outage_under_way_is_said_in_time_and_survived(log: KafkaLog, cluster: MockCluster) -> None:
    await log.append(numbered(2))
    consumer = await log.consumer("reader", topics=[SINGLE])
    await fetched(consumer, 2)
    await consumer.commit({ONLY: 2})
    cluster.down()
    start = time.monotonic()
    with pytest.raises(TransientError):
        await log.append(numbered(1, start=2))
    with pytest.raises(TransientError):
        await consumer.lag()
    assert time.monotonic() - start < 12
    cluster.up()
    await appended(log, numbered(1, start=3))
    came: set[int] = set()
    end = time.monotonic() + 20
    while 3 not in came and time.monotonic() < end:
        try:
            batch = await consumer.fetch(max_records=10, timeout_s=0.5)
        except TransientError:
            continue
        came |= {int(record.value) for records in batch.values() for record in records}
    # What was appended in the outage is stored or not; what was acknowledged is there.
    assert 3 in came
    assert came <= {0, 1, 2, 3}


async def test_errors_that_pass_are_not_seen_by_the_caller(log: KafkaLog, cluster: MockCluster) -> None:
    await log.append(numbered(1))
    cluster.fail(PRODUCE, errors=[NOT_ENOUGH_REPLICAS, REQUEST_TIMED_OUT])
    await log.append(numbered(1, start=1))
    assert numbers(await fetched(await log.consumer("reader", topics=[SINGLE]), 2)) == [0, 1]


async def test_an_error_that_stays_is_told_and_the_next_append_works(log: KafkaLog, cluster: MockCluster) -> None:
    await log.append(numbered(1))
    cluster.fail(PRODUCE, errors=[TOPIC_AUTHORIZATION_FAILED])
    with pytest.raises(TransientError, match="TopicAuthorizationFailed"):
        await log.append(numbered(1, start=1))
    await log.append(numbered(1, start=2))
    assert numbers(await fetched(await log.consumer("reader", topics=[SINGLE]), 2)) == [0, 2]


async def test_a_commit_that_is_refused_is_told(log: KafkaLog, cluster: MockCluster) -> None:
    await log.append(numbered(2))
    consumer = await log.consumer("reader", topics=[SINGLE])
    await fetched(consumer, 2)
    cluster.fail(OFFSET_COMMIT, errors=[GROUP_AUTHORIZATION_FAILED])
    with pytest.raises(TransientError, match="commit"):
        await consumer.commit({ONLY: 2})
    await consumer.commit({ONLY: 2})
    assert await consumer.lag() == {ONLY: 0}


async def test_a_record_that_is_too_large_is_no_reason_to_try_again(log: KafkaLog) -> None:
    with pytest.raises(ValueError, match="does not take a record of this size"):
        await log.append([NewRecord(topic=SINGLE, key=b"k", value=b"x" * 2_000_000)])
    await log.append(numbered(1))
    assert (await log.end_offsets([SINGLE]))[ONLY] == 1


async def test_a_slow_broker_is_only_slow(log: KafkaLog, cluster: MockCluster) -> None:
    cluster.delay(100)
    await log.append(numbered(3))
    assert numbers(await fetched(await log.consumer("reader", topics=[SINGLE]), 3)) == [0, 1, 2]


async def test_a_consumer_that_hears_nothing_although_records_wait_joins_anew(log: KafkaLog) -> None:
    """aiokafka does not always come back after an outage (aio-libs/aiokafka#703, #1154)."""
    await log.append(numbered(2))
    consumer = await log.consumer("reader", topics=[SINGLE])
    await fetched(consumer, 1)
    await consumer.commit({ONLY: 1})
    deaf = consumer._inner  # type: ignore[attr-defined]
    deaf.pause(*deaf.assignment())
    assert numbers(await fetched(consumer, 1)) == [1]
    assert consumer._inner is not deaf  # type: ignore[attr-defined]
