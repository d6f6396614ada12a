"""Which events the gateway takes, and how it starts over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from amparo_common.clock import Clock
from amparo_common.consumer import BatchConsumer
from amparo_common.db.port import Database
from amparo_common.errors import TransientError
from amparo_common.events.streams import Stream, topic_of
from amparo_common.log.port import TOPICS, EventLog, TopicPartition
from amparo_common.vocabulary.codes import Lane
from amparo_gateway import service
from amparo_gateway.live.hub import Hub
from amparo_gateway.settings import SERVICE

#: The reports stream is not read: what is shown of a report comes with its joining, on the incidents stream.
_READ: Final[Mapping[Lane, Sequence[str]]] = {
    Lane.URGENT: (topic_of(Stream.INCIDENTS, lane=Lane.URGENT),),
    Lane.STANDARD: (
        topic_of(Stream.INCIDENTS, lane=Lane.STANDARD),
        topic_of(Stream.REFERRALS, lane=Lane.STANDARD),
        topic_of(Stream.AUDIT, lane=Lane.STANDARD),
    ),
}
TOPICS_READ: Final = tuple(topic for lane in _READ.values() for topic in lane)
_JOIN_S: Final = 10.0


def projection_consumer(
    *, log: EventLog, own: Database, projection: Database, clock: Clock, hub: Hub | None = None
) -> BatchConsumer:
    """Make the consumer that keeps `projection` and feeds `hub`; what cannot be applied goes to the outbox of `own`."""
    return BatchConsumer(
        service=SERVICE,
        group=SERVICE,
        topics_by_lane=_READ,
        log=log,
        database=own,
        clock=clock,
        handle=partial(service.apply, projection, hub=hub),
    )


async def rewind_once(log: EventLog, *, projection: Database, clock: Clock) -> bool:
    """Start over from the oldest record when `projection` is new, was dropped or has new tables; say whether it did.

    The positions lie in the log and the rows in the projection: a new file would miss what was read into the old one.
    The mark is stored after the positions, so a crash between the two rewinds once more.
    """
    if await service.is_filled_from_the_start(projection):
        return False
    # What stands was written into other tables; a row of the same version would not be written again.
    await service.drop(projection)
    await _rewind(log)
    await service.mark_filled_from_the_start(projection, now=clock.now())
    return True


async def _rewind(log: EventLog) -> None:
    wanted = frozenset(TopicPartition(topic, number) for topic in TOPICS_READ for number in range(TOPICS[topic]))
    consumer = await log.consumer(SERVICE, topics=TOPICS_READ)
    try:
        async with asyncio.timeout(_JOIN_S):
            while consumer.assignment() != wanted:
                await consumer.fetch(max_records=1, timeout_s=0.1)
        await consumer.commit(dict.fromkeys(wanted, 0))
    except TimeoutError as error:
        raise TransientError("another gateway reads the log; stop it before the projection starts over") from error
    finally:
        await consumer.close()
