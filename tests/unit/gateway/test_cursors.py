from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st

from amparo_gateway.cursors import CursorSeal

SEAL = CursorSeal(bytes(range(32)))


@given(place=st.binary(min_size=1, max_size=60), name=st.text(max_size=40))
def test_a_cursor_opens_in_its_own_list_only(place, name):
    cursor = SEAL.seal(place, of=name)
    assert SEAL.open(cursor, of=name) == place
    assert SEAL.open(cursor, of=name + "x") is None
    assert CursorSeal(bytes(32)).open(cursor, of=name) is None


@given(place=st.binary(min_size=8, max_size=60))
def test_a_cursor_holds_nothing_of_its_place(place):
    cursor = SEAL.seal(place, of="list")
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert all(place[start : start + 8] not in raw for start in range(len(place) - 7))


def test_cursors_of_neighbours_have_no_order():
    places = [number.to_bytes(37) for number in range(200)]
    cursors = [SEAL.seal(place, of="list") for place in places]
    assert cursors != sorted(cursors)
    assert len({cursor[:6] for cursor in cursors}) == len(cursors)


def test_the_same_place_gives_the_same_cursor():
    assert SEAL.seal(b"place", of="list") == SEAL.seal(b"place", of="list")


@pytest.mark.parametrize("made_up", ["", "A", "AAAA", "AAAA" * 20, "é", "\x00", "not a cursor", "=" * 8, "A" * 100_000])
def test_a_made_up_cursor_opens_nothing(made_up):
    assert SEAL.open(made_up, of="list") is None


def test_a_changed_cursor_opens_nothing():
    cursor = SEAL.seal(b"a place in a list", of="list")
    for index, letter in enumerate(cursor[:-1]):
        changed = cursor[:index] + ("A" if letter != "A" else "B") + cursor[index + 1 :]
        assert SEAL.open(changed, of="list") is None


def test_the_seal_does_not_show_its_key():
    assert repr(SEAL) == "CursorSeal()"
