"""Which events referral takes, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from amparo_common.clock import Clock
from amparo_common.consumer import BatchConsumer
from amparo_common.db.port import Database
from amparo_common.events.codec import Received
from amparo_common.events.streams import Stream, topic_of
from amparo_common.log.port import EventLog
from amparo_common.vocabulary.codes import Lane
from amparo_referral.changes import SERVICE
from amparo_referral.service import Desk, take

#: Incidents are what referral works on; of the reports only their erasure matters.
STREAMS: Final = (Stream.INCIDENTS, Stream.REPORTS)


def consumer_of(desk: Desk, *, log: EventLog, database: Database, clock: Clock) -> BatchConsumer:
    """Make the consumer that hands batches of both lanes to the desk."""

    async def handle(deliveries: Sequence[Received]) -> None:
        await take(desk, deliveries)

    return BatchConsumer(
        service=SERVICE,
        group=SERVICE,
        topics_by_lane={lane: [topic_of(stream, lane=lane) for stream in STREAMS] for lane in Lane},
        log=log,
        database=database,
        clock=clock,
        handle=handle,
    )
