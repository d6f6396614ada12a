"""Whatever bytes come out of the log, decoding answers with an event or with a slug, and repeats nothing of them."""

from __future__ import annotations

import traceback

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from amparo_common.events.codec import REGISTRY, UndecodableError, decode, encode
from amparo_common.log.port import Record
from amparo_common.testing.samples import as_read, envelope_of, sample

SLUGS = {"unknown_type", "bad_envelope", "bad_value"}
CANARY = "canary-of-a-narrative"
GOOD = [
    as_read(encode(event := sample(kind, full=full), envelope=envelope_of(event, full=full)))
    for kind in REGISTRY.values()
    for full in (True, False)
]
DEEP = 200_000
HOSTILE_VALUES = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "open": b"{",
    "deep lists": b"[" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "deep unknown member": b'{"unknown":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "a huge number": b'{"version":' + b"9" * 10_000 + b"}",
    "a huge exponent": b'{"version":1e999999}',
    "not a number": b'{"version":NaN}',
    "a lone surrogate": b'{"country":"\\ud800"}',
    "bad utf-8": b'{"country":"\xff\xfe"}',
    "utf-16": '{"country":"PT"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "zero bytes": b"\x00" * 1000,
    "a repeated member": b'{"report_id":1,"report_id":2}',
    "trailing data": b"{} {}",
    "words": CANARY.encode(),
    "words in an enum": b'{"lane":"canary-of-a-narrative"}',
    "bad base64": b'{"narrative":"***canary-of-a-narrative***"}',
}
HOSTILE_HEADERS = {
    "ce_id": [b"", b"\xff", b"not-an-id", b"0" * 10_000, CANARY.encode()],
    "ce_source": [b"\xff"],
    "ce_time": [b"", b"yesterday", b"2026-13-45T99:99:99Z", b"9" * 5000, b"\xff", CANARY.encode()],
    "ce_partitionkey": [b"", b"\xff", b"{}", CANARY.encode()],
    "ce_lane": [b"", b"urgent", b"\xff", CANARY.encode()],
    "ce_traceparent": [b"\xff\xff"],
    "ce_type": [b"", b"\xff", b"org.amparo.unheard.v1", CANARY.encode()],
}


def outcome(record: Record) -> str:
    """Decode; return `event` or the slug. Fails when anything else is raised, or when the error repeats content."""
    try:
        decode(record)
    except UndecodableError as error:
        refused = error
    else:
        return "event"
    assert str(refused) == refused.reason
    assert refused.reason in SLUGS
    assert CANARY not in "".join(traceback.format_exception(refused))  # what a log of the failure would hold
    return refused.reason


@pytest.mark.parametrize("value", HOSTILE_VALUES.values(), ids=HOSTILE_VALUES)
def test_a_hostile_value_is_refused_for_every_type(value: bytes) -> None:
    for record in GOOD:
        assert outcome(msgspec.structs.replace(record, value=value)) == "bad_value"


@pytest.mark.parametrize("name", HOSTILE_HEADERS)
def test_a_hostile_header_is_refused(name: str) -> None:
    expected = "unknown_type" if name == "ce_type" else "bad_envelope"
    for value in HOSTILE_HEADERS[name]:
        headers = dict(GOOD[0].headers) | {name: value}
        assert outcome(msgspec.structs.replace(GOOD[0], headers=tuple(headers.items()))) == expected, value


@pytest.mark.parametrize("name", [name for name, _ in GOOD[0].headers if name.startswith("ce_")])
def test_a_missing_header_is_refused_unless_it_may_be_absent(name: str) -> None:
    headers = tuple((other, value) for other, value in GOOD[0].headers if other != name)
    expected = {"ce_type": "unknown_type", "ce_traceparent": "event", "ce_specversion": "event"}
    assert outcome(msgspec.structs.replace(GOOD[0], headers=headers)) == expected.get(name, "bad_envelope")


def test_content_in_a_wrong_place_is_not_repeated() -> None:
    for record in GOOD:
        members = msgspec.json.decode(record.value)
        for name in members:
            wrong = msgspec.json.encode(members | {name: {CANARY: CANARY}})
            outcome(msgspec.structs.replace(record, value=wrong))
            wrong = msgspec.json.encode(members | {name: CANARY})
            outcome(msgspec.structs.replace(record, value=wrong))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(record=st.sampled_from(GOOD), value=st.binary(max_size=200))
def test_any_bytes_give_an_event_or_a_slug(record: Record, value: bytes) -> None:
    outcome(msgspec.structs.replace(record, value=value))


@settings(max_examples=600, deadline=None, derandomize=True)
@given(record=st.sampled_from(GOOD), at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_flipped_bit_or_a_cut_gives_an_event_or_a_slug(record: Record, at: float, bit: int, *, cut: bool) -> None:
    value = bytearray(record.value)
    place = int(at * len(value))
    value[place] ^= 1 << bit
    outcome(msgspec.structs.replace(record, value=bytes(value[:place] if cut else value)))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(headers=st.lists(st.tuples(st.sampled_from([*dict(GOOD[0].headers), "x"]), st.binary(max_size=60)), max_size=12))
def test_any_headers_give_an_event_or_a_slug(headers: list[tuple[str, bytes]]) -> None:
    outcome(msgspec.structs.replace(GOOD[0], headers=(*GOOD[0].headers, *headers)))
    outcome(msgspec.structs.replace(GOOD[0], headers=tuple(headers)))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    record=st.sampled_from(GOOD),
    wrong=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    data=st.data(),
)
def test_a_wrong_value_in_any_member_gives_an_event_or_a_slug(
    record: Record, wrong: object, data: st.DataObject
) -> None:
    members = msgspec.json.decode(record.value)
    name = data.draw(st.sampled_from(sorted(members)))
    outcome(msgspec.structs.replace(record, value=msgspec.json.encode(members | {name: wrong})))
