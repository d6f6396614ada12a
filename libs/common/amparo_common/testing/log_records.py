"""What tests of the event log share: records to write, and bounded reading."""

# ruff: noqa: S101 - used by tests alone

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from amparo_common.log.port import Consumer, EventLog, NewRecord, Record, TopicPartition

OpenLog = Callable[[], Awaitable[EventLog]]
REPORTS: Final = "amparo.reports.standard"
INCIDENTS: Final = "amparo.incidents.standard"
#: A topic of one partition: what is said of one partition is said of it.
SINGLE: Final = "amparo.audit"
ONLY: Final = TopicPartition(SINGLE, 0)
PATIENCE_S: Final = 15.0


def numbered(count: int, *, topic: str = SINGLE, keys: int = 1, start: int = 0) -> list[NewRecord]:
    """Make records whose value is their number, dealt round over `keys` keys."""
    return [
        NewRecord(topic=topic, key=f"key-{number % keys}".encode(), value=str(number).encode())
        for number in range(start, start + count)
    ]


async def fetched(consumer: Consumer, count: int) -> list[Record]:
    """Fetch until `count` records came, in the order in which they came. Fails after a bounded time."""
    records: list[Record] = []
    end = time.monotonic() + PATIENCE_S
    while len(records) < count and time.monotonic() < end:
        batch = await consumer.fetch(max_records=count - len(records), timeout_s=0.5)
        records += [record for part in batch.values() for record in part]
    assert len(records) == count, f"{len(records)} of {count} records came"
    return records


async def nothing_more(consumer: Consumer) -> None:
    """Check that the consumer has nothing to read."""
    assert not await consumer.fetch(max_records=10, timeout_s=0.3)


def numbers(records: Sequence[Record]) -> list[int]:
    """Return the numbers that `numbered` wrote."""
    return [int(record.value) for record in records]
