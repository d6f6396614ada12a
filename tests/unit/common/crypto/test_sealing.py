"""Sealing: only the right key, in the right place, over unchanged bytes, opens a part."""

from __future__ import annotations

import copy
import json
import pickle
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, strategies as st

from amparo_common.crypto.parts import (
    Account,
    HashReference,
    Identity,
    Message,
    Narrative,
    Network,
    open_identity,
    open_message,
    open_narrative,
    open_text,
    seal_part,
    seal_text,
)
from amparo_common.crypto.sealing import DataKey, SealBrokenError, new_data_key, open_sealed, seal
from amparo_common.ids import uuid7

KEY = DataKey(bytes(range(32)))
REPORT = UUID("0197f1aa-0000-7000-8000-000000000001")
OTHER_REPORT = UUID("0197f1aa-0000-7000-8000-000000000002")
contexts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(plain=st.binary(max_size=400), context=contexts)
def test_what_was_sealed_opens_with_its_key_and_context(plain: bytes, context: str) -> None:
    assert open_sealed(KEY, seal(KEY, plain, context=context), context=context) == plain


@given(plain=st.binary(max_size=80), data=st.data())
def test_any_flipped_bit_is_detected(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, plain, context="narrative:1"))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBrokenError):
        open_sealed(KEY, bytes(sealed), context="narrative:1")


@given(plain=st.binary(max_size=80), cut=st.integers(1, 200))
def test_a_cut_off_part_does_not_open(plain: bytes, cut: int) -> None:
    sealed = seal(KEY, plain, context="narrative:1")
    with pytest.raises(SealBrokenError):
        open_sealed(KEY, sealed[:-cut], context="narrative:1")


@given(here=contexts, there=contexts)
def test_a_part_moved_to_another_place_does_not_open(here: str, there: str) -> None:
    sealed = seal(KEY, b"plain", context=here)
    if here == there:
        assert open_sealed(KEY, sealed, context=there) == b"plain"
        return
    with pytest.raises(SealBrokenError) as caught:
        open_sealed(KEY, sealed, context=there)
    assert caught.value.reason == "wrong_key_or_context"


def test_another_key_does_not_open_a_part() -> None:
    with pytest.raises(SealBrokenError):
        open_sealed(new_data_key(), seal(KEY, b"plain", context="a"), context="a")


def test_the_same_text_sealed_twice_gives_different_bytes_that_do_not_show_it() -> None:
    first, second = (seal(KEY, b"a plain sentence", context="a") for _ in range(2))
    assert first != second
    assert b"plain" not in first


def test_the_version_byte_does_not_depend_on_the_key_and_an_unknown_one_is_named() -> None:
    sealed = seal(KEY, b"plain", context="a")
    assert sealed[0] == seal(new_data_key(), b"other", context="b")[0] == 1
    with pytest.raises(SealBrokenError) as caught:
        open_sealed(KEY, b"\x02" + sealed[1:], context="a")
    assert caught.value.reason == "unknown_version"


NARRATIVE = Narrative(
    text="Un adulto le escribe.\nÉl no contesta.",
    urls=("https://chat.example.com/room/4",),
    platform="online game chat",
    accounts=(Account(platform="game", handle="user_example_417"),),
    hashes=(HashReference(algorithm="sha256", value="ab" * 32, source="Take It Down"),),
)
IDENTITY = Identity(name="Invented Name", contact="someone@example.org", network=Network(ip="192.0.2.7", port=4711))


def test_each_part_opens_as_what_it_was() -> None:
    message_id = uuid7()
    narrative = seal_part(KEY, NARRATIVE, name="narrative", report_id=REPORT)
    identity = seal_part(KEY, IDENTITY, name="identity", report_id=REPORT)
    message = seal_part(KEY, Message(text="¿Hola?"), name=f"message:{message_id}", report_id=REPORT)
    reason = seal_text(KEY, "why", name="reason:7", report_id=REPORT)
    assert open_narrative(KEY, narrative, report_id=REPORT) == NARRATIVE
    assert open_identity(KEY, identity, report_id=REPORT) == IDENTITY
    assert open_message(KEY, message, report_id=REPORT, message_id=message_id) == Message(text="¿Hola?")
    assert open_text(KEY, reason, name="reason:7", report_id=REPORT) == "why"


def test_the_narrative_of_one_report_does_not_open_as_another_reports_or_as_the_identity() -> None:
    sealed = seal_part(KEY, NARRATIVE, name="narrative", report_id=REPORT)
    with pytest.raises(SealBrokenError):
        open_narrative(KEY, sealed, report_id=OTHER_REPORT)
    with pytest.raises(SealBrokenError):
        open_identity(KEY, sealed, report_id=REPORT)


def test_a_part_of_a_later_release_with_more_members_still_opens() -> None:
    grown = msgspec.json.encode({"text": "a", "later": 1})
    assert open_narrative(KEY, seal(KEY, grown, context=f"narrative:{REPORT}"), report_id=REPORT).text == "a"


def test_what_is_no_narrative_is_refused_without_a_word_of_it() -> None:
    sealed = seal(KEY, b'{"text": 5, "canary": "tell-nobody"}', context=f"narrative:{REPORT}")
    with pytest.raises(SealBrokenError) as caught:
        open_narrative(KEY, sealed, report_id=REPORT)
    assert caught.value.reason == "unreadable_part"
    assert caught.value.__cause__ is None
    assert "tell-nobody" not in repr(caught.value)


@pytest.mark.parametrize("part", [NARRATIVE, IDENTITY, IDENTITY.network, Message(text="canary")])
def test_a_part_never_shows_its_content(part: object) -> None:
    assert repr(part) == str(part) == f"{type(part).__name__}(hidden)"
    assert list(part.__rich_repr__()) == ["hidden"]


def test_a_data_key_never_shows_itself() -> None:
    key = new_data_key()
    shown = (repr(key), str(key), f"{key}", f"{key!r:>40}", "%s" % key, repr([key]), repr({"key": key}))  # noqa: UP031
    assert all(text.strip(" []{}").endswith("DataKey(hidden)") for text in shown)
    assert not any(key.raw().hex() in text or repr(key.raw()) in text for text in shown)


@pytest.mark.parametrize("writer", [pickle.dumps, json.dumps, msgspec.json.encode, msgspec.msgpack.encode])
def test_no_serialiser_takes_a_data_key(writer: object) -> None:
    with pytest.raises(TypeError) as caught:
        writer(KEY)
    assert KEY.raw().hex() not in str(caught.value)


def test_a_data_key_has_no_dictionary_to_dump_and_copies_to_itself() -> None:
    assert not hasattr(KEY, "__dict__")
    assert copy.copy(KEY) is KEY
    assert copy.deepcopy({"key": KEY})["key"] is KEY


def test_data_keys_compare_by_their_bytes() -> None:
    assert DataKey(KEY.raw()) == KEY
    assert len({DataKey(KEY.raw()), KEY}) == 1
    assert new_data_key() != KEY
    assert KEY.raw() != KEY


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused_without_its_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=f"32 bytes, not {length}"):
        DataKey(b"\xab" * length)
