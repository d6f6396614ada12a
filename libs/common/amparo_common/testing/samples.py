"""Sample events, made from the types alone: invented, the same at every run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import inspect

from amparo_common.events.codec import Envelope
from amparo_common.events.types import Event
from amparo_common.log.port import NewRecord, Record, partition_of
from amparo_common.vocabulary.codes import Lane

_DAY: Final = datetime(2026, 11, 24, 6, 25, tzinfo=UTC)
#: Texts where a made-up one would not be of the right form.
_TEXTS: Final[Mapping[str, str]] = {
    "language": "pt",
    "country": "PT",
    "owner": "agent:2f6c",
    "reference": "AM-7Q4K-2MXD",
    "partner_name": "Linha de exemplo «ação»",
    "organisation": "demo-hotline",
    "topic": "amparo.reports.urgent",
    "reason": "handler_failed:ValueError",
}


def sample(kind: type[Event], *, full: bool) -> Event:
    """Make an event of `kind`: with every optional value and several items, or with as little as it takes."""
    made: Event = _value(inspect.type_info(kind), name=kind.__name__, full=full)
    return made


def envelope_of(event: Event, *, full: bool) -> Envelope:
    """Make the envelope of a sample: urgent and traced when `full`, else standard and untraced."""
    name = f"{type(event).__name__}:{full}"
    return Envelope(
        id=_uuid(f"{name}:id"),
        type=event.TYPE,
        source="urn:amparo:sample",
        time=_DAY,
        key=_uuid(f"{name}:key"),
        lane=Lane.URGENT if full else Lane.STANDARD,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" if full else None,
    )


def as_read(record: NewRecord, *, count: int = 1, offset: int = 0) -> Record:
    """Return `record` as a log of `count` partitions would give it back."""
    return Record(
        topic=record.topic,
        partition=partition_of(record.key, count=count),
        offset=offset,
        key=record.key,
        value=record.value,
        headers=record.headers,
        appended_at_ms=int(_DAY.timestamp() * 1000),
    )


def _uuid(name: str) -> UUID:
    """Make a UUIDv7 of the sample day whose random part comes from `name`."""
    noise = int.from_bytes(hashlib.sha256(name.encode()).digest()[:10])
    number = int(_DAY.timestamp() * 1000) << 80 | noise
    return UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0b10 << 62)


def _value(kind: inspect.Type, *, name: str, full: bool) -> Any:  # noqa: PLR0911 - one line a kind of type
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            given = fields if full else [field for field in fields if field.required]
            return cls(**{field.name: _value(field.type, name=field.name, full=full) for field in given})
        case inspect.UnionType(types=types):
            return _of_union(types, name=name, full=full)
        case inspect.VarTupleType(item_type=item):
            return tuple(_value(item, name=f"{name}-{number}", full=full) for number in range(2 if full else 0))
        case inspect.TupleType(item_types=items):
            return tuple(_value(item, name=f"{name}-{number}", full=full) for number, item in enumerate(items))
        case inspect.DictType(value_type=item):
            return {language: _value(item, name=language, full=full) for language in (("en", "pt") if full else ())}
        case inspect.EnumType(cls=cls):
            return list(cls)[sum(name.encode()) % len(cls) if full else 0]
        case _:
            return _SIMPLE[type(kind)](name, full)


def _of_union(types: Sequence[inspect.Type], *, name: str, full: bool) -> Any:
    if not full and any(isinstance(one, inspect.NoneType) for one in types):
        return None
    return _value(next(one for one in types if not isinstance(one, inspect.NoneType)), name=name, full=full)


#: A type without an entry is a new kind of field: say here what a sample of it is.
_SIMPLE: Final[Mapping[type[inspect.Type], Callable[[str, bool], Any]]] = {
    inspect.UUIDType: lambda name, _: _uuid(name),
    inspect.DateTimeType: lambda name, full: _DAY + timedelta(minutes=len(name), milliseconds=7 if full else 0),
    inspect.BytesType: lambda name, full: hashlib.sha256(name.encode()).digest() * (3 if full else 1),
    inspect.BoolType: lambda _, full: full,
    inspect.IntType: lambda name, full: len(name) if full else 1,
    inspect.StrType: lambda name, full: _TEXTS.get(name, f"{name}-1" if full else name),
}
