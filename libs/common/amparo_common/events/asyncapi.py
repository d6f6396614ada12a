"""The events as an AsyncAPI 3 document, made from the registry, so that page and code cannot differ."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from amparo_common.events.codec import CONTENT_TYPE, REGISTRY
from amparo_common.events.streams import Stream, topic_of
from amparo_common.events.types import Event
from amparo_common.log.port import TOPICS
from amparo_common.vocabulary.codes import Lane

#: Who writes a stream, and who reads it.
FLOWS: Final[Mapping[Stream, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    Stream.REPORTS: (("intake",), ("triage", "gateway")),
    Stream.INCIDENTS: (("triage",), ("intake", "referral", "gateway")),
    Stream.REFERRALS: (("referral",), ("triage", "intake", "gateway")),
    Stream.AUDIT: (("intake", "triage", "referral", "gateway"), ("gateway",)),
    Stream.DLQ: (("intake", "triage", "referral", "gateway"), ()),
}
_ABOUT: Final[Mapping[Stream, str]] = {
    Stream.REPORTS: "What reporters sent.",
    Stream.INCIDENTS: "What triage decided.",
    Stream.REFERRALS: "What went to partners and what they answered.",
    Stream.AUDIT: "The audit chains of all services and their signed heads.",
    Stream.DLQ: "Records that could not be applied.",
}
_BINDING: Final = "0.5.0"


def document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0.0 document: one channel a topic, one message an event type, schemas of all values."""
    _, schemas = msgspec.json.schema_components(REGISTRY.values(), ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Amparo events",
            "version": "1.0.0",
            "description": (
                "CloudEvents 1.0 in binary mode. The key of a record is the id of its aggregate and decides its "
                "partition. Change is additive only; unknown members are to be let pass. Bytes called sealed open "
                "only with the data key of their report."
            ),
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic: _channel(topic, stream) for topic, stream in sorted(_streams().items())},
        "operations": _operations(),
        "components": {
            "messages": {name: _message(kind) for name, kind in REGISTRY.items()},
            "schemas": {"CloudEventHeaders": _headers(), **schemas},
        },
    }


def _streams() -> dict[str, Stream]:
    return {topic_of(stream, lane=lane): stream for stream in Stream for lane in Lane}


def _channel(topic: str, stream: Stream) -> dict[str, Any]:
    return {
        "address": topic,
        "description": _ABOUT[stream],
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name, kind in REGISTRY.items() if kind.STREAM is stream
        },
        "bindings": {"kafka": {"topic": topic, "partitions": TOPICS[topic], "bindingVersion": _BINDING}},
    }


def _operations() -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for topic, stream in sorted(_streams().items()):
        writers, readers = FLOWS[stream]
        for action, services in (("send", writers), ("receive", readers)):
            for service in services:
                operations[f"{service}.{action}.{topic}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{topic}"},
                    "title": f"{service} {'writes' if action == 'send' else 'reads'} {topic}",
                }
    return operations


def _message(kind: type[Event]) -> dict[str, Any]:
    return {
        "name": kind.TYPE,
        "title": kind.__name__,
        "summary": (inspect.getdoc(kind) or "").partition("\n")[0],
        "contentType": CONTENT_TYPE,
        "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "bindings": {"kafka": {"key": {"type": "string", "format": "uuid"}, "bindingVersion": _BINDING}},
    }


def _headers() -> dict[str, Any]:
    text = {"type": "string"}
    uuid = {"type": "string", "format": "uuid"}
    properties: dict[str, Any] = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**uuid, "description": "Of this event; a repeat carries the same."},
        "ce_source": {**text, "format": "uri-reference", "description": "`urn:amparo:SERVICE`."},
        "ce_type": {"enum": list(REGISTRY)},
        "ce_time": {**text, "format": "date-time"},
        "ce_partitionkey": {**uuid, "description": "Of the aggregate; the same as the record's key."},
        "ce_lane": {"enum": [lane.value for lane in Lane]},
        "content-type": {"const": CONTENT_TYPE},
        "ce_traceparent": {**text, "description": "W3C Trace Context, when the event was stored inside a trace."},
    }
    return {
        "type": "object",
        "title": "CloudEventHeaders",
        "description": "Attributes of CloudEvents 1.0 as record headers in UTF-8.",
        "properties": properties,
        "required": [name for name in properties if name != "ce_traceparent"],
    }
