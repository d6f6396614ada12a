"""Canonical forms make the same fact equal however it was written; the blind index tells nothing but that."""

from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from amparo_common.crypto.blind_index import (
    BlindIndex,
    canonical_address,
    canonical_handle,
    canonical_hash,
    canonical_phone,
)

PAGE = "https://chat.example.com/room/4"


@pytest.mark.parametrize(
    "written",
    [
        "https://chat.example.com/room/4",
        "  https://chat.example.com/room/4\n",
        "HTTPS://Chat.EXAMPLE.com/room/4",
        "https://chat.example.com:443/room/4",
        "http://chat.example.com/room/4",
        "http://chat.example.com:80/room/4",
        "https://chat.example.com./room/4",
        "https://chat.example.com/room/4#",
        "https://chat.example.com/room/4#message-17",
        "https://chat.example.com/room/4?",
        "https://chat.example.com/%72oom/4",
        "https://chat.example.com/a/../room/./4",
        "https://someone@chat.example.com/room/4",
        "hxxps://chat[.]example[.]com/room/4",
        "HXXP://chat.example.com/room/4",
        "hxxps[:]//chat.example.com/room/4",
        "//chat.example.com/room/4",
        "chat.example.com/room/4",
        "https://chat.exam\u200bple.com/room/4",
        "https://\uff43\uff48\uff41\uff54.example.com/room/4",
        "https://chat。example。com/room/4",
    ],
)
def test_one_page_has_one_form_however_it_was_written(written: str) -> None:
    assert canonical_address(written) == PAGE


@pytest.mark.parametrize(
    "other",
    [
        "https://chat.example.com/Room/4",
        "https://chat.example.com/room/4/",
        "https://chat.example.com/room/4?utm_source=a",
        "https://chat.example.com/room/4?a=1&b=2",
        "https://chat.example.com/room/4?b=2&a=1",
        "https://chat.example.com/room%2F4",
        "https://chat.example.com:8443/room/4",
        "https://chat.example.org/room/4",
        "https://www.chat.example.com/room/4",
        "https://chat.example.com/room/4#!second",
        "https://chat.example.com/room/4#/second",
        "ftp://chat.example.com/room/4",
    ],
)
def test_what_may_be_another_page_keeps_a_form_of_its_own(other: str) -> None:
    assert canonical_address(other) not in {PAGE, ""}


def test_pages_that_a_fragment_alone_names_do_not_become_one() -> None:
    assert canonical_address("https://files.example.com/#first") != canonical_address(
        "https://files.example.com/#second"
    )
    assert canonical_address("https://files.example.com/f#F!one") == canonical_address("https://files.example.com/f")
    assert canonical_address("https://files.example.com/#F!one") != canonical_address(
        "https://files.example.com/#F!two"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://exämple.com/", "https://xn--exmple-cua.com/"),
        ("https://EXÄMPLE.com/", "https://exämple.com"),
        ("https://example.com/caf\u00e9", "https://example.com/cafe\u0301"),
        ("https://example.com/é", "https://example.com/%c3%a9"),
        ("https://example.com/a b", "https://example.com/a%20b"),
        ("https://[2001:DB8:0:0::1]/", "https://[2001:db8::1]/"),
    ],
)
def test_letters_outside_ascii_have_one_form(one: str, other: str) -> None:
    assert canonical_address(one) == canonical_address(other)


def test_what_is_no_address_comes_back_as_folded_text() -> None:
    assert canonical_address("  The Room  under the\tstairs ") == "the room under the stairs"
    assert canonical_address("https://[::1/") == "https://[::1/"
    assert canonical_address(" \u200b\n") == ""


parts = st.text(st.sampled_from("abAZ019.-_~%/?#&=:@!$ é\u00e9ßİﬁ\uff0f℀\u200b[]\\+2e"), max_size=25)
addresses = st.one_of(
    st.builds("{}://{}/{}".format, st.sampled_from(["http", "HTTPS", "hxxp", "ftp", "x"]), parts, parts),
    parts,
    st.text(max_size=40),
)


@given(addresses)
@example("http://a.example:443/")
@example("https://a.example:80/")
@example("https://example.com/%%32%35")
@example("https://example.com/%%37e")
@example("https://example.com/%2e%2E/a")
@example("https://İ.example/")
@example("/\uff0fa")
def test_the_form_of_an_address_is_its_own_form(url: str) -> None:
    form = canonical_address(url)
    assert canonical_address(form) == form


@pytest.mark.parametrize(
    "written", ["user_417", "@User_417", " @ USER_417 ", "\uff55\uff53\uff45\uff52_417", "user\u200b_417", "@@user_417"]
)
def test_one_account_has_one_form(written: str) -> None:
    assert canonical_handle(" Game ", written) == canonical_handle("game", "user_417") == "game\nuser_417"


def test_the_same_name_on_another_platform_is_another_account() -> None:
    assert canonical_handle("game", "user") != canonical_handle("chat", "user")
    assert canonical_handle("a", "b c") != canonical_handle("a b", "c")
    assert canonical_handle(None, "user") == canonical_handle("", "user")


@pytest.mark.parametrize("nothing", ["", " ", "@", " @\u200b @ "])
def test_an_empty_name_gives_nothing_to_index(nothing: str) -> None:
    assert canonical_handle("game", nothing) == ""


@given(st.text(max_size=20), st.text(max_size=20))
@example("İ", "ﬁ@x")
def test_the_form_of_a_handle_is_its_own_form(platform: str, handle: str) -> None:
    form = canonical_handle(platform, handle)
    if form:
        again, name = form.split("\n")
        assert canonical_handle(again, name) == form


@pytest.mark.parametrize(
    ("written", "region", "form"),
    [
        ("+591 71234567", None, "+59171234567"),
        ("00591 7123-4567", None, "+59171234567"),
        ("71234567", "BO", "+59171234567"),
        ("(7) 123 4567", "BO", "+59171234567"),
        ("tel:+591-71234567", None, "+59171234567"),
        ("+٥٩١٧١٢٣٤٥٦٧", None, "+59171234567"),
        ("+591 71234567 ext. 4", None, "+59171234567"),
        ("07700 900123", "GB", "+447700900123"),
        ("911", "US", None),
        ("71234567", None, None),
        ("116111", None, None),
        ("no number", "BO", None),
        ("", "BO", None),
        ("+1", None, None),
    ],
)
def test_a_phone_number_becomes_e164_with_its_region_as_the_hint(
    written: str, region: str | None, form: str | None
) -> None:
    assert canonical_phone(written, region=region) == form


@given(st.from_regex(r"\A\+?[0-9 ()-]{5,18}\Z"), st.sampled_from([None, "BO", "ES", "GB", "US"]))
@example("+49000000", None)
def test_the_form_of_a_phone_number_is_its_own_form(written: str, region: str | None) -> None:
    form = canonical_phone(written, region=region)
    if form is not None:
        assert canonical_phone(form) == canonical_phone(form, region=region) == form


@pytest.mark.parametrize(
    ("algorithm", "value", "form"),
    [
        ("SHA-256", "AB cd\n01", "sha256:abcd01"),
        ("sha256", "abcd01", "sha256:abcd01"),
        ("PhotoDNA", "AbC+/9==", "photodna:AbC+/9=="),
        ("md5", " ", ""),
    ],
)
def test_a_hash_has_one_form_and_base_64_keeps_its_case(algorithm: str, value: str, form: str) -> None:
    assert canonical_hash(algorithm, value) == form


INDEX = BlindIndex(bytes(32))


@given(st.text(max_size=60))
def test_the_index_is_stable_short_and_differs_by_kind(fact: str) -> None:
    values = [INDEX.of(kind, fact) for kind in ("address", "handle", "phone", "hash")]
    assert len(set(values)) == len(values)
    assert {len(value) for value in values} == {16}
    assert values == [BlindIndex(bytes(32)).of(kind, fact) for kind in ("address", "handle", "phone", "hash")]


def test_another_key_gives_another_index_and_none_shows_itself() -> None:
    assert BlindIndex(b"\x01" * 32).of("phone", "+59171234567") != INDEX.of("phone", "+59171234567")
    assert repr(INDEX) == "BlindIndex(hidden)"


def test_kind_and_fact_do_not_run_into_each_other() -> None:
    assert INDEX.of("handle", "a") != INDEX.of("handlea", "")
