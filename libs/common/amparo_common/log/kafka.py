"""The event log on Apache Kafka, through aiokafka. Thin: Kafka's own terms are the port's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import (  # type: ignore[import-untyped]  # noqa: TID251 - this is the file that speaks to Kafka
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerStoppedError,
    TopicPartition as KafkaPartition,
)
from aiokafka.errors import (  # type: ignore[import-untyped]  # noqa: TID251 - this is the file that speaks to Kafka
    CommitFailedError,
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
)

from amparo_common.errors import TransientError
from amparo_common.log.port import (
    TOPICS,
    Consumer,
    CorruptRecordError,
    NewRecord,
    OnRevoked,
    Record,
    TopicPartition,
    check_topics,
    partition_of,
)

#: How long one request, with aiokafka's own repeats, may take before the caller is told to try later.
_PATIENCE_S: Final = 15.0
_REVOKE_S: Final = 10.0
#: A consumer that gets nothing for this long while records wait is made anew: aiokafka does not always come back after
#: an outage (aio-libs/aiokafka#703, #1154).
_SILENCE_S: Final = 20.0


class KafkaLog:
    """Keeps EventLog's contract. Connects when it is first used, so that a service starts while Kafka is away.

    `session_s` is how long a member may be silent before its partitions go to others; `silence_s` after how long of
    getting nothing a consumer checks whether it should have; `patience_s` bounds each request.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "amparo",
        session_s: float = 10.0,
        silence_s: float = _SILENCE_S,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._options = {"bootstrap_servers": bootstrap, "client_id": client_id}
        self._session_ms, self._silence_s, self._patience_s = int(session_s * 1000), silence_s, patience_s
        self._connecting = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None
        self._observer: AIOKafkaConsumer | None = None
        self._consumers: set[_KafkaConsumer] = set()
        self._closed = False

    async def append(self, records: Sequence[NewRecord]) -> None:
        """Keep EventLog.append. Raises ValueError for a record that is larger than Kafka takes."""
        check_topics(record.topic for record in records)
        self._check_open()
        if not records:
            return
        producer = await self._producing()
        try:
            async with _answered("append", within_s=self._patience_s):
                await _send(producer, records)
        except TransientError:
            # What an idempotent producer does after an error that it cannot resolve is not defined: a new one is.
            await self._discard(producer)
            raise

    async def consumer(self, group: str, *, topics: Sequence[str], on_revoked: OnRevoked | None = None) -> Consumer:
        """Keep EventLog.consumer. Raises TransientError when the group gives no partitions in time."""
        check_topics(topics)
        self._check_open()
        consumer = _KafkaConsumer(
            {
                **self._options,
                "group_id": group,
                "session_timeout_ms": self._session_ms,
                "heartbeat_interval_ms": self._session_ms // 3,
            },
            topics=topics,
            on_revoked=on_revoked,
            silence_s=self._silence_s,
            patience_s=self._patience_s,
        )
        self._consumers.add(consumer)
        try:
            await consumer.join()
        except BaseException:
            self._consumers.discard(consumer)
            await consumer.close()
            raise
        return consumer

    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        """Keep EventLog.end_offsets."""
        check_topics(topics)
        self._check_open()
        async with _answered("end_offsets", within_s=self._patience_s):
            async with self._connecting:
                if self._observer is None:
                    observer = AIOKafkaConsumer(**self._options)
                    await _started(observer)
                    self._observer = observer
            wanted = [KafkaPartition(topic, number) for topic in topics for number in range(TOPICS[topic])]
            return _ours(await self._observer.end_offsets(wanted))

    async def close(self) -> None:
        """Keep EventLog.close."""
        self._closed = True
        for consumer in tuple(self._consumers):
            await consumer.close()
        self._consumers.clear()
        for client in (self._producer, self._observer):
            if client is not None:
                await _stopped(client)
        self._producer = self._observer = None

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the event log is closed")

    async def _producing(self) -> AIOKafkaProducer:
        async with self._connecting, _answered("connect", within_s=self._patience_s):
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=5,
                    max_batch_size=128 * 1024,
                    request_timeout_ms=int(self._patience_s * 1000),
                )
                await _started(producer)
                self._producer = producer
            return self._producer

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
        await _stopped(producer)


class _KafkaConsumer:
    """Keeps Consumer's contract.

    The next offset to read is kept here too: aiokafka moves its own place when it hands records over, also when an
    error then keeps them from the caller, and it would jump over records that the broker lost.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        topics: Sequence[str],
        on_revoked: OnRevoked | None,
        silence_s: float,
        patience_s: float,
    ) -> None:
        self._options, self._topics = options, list(topics)
        self._silence_s, self._patience_s = silence_s, patience_s
        self._hands = _Hands(self, on_revoked=on_revoked)
        self._inner: AIOKafkaConsumer | None = None
        self._places: dict[TopicPartition, int] = {}
        self._heard_at, self._joined, self._closed = time.monotonic(), False, False

    async def join(self) -> None:
        """Connect, also anew, and wait for a share of the partitions."""
        self._hands.settled.clear()
        if self._inner is not None:
            await _stopped(self._inner)
        inner = AIOKafkaConsumer(**self._options, enable_auto_commit=False, auto_offset_reset="earliest")
        inner.subscribe(self._topics, listener=self._hands)
        self._inner = inner
        # Longer than other requests: the group may wait for the running work of another member to end.
        async with _answered("join", within_s=self._patience_s + _REVOKE_S):
            await _started(inner)
            await self._hands.settled.wait()
        self._joined, self._heard_at = True, time.monotonic()

    async def place(self, partitions: Iterable[KafkaPartition]) -> None:
        """Begin to read newly given partitions at the group's position, or at their oldest record."""
        wanted = list(partitions)
        committed = await asyncio.gather(*(self._held().committed(at) for at in wanted))
        self._places = {TopicPartition(*at): place or 0 for at, place in zip(wanted, committed, strict=True)}
        self._rewind(self._places)

    async def fetch(self, *, max_records: int, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Keep Consumer.fetch. During a change of hands it returns nothing a little later than asked."""
        if self._closed:
            raise RuntimeError("the consumer is closed")
        if not self._joined:
            await self.join()
        try:
            async with asyncio.timeout(timeout_s + 1.0):
                found = await self._held().getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except ConsumerStoppedError:
            return {}
        except TimeoutError:
            self._rewind()
            return {}
        except BaseException as error:
            self._rewind()
            if isinstance(error, CorruptRecordException):
                raise self._located(error) from error
            if isinstance(error, KafkaError):
                raise TransientError(f"the event log does not answer: {type(error).__name__}") from error
            raise
        return await self._taken(found)

    async def _taken(self, found: Mapping[KafkaPartition, Sequence[Any]]) -> dict[TopicPartition, Sequence[Record]]:
        held = self.assignment()
        batch: dict[TopicPartition, Sequence[Record]] = {}
        for at, messages in found.items():
            if at in held:
                records = [_record(message) for message in messages]
                expected = self._places.get(records[0].at, records[0].offset)
                if (first := records[0].offset) != expected:
                    self._rewind()
                    raise CorruptRecordError(records[0].at, expected, f"missing; the next record found is {first}")
                batch[records[0].at] = records
        self._places |= {at: records[-1].offset + 1 for at, records in batch.items()}
        if batch:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > self._silence_s:
            await self._look_after()
        return batch

    async def _look_after(self) -> None:
        """Have the next fetch join anew when this consumer hears nothing although records wait."""
        async with _answered("end_offsets", within_s=self._patience_s):
            ends = await self._held().end_offsets([KafkaPartition(*at) for at in self.assignment()])
        self._heard_at = time.monotonic()
        if not ends or any(self._places.get(at, 0) < end for at, end in _ours(ends).items()):
            self._joined = False

    def _rewind(self, partitions: Iterable[TopicPartition] | None = None) -> None:
        """Set aiokafka's reading places back to what was really handed over."""
        for at in self.assignment() if partitions is None else partitions:
            if at in self._places:
                self._held().seek(KafkaPartition(*at), self._places[at])

    def _located(self, error: CorruptRecordException) -> CorruptRecordError:
        named = [at for at in self.assignment() if str(KafkaPartition(*at)) in str(error)]
        at = named[0] if named else TopicPartition(self._topics[0], 0)
        return CorruptRecordError(at, self._places.get(at, 0), "the checksum of its batch does not fit")

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Keep Consumer.commit."""
        held = self._hands.held
        offsets = {KafkaPartition(*at): position for at, position in positions.items() if at in held}
        if not offsets:
            return
        # Membership that ended meanwhile took the partitions away; their next reader starts at the last position.
        with suppress(CommitFailedError, IllegalStateError):
            async with _answered("commit", within_s=self._patience_s):
                await self._held().commit(offsets)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Keep Consumer.seek."""
        held = self.assignment()
        for at, position in positions.items():
            if at in held:
                self._held().seek(KafkaPartition(*at), position)
                self._places[at] = position

    def assignment(self) -> frozenset[TopicPartition]:
        """Keep Consumer.assignment."""
        return self._hands.held - self._hands.leaving

    async def lag(self) -> Mapping[TopicPartition, int]:
        """Keep Consumer.lag."""
        async with _answered("lag", within_s=self._patience_s):
            partitions = [KafkaPartition(*at) for at in self.assignment()]
            ends = await self._held().end_offsets(partitions)
            committed = await asyncio.gather(*(self._held().committed(at) for at in partitions))
        return {TopicPartition(*at): ends[at] - (place or 0) for at, place in zip(partitions, committed, strict=True)}

    async def close(self) -> None:
        """Keep Consumer.close."""
        if not self._closed:
            self._closed = True
            if self._inner is not None:
                await _stopped(self._inner)

    def _held(self) -> AIOKafkaConsumer:
        if self._inner is None:
            raise RuntimeError("the consumer has not joined its group")
        return self._inner


class _Hands(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Follows which partitions come and go: in the classic protocol all go at each change of the group."""

    def __init__(self, consumer: _KafkaConsumer, *, on_revoked: OnRevoked | None) -> None:
        self._consumer, self._on_revoked = consumer, on_revoked
        self.held: frozenset[TopicPartition] = frozenset()
        self.leaving: frozenset[TopicPartition] = frozenset()
        self.settled = asyncio.Event()

    async def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        self.leaving = frozenset(TopicPartition(*at) for at in revoked)
        try:
            if self.leaving and self._on_revoked is not None:
                # Bounded: a member that hangs here would hold up the whole group.
                async with asyncio.timeout(_REVOKE_S):
                    await self._on_revoked(self.leaving)
        finally:
            self.held = self.leaving = frozenset()

    async def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        assigned = tuple(assigned)
        async with asyncio.timeout(_PATIENCE_S):
            await self._consumer.place(assigned)
        self.held = frozenset(TopicPartition(*at) for at in assigned)
        self.settled.set()


async def _send(producer: AIOKafkaProducer, records: Sequence[NewRecord]) -> None:
    sent: list[asyncio.Future[Any]] = []
    for record in records:
        future = await producer.send(
            record.topic,
            record.value,
            key=record.key,
            partition=partition_of(record.key, count=TOPICS[record.topic]),
            headers=list(record.headers),
        )
        # Retrieved in any case, or asyncio would report those behind the first error.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        sent.append(future)
    await asyncio.wait(sent)
    for future in sent:
        future.result()


def _record(message: Any) -> Record:
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=tuple(message.headers),
        appended_at_ms=message.timestamp,
    )


@asynccontextmanager
async def _answered(what: str, *, within_s: float) -> AsyncIterator[None]:
    """Bound a request in time and turn Kafka's errors into the port's."""
    try:
        async with asyncio.timeout(within_s):
            yield
    except MessageSizeTooLargeError as error:
        raise ValueError(f"Kafka does not take a record of this size: {error}") from error
    except (CommitFailedError, IllegalStateError):
        raise
    except (KafkaError, ProducerClosed, ConsumerStoppedError, TimeoutError, OSError) as error:
        raise TransientError(f"the event log did not answer to {what}: {type(error).__name__}") from error


async def _started(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    try:
        await client.start()
    except BaseException:
        await _stopped(client)
        raise


async def _stopped(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client, bounded: without a broker it would wait for answers that do not come."""
    connections = client.client if isinstance(client, AIOKafkaProducer) else client._client  # noqa: SLF001 - see below
    with suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(3.0):
            await client.stop()
    # A stop that was cut off leaves its connections open, and gives no other way to them.
    await connections.close()


def _ours(offsets: Mapping[KafkaPartition, int]) -> dict[TopicPartition, int]:
    return {TopicPartition(*at): offset for at, offset in offsets.items()}
