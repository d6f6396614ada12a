"""Metrics of one service and the log of the process. Neither ever holds what a person wrote."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from types import TracebackType
from typing import Any, Final, Literal
from uuid import UUID

import structlog
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

CounterName = Literal[
    "amparo.reports.accepted",
    "amparo.reports.limited",
    "amparo.requests.refused",
    "amparo.tokens.refused",
    "amparo.jwks.fetches",
    "amparo.relay.published",
    "amparo.events.handled",
    "amparo.events.dead",
    "amparo.deliveries",
    "amparo.acknowledgements",
    "amparo.keys.fetched",
    "amparo.reveals",
    "amparo.commits",
    "amparo.tasks.restarted",
]
HistogramName = Literal[
    "amparo.request.duration",
    "amparo.report.to_triage",
    "amparo.report.to_referral",
    "amparo.delivery.duration",
    "amparo.commit.duration",
]
GaugeName = Literal[
    "amparo.outbox.depth",
    "amparo.dead_letters.waiting",
    "amparo.unhandled.oldest_age",
    "amparo.consumer.lag",
    "amparo.queue.depth",
    "amparo.incidents.without_route",
    "amparo.clocks.overdue",
    "amparo.subscriptions.open",
    "amparo.loop.lag",
    "amparo.log.fields_dropped",
]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a name measures. `unit` is UCUM, as OpenTelemetry writes it; Prometheus adds it to the name."""

    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    description: str


#: Every metric of the platform. A name that is not here fails the type check.
METRICS: Final[Mapping[CounterName | HistogramName | GaugeName, Metric]] = {
    "amparo.reports.accepted": Metric("counter", "", "Reports accepted, durable, by lane and channel."),
    "amparo.reports.limited": Metric("counter", "", "Reports over a limit, by what was done with them."),
    "amparo.requests.refused": Metric("counter", "", "Requests answered with a problem, by slug."),
    "amparo.tokens.refused": Metric("counter", "", "Tokens refused, by the check that failed."),
    "amparo.jwks.fetches": Metric("counter", "", "Fetches of the issuer's keys, by outcome."),
    "amparo.relay.published": Metric("counter", "", "Events moved from the outbox to the log, by lane."),
    "amparo.events.handled": Metric("counter", "", "Events handled, by lane."),
    "amparo.events.dead": Metric("counter", "", "Events sent to the dead letters, by reason."),
    "amparo.deliveries": Metric("counter", "", "Attempts to deliver a referral, by outcome and adapter."),
    "amparo.acknowledgements": Metric("counter", "", "Partner acknowledgements, by code."),
    "amparo.keys.fetched": Metric("counter", "", "Data keys asked for, by state."),
    "amparo.reveals": Metric("counter", "", "Reveals of sensitive fields, by purpose and whether allowed."),
    "amparo.commits": Metric("counter", "", "Database commits."),
    "amparo.tasks.restarted": Metric("counter", "", "Background tasks that died and were started again, by task."),
    "amparo.request.duration": Metric("histogram", "s", "Time to answer a request, by route, method and status."),
    "amparo.report.to_triage": Metric("histogram", "s", "From a report's receipt to its first decision, by lane."),
    "amparo.report.to_referral": Metric("histogram", "s", "From a report's receipt to its first referral, by lane."),
    "amparo.delivery.duration": Metric("histogram", "s", "Time of one attempt to deliver, by adapter."),
    "amparo.commit.duration": Metric("histogram", "s", "Time of one database commit."),
    "amparo.outbox.depth": Metric("gauge", "", "Events in the outbox, by lane."),
    "amparo.dead_letters.waiting": Metric("gauge", "", "Dead letters that nobody replayed or discarded."),
    "amparo.unhandled.oldest_age": Metric("gauge", "s", "Age of the oldest report nobody handled, by lane."),
    "amparo.consumer.lag": Metric("gauge", "", "Records after the committed position, by lane."),
    "amparo.queue.depth": Metric("gauge", "", "Incidents that wait for a human, by level."),
    "amparo.incidents.without_route": Metric("gauge", "", "Incidents that no partner takes; a person places them."),
    "amparo.clocks.overdue": Metric("gauge", "", "Running clocks past their due time, by kind."),
    "amparo.subscriptions.open": Metric("gauge", "", "Open GraphQL subscriptions."),
    "amparo.loop.lag": Metric("gauge", "s", "Longest delay of the event loop since the last reading."),
    "amparo.log.fields_dropped": Metric("gauge", "", "Log fields dropped since start, as they are not allow-listed."),
}

#: From a fast answer (1 ms) to a long wait (1 h).
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

#: One reading of a gauge: a number, or numbers with their attributes.
Reading = float | Iterable[tuple[float, Mapping[str, str]]]


class Telemetry:
    """The metrics of one service, apart from those of other services in the same process."""

    content_type: Final = CONTENT_TYPE_LATEST

    def __init__(self, service: str) -> None:
        self.service: Final = service
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        self._provider = MeterProvider(
            metric_readers=[reader],
            resource=Resource({"service.name": service, "service.namespace": "amparo"}),
            exemplar_filter=AlwaysOffExemplarFilter(),
            shutdown_on_exit=False,
        )
        self._meter = self._provider.get_meter("amparo")
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._gauges: dict[str, list[Callable[[], Reading]]] = {}
        self.gauge("amparo.log.fields_dropped", lambda: float(sum(_dropped.values())))

    def counter(self, name: CounterName) -> Counter:
        """Return the counter `name`, the same at every call; `.add(n, {...})` once a batch, not once an item."""
        if name not in self._counters:
            metric = METRICS[name]
            self._counters[name] = self._meter.create_counter(name, metric.unit, metric.description)
        return self._counters[name]

    def histogram(self, name: HistogramName) -> Histogram:
        """Return the histogram `name`, the same at every call."""
        if name not in self._histograms:
            metric = METRICS[name]
            self._histograms[name] = self._meter.create_histogram(
                name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=_BUCKETS
            )
        return self._histograms[name]

    def gauge(self, name: GaugeName, callback: Callable[[], Reading]) -> None:
        """Read `callback` at every scrape, on the event loop: it answers at once from memory.

        Several callbacks of one name are read together; give them attributes that tell them apart.
        """
        callbacks = self._gauges.setdefault(name, [])
        callbacks.append(callback)
        if len(callbacks) > 1:
            return

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [observation for callback in callbacks for observation in _observations(callback())]

        metric = METRICS[name]
        self._meter.create_observable_gauge(name, [observe], metric.unit, metric.description)

    def prometheus(self) -> bytes:
        """Return every metric in Prometheus text, to be served as `content_type`."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Stop measuring."""
        self._provider.shutdown()


def _observations(reading: Reading) -> Iterable[Observation]:
    if isinstance(reading, int | float):
        return [Observation(reading)]
    return [Observation(value, dict(attributes)) for value, attributes in reading]


# ---------------------------------------------------------------------- the log

#: The only fields a log line may have. None of them ever holds what a person wrote, a name, an address or a secret.
_FIELDS: Final = """
    event level timestamp logger service environment task consumer group lane topic partition offset position
    report_id incident_id referral_id partner_id delivery_id event_id message_id entry_id dead_letter_id reference
    kind code reason slug status method route host port attempt attempts count size bytes version sequence depth lag
    seconds duration_ms delay_s retry_in_s error where permission role purpose pack digest migration dialect database
    fault step signal ready client trace_id file adapter outcome alias allowed
"""
ALLOWED_FIELDS: Final = frozenset(_FIELDS.split())
_LONGEST_VALUE: Final = 200
_FRAMES: Final = 6
_dropped: Tally[str] = Tally()


def dropped_fields() -> Mapping[str, int]:
    """Return how often each field was dropped from log lines since the start."""
    return dict(_dropped)


def configure_logging(*, level: str = "info", json: bool = True) -> None:
    """Send structlog's and the standard library's log lines to stderr, one JSON object (or readable line) each.

    Fields that are not in ALLOWED_FIELDS are dropped and counted; exceptions are written by type and place, never with
    their message; a library's message is written as its unfilled template.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    _configure_structlog(renderer, number=number)
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(max(number, logging.WARNING))


def _configure_structlog(renderer: Any, *, number: int) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            place_exceptions,
            keep_allowed_fields,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,
    )


class _Stderr:
    """Writes to the standard error of the moment, which a terminal, a file or a test may have replaced."""

    def __init__(self, *_: Any) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.msg

    def msg(self, line: str) -> None:
        """Write one line at once."""
        sys.stderr.write(line + "\n")


def keep_allowed_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop and count every field that is not allow-listed, and shorten what is left to plain short values."""
    for name in [name for name in event if name not in ALLOWED_FIELDS]:
        del event[name]
        _dropped[name] += 1
    for name, value in event.items():
        event[name] = _plain(value)
    return event


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, UUID | str):
        return str(value)[:_LONGEST_VALUE]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(item) for item in value[:20]]
    return type(value).__name__


def place_exceptions(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by `error` (its type) and `where` (innermost frames): its message may quote a report."""
    given = event.pop("exc_info", None) or event.get("error")
    if given is True:
        given = sys.exc_info()
    if isinstance(given, tuple):
        given = given[1]
    if isinstance(given, BaseException):
        event["error"], event["where"] = error_type(given), place(given.__traceback__)
    elif given is not None and not str(given).isidentifier():
        del event["error"]  # a message, which may quote anything
        _dropped["error"] += 1
    return event


def error_type(error: BaseException) -> str:
    """Name the type of `error` and, where there is one, the type of its cause."""
    cause = error.__cause__
    name = type(error).__qualname__
    return f"{name} from {type(cause).__qualname__}" if cause is not None else name


def place(trace: TracebackType | None) -> str:
    """Write the innermost frames of `trace` as `file:line function`, without source text or values."""
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames))


class _ToStructlog(logging.Handler):
    """Passes the standard library's records on without their arguments, which may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        template = str(record.msg).partition("\n")[0]
        log = structlog.get_logger().bind(logger=record.name)
        error = record.exc_info[1] if record.exc_info else None
        log.log(max(record.levelno, logging.INFO), template, **({"error": error} if error else {}))


# structlog's own default prints messages and local variables of an exception, so nothing may log before this.
_configure_structlog(structlog.processors.JSONRenderer(), number=logging.INFO)
