"""Which streams triage takes: reports in two lanes, and referrals for the clock of the first one."""

from __future__ import annotations

from typing import Final

from amparo_common.clock import Clock
from amparo_common.consumer import BatchConsumer
from amparo_common.db.port import Database
from amparo_common.events.streams import Stream, topic_of
from amparo_common.log.port import EventLog
from amparo_common.vocabulary.codes import Lane
from amparo_triage.service import GROUP, Triage

#: Referrals travel with the standard lane: nothing urgent waits for them.
TOPICS: Final = {
    Lane.URGENT: (topic_of(Stream.REPORTS, lane=Lane.URGENT),),
    Lane.STANDARD: (topic_of(Stream.REPORTS, lane=Lane.STANDARD), topic_of(Stream.REFERRALS, lane=Lane.STANDARD)),
}


def reports_consumer(triage: Triage, *, log: EventLog, database: Database, clock: Clock) -> BatchConsumer:
    """Make the consumer of `triage`."""
    return BatchConsumer(
        service="triage",
        group=GROUP,
        topics_by_lane=TOPICS,
        log=log,
        database=database,
        clock=clock,
        handle=triage.handle,
    )
