"""Every event ever released still decodes, with every member it had."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from amparo_common.events.codec import REGISTRY, UndecodableError, decode, encode
from amparo_common.events.types import Event
from amparo_common.log.port import NewRecord, Record
from amparo_common.testing.samples import as_read

HERE = Path(__file__).parent
FILES = sorted((HERE / "events").glob("*/*.json"), key=lambda path: (path.parent.name, int(path.stem)))
NAMES = [f"{path.parent.name}/{path.stem}" for path in FILES]
of_every_sample = pytest.mark.parametrize("path", FILES, ids=NAMES)
of_every_type = pytest.mark.parametrize("kind", REGISTRY.values(), ids=REGISTRY)


def load(path: Path) -> Record:
    kept = json.loads(path.read_text("utf-8"))
    headers = tuple((name, value.encode()) for name, value in kept["headers"].items())
    key, value = kept["key"].encode(), kept["value"].encode()
    return as_read(NewRecord(topic=kept["topic"], key=key, value=value, headers=headers))


def newest(kind: type[Event]) -> Record:
    """Return the newest full sample: full and sparse ones are recorded in pairs, the full one first."""
    return load([path for path in FILES if path.parent.name == kind.TYPE][-2])


def covers(new: Any, old: Any) -> bool:
    """Tell whether `new` has everything that `old` has, with the same values; more is additive."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(name in new and covers(new[name], value) for name, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(new) == len(old) and all(map(covers, new, old))
    return bool(new == old)


def read_by(kind: type[msgspec.Struct], record: Record) -> Any:
    """Read a record's value by another shape and return what that shape keeps of it."""
    return json.loads(msgspec.json.encode(msgspec.json.decode(record.value, type=kind)))


def test_every_registered_type_has_a_full_and_a_sparse_sample() -> None:
    counts = {name: sum(path.parent.name == name for path in FILES) for name in REGISTRY}
    assert min(counts.values()) >= 2, counts


def test_every_type_that_was_ever_released_is_still_registered() -> None:
    assert {path.parent.name for path in FILES} <= set(REGISTRY)


@of_every_sample
def test_a_sample_decodes_and_keeps_every_member(path: Path) -> None:
    record = load(path)
    received = decode(record)
    again = encode(received.event, envelope=received.envelope)
    assert (again.topic, again.key, again.headers) == (record.topic, record.key, record.headers)
    assert covers(json.loads(again.value), json.loads(record.value))


@of_every_type
def test_the_newest_samples_encode_to_the_same_bytes(kind: type[Event]) -> None:
    """Fails when a field was added and no sample of it recorded: run tests/golden/record.py."""
    for path in [path for path in FILES if path.parent.name == kind.TYPE][-2:]:
        record = load(path)
        received = decode(record)
        again = encode(received.event, envelope=received.envelope)
        assert (again.topic, again.key, again.value, again.headers) == (
            record.topic,
            record.key,
            record.value,
            record.headers,
        )


@of_every_sample
def test_unknown_members_and_headers_are_let_pass(path: Path) -> None:
    record = load(path)
    later = json.loads(record.value) | {"member_of_a_later_version": {"deep": [1]}}
    headers = (*record.headers, ("ce_laterversion", b"\xff"))
    received = decode(msgspec.structs.replace(record, value=json.dumps(later).encode(), headers=headers))
    assert received.event == decode(record).event


@of_every_type
def test_a_field_that_is_removed_would_be_seen(kind: type[Event]) -> None:
    record = newest(kind)
    old = json.loads(record.value)
    assert covers(read_by(kind, record), old)
    for removed in kind.__struct_fields__:
        kept = [(field.name, field.type) for field in msgspec.structs.fields(kind) if field.name != removed]
        shape = msgspec.defstruct(kind.__name__, kept, kw_only=True)
        assert not covers(read_by(shape, record), old), removed


@of_every_type
def test_a_field_that_is_renamed_would_be_seen(kind: type[Event]) -> None:
    record = newest(kind)
    for renamed in kind.__struct_fields__:
        fields = [
            (f"new_{field.name}" if field.name == renamed else field.name, field.type)
            for field in msgspec.structs.fields(kind)
        ]
        shape = msgspec.defstruct(kind.__name__, fields, kw_only=True)
        with pytest.raises(msgspec.ValidationError, match=f"`new_{renamed}`"):
            read_by(shape, record)


@of_every_type
def test_a_member_that_is_missing_makes_a_record_poison(kind: type[Event]) -> None:
    record = newest(kind)
    for field in msgspec.structs.fields(kind):
        value = json.loads(record.value)
        del value[field.name]
        short = msgspec.structs.replace(record, value=json.dumps(value).encode())
        if field.required:
            with pytest.raises(UndecodableError, match=r"^bad_value$"):
                decode(short)
        else:
            decode(short)


def test_recording_adds_what_is_missing_and_changes_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "record.py"), str(tmp_path)]
    first = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert len(first.splitlines()) == 2 * len(REGISTRY)
    kept = next(tmp_path.glob("*audit.recorded*/1.json"))
    kept.write_text(kept.read_text("utf-8").replace("urn:amparo:sample", "urn:amparo:other"), "utf-8")
    next(tmp_path.glob("*erased*/2.json")).unlink()
    content = {path: path.read_bytes() for path in tmp_path.glob("*/*.json")}
    second = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert [line.split("/")[-1] for line in second.splitlines()] == ["2.json", "3.json"]
    assert {path: path.read_bytes() for path in content} == content


def test_the_corpus_is_what_recording_would_leave(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "record.py")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == ""
