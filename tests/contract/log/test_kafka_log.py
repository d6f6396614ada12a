"""KafkaLog keeps the contract of the event log, as far as the mock broker can show it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from amparo_common.log.kafka import KafkaLog
from amparo_common.testing.log_contract import EventLogContract
from amparo_common.testing.log_records import OpenLog
from amparo_common.testing.mock_broker import MockBroker, MockCluster

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def broker() -> Iterator[MockBroker]:
    with MockBroker() as broker:
        yield broker


@pytest.fixture
def cluster(broker: MockBroker) -> Iterator[MockCluster]:
    cluster = broker.cluster()
    yield cluster
    cluster.destroy()


class TestKafkaLog(EventLogContract):
    cannot = {  # noqa: RUF012 - overrides a constant
        "two_members": "librdkafka's mock broker forms no group of two aiokafka members reliably; needs a real Kafka"
    }

    @pytest.fixture
    async def open_log(self, cluster: MockCluster) -> AsyncIterator[OpenLog]:
        opened: list[KafkaLog] = []

        async def open_log() -> KafkaLog:
            opened.append(KafkaLog(cluster.bootstrap, session_s=1.2))
            return opened[-1]

        yield open_log
        for log in opened:
            await log.close()
