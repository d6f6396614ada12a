"""The AsyncAPI document says what the registry and the log say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from amparo_common.events.asyncapi import FLOWS, document
from amparo_common.events.codec import REGISTRY, encode
from amparo_common.events.streams import Stream
from amparo_common.log.port import TOPICS
from amparo_common.testing.samples import envelope_of, sample


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_somewhere() -> None:
    page = json.loads(json.dumps(document()))
    found = list(references(page))
    assert len(found) > 100
    for reference in found:
        place: Any = page
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_topic_is_a_channel_with_its_partitions() -> None:
    channels = document()["channels"]
    assert {name: channel["bindings"]["kafka"]["partitions"] for name, channel in channels.items()} == TOPICS


def test_every_event_type_is_a_message_of_the_channels_that_it_goes_to() -> None:
    page = document()
    assert set(page["components"]["messages"]) == set(REGISTRY)
    for kind in REGISTRY.values():
        for full in (True, False):
            event = sample(kind, full=full)
            topic = encode(event, envelope=envelope_of(event, full=full)).topic
            assert kind.TYPE in page["channels"][topic]["messages"]


def test_every_message_has_a_summary_and_a_schema_with_its_fields() -> None:
    page = document()
    for kind in REGISTRY.values():
        assert page["components"]["messages"][kind.TYPE]["summary"].endswith(".")
        assert set(page["components"]["schemas"][kind.__name__]["properties"]) == set(kind.__struct_fields__)


def test_the_headers_are_those_that_are_written() -> None:
    schema = document()["components"]["schemas"]["CloudEventHeaders"]
    for full in (True, False):
        event = sample(next(iter(REGISTRY.values())), full=full)
        written = {name for name, _ in encode(event, envelope=envelope_of(event, full=full)).headers}
        assert set(schema["required"]) <= written <= set(schema["properties"])


def test_every_stream_has_a_writer_and_operations_for_all_who_read_it() -> None:
    assert set(FLOWS) == set(Stream)
    operations = document()["operations"]
    assert operations["triage.receive.amparo.reports.urgent"]["action"] == "receive"
    assert operations["intake.send.amparo.reports.urgent"]["channel"] == {"$ref": "#/channels/amparo.reports.urgent"}
    assert all(writers for writers, _ in FLOWS.values())
