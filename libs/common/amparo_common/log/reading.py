"""Reading a log from some place to its present end, beside the groups that follow it. No position is ever stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from amparo_common.errors import TransientError
from amparo_common.log.port import TOPICS, Consumer, EventLog, Record, TopicPartition

_JOIN_S: Final = 10.0
_SILENCE_S: Final = 15.0
_FETCH_S: Final = 1.0


async def read_to_end(
    log: EventLog,
    *,
    group: str,
    topics: Sequence[str],
    places: Mapping[TopicPartition, int] | None = None,
    ends: Mapping[TopicPartition, int] | None = None,
    max_records: int = 200,
) -> AsyncGenerator[Sequence[Record], None]:
    """Yield records from `places` (default: the oldest) up to `ends` (default: the present ones).

    What is yielded at a time is of one partition. Close the generator (`aclosing`) when it is left early. `group` is
    one of the reader's own, which must have no other member. Raises TransientError when it has one or the log falls
    silent before its end, CorruptRecordError at a damaged record.
    """
    ends = await log.end_offsets(topics) if ends is None else ends
    reached = {at: (places or {}).get(at, 0) for at in ends}
    if all(reached[at] >= end for at, end in ends.items()):
        return
    async with _alone(log, group=group, topics=topics) as consumer:
        consumer.seek(reached)
        while any(reached[at] < end for at, end in ends.items()):
            for at, records in (await _fetched(consumer, max_records=max_records)).items():
                reached[at] = records[-1].offset + 1
                if within := [record for record in records if record.offset < ends[at]]:
                    yield within


@asynccontextmanager
async def _alone(log: EventLog, *, group: str, topics: Sequence[str]) -> AsyncIterator[Consumer]:
    wanted = frozenset(TopicPartition(topic, number) for topic in topics for number in range(TOPICS[topic]))
    consumer = await log.consumer(group, topics=topics)
    try:
        try:
            async with asyncio.timeout(_JOIN_S):
                while consumer.assignment() != wanted:
                    await consumer.fetch(max_records=1, timeout_s=0.1)
        except TimeoutError as error:
            raise TransientError("somebody else reads the log for this at the moment") from error
        yield consumer
    finally:
        await consumer.close()


async def _fetched(consumer: Consumer, *, max_records: int) -> Mapping[TopicPartition, Sequence[Record]]:
    try:
        async with asyncio.timeout(_SILENCE_S):
            while True:
                if batch := await consumer.fetch(max_records=max_records, timeout_s=_FETCH_S):
                    return batch
    except TimeoutError as error:
        raise TransientError("the log gives no more records before its end") from error
