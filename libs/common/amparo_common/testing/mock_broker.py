"""Kafka brokers for tests: librdkafka's mock cluster, served over real TCP on 127.0.0.1 by a process of its own.

The wheel of confluent-kafka carries it. It keeps records in memory, knows no CreateTopics, and forms no groups of more
than one aiokafka member reliably; topics are therefore made here, with the partitions of `log.port.TOPICS`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from amparo_common.log.port import TOPICS

_BROKER: Final = 1


@dataclass(frozen=True)
class MockCluster:
    """A broker of its own with every topic, empty. `bootstrap` is its `host:port`."""

    host: MockBroker
    number: int
    bootstrap: str

    def down(self) -> None:
        """Close the broker's connections and refuse new ones until `up`."""
        self.host.ask("down", cluster=self.number)

    def up(self) -> None:
        """Take connections again; what was stored is still there."""
        self.host.ask("up", cluster=self.number)

    def fail(self, api_key: int, *, errors: Sequence[int]) -> None:
        """Answer the next requests of kind `api_key` (0 is Produce, 1 Fetch, 8 OffsetCommit) with these error codes."""
        self.host.ask("fail", cluster=self.number, api_key=api_key, errors=list(errors))

    def delay(self, milliseconds: int) -> None:
        """Answer every request this much later."""
        self.host.ask("delay", cluster=self.number, milliseconds=milliseconds)

    def destroy(self) -> None:
        """Stop this broker and forget what it held."""
        self.host.ask("destroy", cluster=self.number)


class MockBroker:
    """The process that serves mock clusters; use as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "amparo_common.testing.mock_broker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=10)

    def cluster(self) -> MockCluster:
        """Start a broker; it answers on return."""
        answer = self.ask("new")
        return MockCluster(self, number=answer["cluster"], bootstrap=answer["bootstrap"])

    def ask(self, action: str, **details: Any) -> Mapping[str, Any]:
        """Send one command to the process and return its answer. Raises RuntimeError when it died."""
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise RuntimeError("the mock broker has no pipes")
        requests.write(json.dumps({"action": action, **details}) + "\n")
        requests.flush()
        line = answers.readline()
        if not line:
            raise RuntimeError(f"the mock broker ended with {self._process.wait(timeout=10)}")
        answer: Mapping[str, Any] = json.loads(line)
        return answer


# ---------------------------------------------------------------- inside the process


def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise RuntimeError("the wheel of confluent-kafka is not installed")
    folder = Path(spec.origin).parent.parent / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka*"))))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    library.rd_kafka_conf_new.restype = pointer
    library.rd_kafka_new.restype = pointer
    library.rd_kafka_new.argtypes = [number, pointer, text, ctypes.c_size_t]
    library.rd_kafka_mock_cluster_new.restype = pointer
    library.rd_kafka_mock_cluster_new.argtypes = [pointer, number]
    library.rd_kafka_mock_cluster_bootstraps.restype = text
    library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
    library.rd_kafka_mock_cluster_destroy.argtypes = [pointer]
    library.rd_kafka_mock_topic_create.argtypes = [pointer, text, number, number]
    library.rd_kafka_mock_push_request_errors_array.restype = None
    library.rd_kafka_mock_group_initial_rebalance_delay_ms.restype = None
    library.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [pointer, ctypes.c_int32]
    library.rd_kafka_mock_broker_set_down.argtypes = [pointer, ctypes.c_int32]
    library.rd_kafka_mock_broker_set_up.argtypes = [pointer, ctypes.c_int32]
    library.rd_kafka_mock_broker_set_rtt.argtypes = [pointer, ctypes.c_int32, number]
    library.rd_kafka_mock_push_request_errors_array.argtypes = [pointer, ctypes.c_int16, ctypes.c_size_t, pointer]
    return library


class _Host:
    """Owns the mock clusters of this process. Every command answers with a dictionary."""

    def __init__(self) -> None:
        self._library = _library()
        message = ctypes.create_string_buffer(512)
        self._client = self._library.rd_kafka_new(0, self._library.rd_kafka_conf_new(), message, len(message))
        if not self._client:
            raise RuntimeError(message.value.decode())
        self._clusters: list[tuple[int, str]] = []

    def new(self) -> dict[str, Any]:
        pointer = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        bootstrap = self._library.rd_kafka_mock_cluster_bootstraps(pointer).decode()
        self._clusters.append((pointer, bootstrap))
        number = len(self._clusters) - 1
        for topic, count in TOPICS.items():
            self._call("rd_kafka_mock_topic_create", number, topic.encode(), count, 1)
        # Else a group waits three seconds for more members, which cannot come here.
        self._call("rd_kafka_mock_group_initial_rebalance_delay_ms", number, 0)
        return {"cluster": number, "bootstrap": bootstrap}

    def down(self, *, cluster: int) -> dict[str, Any]:
        return self._call("rd_kafka_mock_broker_set_down", cluster, _BROKER)

    def up(self, *, cluster: int) -> dict[str, Any]:
        return self._call("rd_kafka_mock_broker_set_up", cluster, _BROKER)

    def delay(self, *, cluster: int, milliseconds: int) -> dict[str, Any]:
        return self._call("rd_kafka_mock_broker_set_rtt", cluster, _BROKER, milliseconds)

    def fail(self, *, cluster: int, api_key: int, errors: list[int]) -> dict[str, Any]:
        codes = (ctypes.c_int * len(errors))(*errors)
        return self._call("rd_kafka_mock_push_request_errors_array", cluster, api_key, len(errors), codes)

    def destroy(self, *, cluster: int) -> dict[str, Any]:
        self._library.rd_kafka_mock_cluster_destroy(self._clusters[cluster][0])
        return {}

    def _call(self, name: str, cluster: int, *arguments: Any) -> dict[str, Any]:
        """Have a cluster's thread run a function: it looks for work once a second, or when somebody connects."""
        pointer, bootstrap = self._clusters[cluster]
        answers: list[int | None] = []
        calling = threading.Thread(target=lambda: answers.append(getattr(self._library, name)(pointer, *arguments)))
        calling.start()
        while calling.is_alive():
            with suppress(OSError):
                host, _, port = bootstrap.partition(":")
                socket.create_connection((host, int(port)), timeout=1).close()
            calling.join(0.01)
        if not answers or answers[0]:
            raise RuntimeError(f"{name} answered {answers}")
        return {}


def _serve() -> None:
    host = _Host()
    for line in sys.stdin:
        details = json.loads(line)
        answer = getattr(host, details.pop("action"))(**details)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
