"""What intake listens to: incidents and referrals, so that a reporter can see how a case goes."""

from __future__ import annotations

from amparo_common.clock import Clock
from amparo_common.consumer import BatchConsumer
from amparo_common.db.port import Database
from amparo_common.events.streams import Stream, topic_of
from amparo_common.log.port import EventLog
from amparo_common.vocabulary.codes import Lane
from amparo_intake.service import Intake
from amparo_intake.settings import SERVICE


def case_consumer(intake: Intake, *, log: EventLog, database: Database, clock: Clock) -> BatchConsumer:
    """Make the consumer of both lanes of incidents, and of referrals beside the standard lane."""
    return BatchConsumer(
        service=SERVICE,
        group=SERVICE,
        topics_by_lane={
            Lane.URGENT: [topic_of(Stream.INCIDENTS, lane=Lane.URGENT)],
            Lane.STANDARD: [
                topic_of(Stream.INCIDENTS, lane=Lane.STANDARD),
                topic_of(Stream.REFERRALS, lane=Lane.STANDARD),
            ],
        },
        log=log,
        database=database,
        clock=clock,
        handle=intake.follow,
    )
