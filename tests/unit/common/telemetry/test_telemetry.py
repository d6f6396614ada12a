"""Metrics are apart for each service, log lines hold allow-listed fields only."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import get_args

import pytest
import structlog

from amparo_common import telemetry
from amparo_common.telemetry import METRICS, Telemetry, configure_logging, dropped_fields
from amparo_common.vocabulary.codes import Lane

SECRET = "what-a-child-wrote"


@pytest.fixture
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    telemetry._configure_structlog(structlog.processors.JSONRenderer(), number=logging.INFO)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_every_name_of_the_type_stands_in_the_table_with_its_kind() -> None:
    names = {
        "counter": get_args(telemetry.CounterName),
        "histogram": get_args(telemetry.HistogramName),
        "gauge": get_args(telemetry.GaugeName),
    }
    assert {name: metric.kind for name, metric in METRICS.items()} == {
        name: kind for kind, group in names.items() for name in group
    }


def test_two_services_of_one_process_count_apart() -> None:
    intake, triage = Telemetry("intake"), Telemetry("triage")
    intake.counter("amparo.reports.accepted").add(3, {"lane": "urgent"})
    assert 'amparo_reports_accepted_total{lane="urgent"} 3.0' in intake.prometheus().decode()
    assert "amparo_reports_accepted" not in triage.prometheus().decode()
    assert 'service_name="triage"' in triage.prometheus().decode()


def test_a_batch_is_one_addition_and_a_second_reading_counts_nothing_twice() -> None:
    service = Telemetry("intake")
    for _ in range(2):
        service.counter("amparo.commits").add(500)
    service.prometheus()
    assert "amparo_commits_total 1000.0" in service.prometheus().decode()


def test_a_gauge_reads_all_its_callbacks() -> None:
    service = Telemetry("triage")
    service.gauge("amparo.consumer.lag", lambda: [(2, {"lane": "urgent"})])
    service.gauge("amparo.consumer.lag", lambda: [(5, {"lane": "standard"})])
    service.gauge("amparo.outbox.depth", lambda: 7)
    text = service.prometheus().decode()
    assert 'amparo_consumer_lag{lane="urgent"} 2.0' in text
    assert 'amparo_consumer_lag{lane="standard"} 5.0' in text
    assert "amparo_outbox_depth 7.0" in text


def test_a_histogram_has_buckets_from_milliseconds_to_an_hour() -> None:
    service = Telemetry("triage")
    service.histogram("amparo.report.to_triage").record(0.004, {"lane": "urgent"})
    text = service.prometheus().decode()
    assert 'amparo_report_to_triage_seconds_bucket{lane="urgent",le="0.005"} 1.0' in text
    assert 'le="3600"' in text


@pytest.mark.usefixtures("_logging")
def test_a_field_that_is_not_allowed_is_dropped_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    before = dropped_fields().get("text", 0)
    structlog.get_logger().info("taken", report_id="r-1", lane=Lane.URGENT, text=SECRET)
    (line,) = logged(capsys)
    assert line["report_id"] == "r-1"
    assert line["lane"] == "URGENT"
    assert "text" not in line
    assert dropped_fields()["text"] == before + 1
    assert "amparo_log_fields_dropped" in Telemetry("intake").prometheus().decode()


@pytest.mark.usefixtures("_logging")
def test_an_exception_is_logged_by_type_and_place_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    log = structlog.get_logger()
    try:
        int(SECRET)
    except ValueError as error:
        log.exception("by itself")
        log.warning("as a field", error=error)
        log.warning("as text", error=f"it said {error}")
        logging.getLogger("library").exception("a library wrote %s", SECRET)
    output = capsys.readouterr().err
    assert SECRET not in output
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line.get("error") for line in lines] == ["ValueError", "ValueError", None, "ValueError"]
    assert "test_telemetry.py" in lines[0]["where"]


@pytest.mark.usefixtures("_logging")
def test_a_value_of_another_type_is_named_only(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    structlog.get_logger().info("odd", reason={"text": SECRET}, code=SECRET.encode(), count=[1, "a"], detail=SECRET)
    (line,) = logged(capsys)
    assert line["reason"] == "dict"
    assert line["code"] == "bytes"
    assert line["count"] == [1, "a"]


@pytest.mark.usefixtures("_logging")
def test_a_line_stays_one_line_and_short(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    structlog.get_logger().info("broken", reason="a\nb" + "c" * 1000)
    (line,) = logged(capsys)
    assert len(str(line["reason"])) == 200


@pytest.mark.usefixtures("_logging")
def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in logged(capsys)] == ["loud"]
