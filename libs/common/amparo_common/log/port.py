"""The event log in Kafka's terms.

Everything that a caller may rely on stands in these docstrings; `testing/log_contract.py` proves it for every adapter.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec


class TopicPartition(NamedTuple):
    """One ordered sequence of records."""

    topic: str
    partition: int


class NewRecord(msgspec.Struct, frozen=True):
    """A record to append. Records of equal `key` go to the same partition of a topic and keep their order."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Record(msgspec.Struct, frozen=True):
    """A record as it stands in the log. `offset` grows by one within its partition."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    appended_at_ms: int

    @property
    def at(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


#: Partitions of each topic. A number never changes once a log holds records: the key decides the partition.
TOPICS: Final[Mapping[str, int]] = {
    "amparo.reports.urgent": 4,
    "amparo.reports.standard": 4,
    "amparo.incidents.urgent": 4,
    "amparo.incidents.standard": 4,
    "amparo.referrals": 4,
    "amparo.audit": 1,
    "amparo.dlq": 1,
}


def partition_of(key: bytes, *, count: int) -> int:
    """Return the partition of `key`: CRC-32 modulo `count`, the same in every adapter so that topics stay aligned."""
    return zlib.crc32(key) % count


class CorruptRecordError(Exception):
    """A stored record is not what was appended. It names the place and is never served as valid."""

    def __init__(self, at: TopicPartition, offset: int, why: str) -> None:
        super().__init__(f"{at.topic}[{at.partition}] offset {offset}: {why}")
        self.at, self.offset, self.why = at, offset, why


class UnknownTopicError(Exception):
    """A topic that is not in TOPICS."""


def check_topics(topics: Iterable[str]) -> None:
    """Raise UnknownTopicError, naming them, when some of `topics` are not in TOPICS."""
    if unknown := sorted({topic for topic in topics if topic not in TOPICS}):
        raise UnknownTopicError(", ".join(unknown))


OnRevoked = Callable[[frozenset[TopicPartition]], Awaitable[None]]


class Consumer(Protocol):
    """One member of a group. Members of one group share the partitions of their topics; each partition has one reader.

    Order is kept within a partition. A group has one position for each partition (the next offset to read) and there is
    no acknowledgement of single records: what stands before the position counts as read. A group that never committed
    starts at the oldest record. Not safe for use by two tasks at once.
    """

    async def fetch(self, *, max_records: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the next records, at most `max_records` in all, or nothing after `timeout_s` without any.

        The reading place moves past what is returned, the group's position does not: after a failed batch call `seek`.
        Raises CorruptRecordError at a damaged record (those before it are returned first), and again until `seek` moves
        past it; the other partitions go on meanwhile. Raises TransientError when the log does not answer.
        """
        ...

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store the group's position (next offset to read) of partitions that this member holds; durable on return.

        A partition that was taken away meanwhile is ignored: its new reader decides. May move a position back.
        """
        ...

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Move the reading place of partitions that this member holds; others are ignored."""
        ...

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that this member reads now."""
        ...

    async def lag(self) -> Mapping[TopicPartition, int]:
        """Return, for each assigned partition, how many records stand after the committed position."""
        ...

    async def close(self) -> None:
        """Leave the group; its partitions go to the other members at once, without `on_revoked`: its work has ended."""
        ...


class EventLog(Protocol):
    """A durable log of TOPICS, kept without limit."""

    async def append(self, records: Sequence[NewRecord]) -> None:
        """Append in the order given; durable on disk when it returns.

        All or, after an error, an unknown part: append again (readers drop repeats by event id). Raises
        UnknownTopicError before anything is written; TransientError when the log does not take it now.
        """
        ...

    async def consumer(self, group: str, *, topics: Sequence[str], on_revoked: OnRevoked | None = None) -> Consumer:
        """Join `group` as one more reader of `topics`.

        `on_revoked` is awaited, up to a bound, before partitions go to another member, so that running work can end and
        commit; `fetch` returns nothing of those partitions meanwhile. What it raises, the member's next fetch raises.
        """
        ...

    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        """Return the next offset to be written for every partition of `topics`."""
        ...

    async def close(self) -> None:
        """Close every consumer and release what the log holds."""
        ...
