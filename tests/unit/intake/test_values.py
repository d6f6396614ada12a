"""Rules for single values: what is taken, what is refused, and that a refusal never repeats the value."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from amparo_intake.domain import values

GOOD_ADDRESSES = [
    "https://chat.example.com/room/4",
    "http://example.org",
    "HTTPS://Example.NET/Path?query=a%20b#top",
    "http://192.0.2.7:8080/x",
    "http://[2001:db8::1]/x",
    "https://bücher.example/ä",
    "https://user@example.com/",
    "hxxps://chat[.]example[.]com/room/4",
    "www.example.com/page",
    "example.com:8080/x?y=1",
]
BAD_ADDRESSES = [
    "javascript:alert(1)",
    "JavaScript://example.com/%0aalert(1)",
    "data:text/html,hello",
    "vbscript:x.y/z",
    "mailto:someone@example.com",
    "tel:+59171234567",
    "ftp://example.com/file",
    "file:///etc/hosts",
    "blob:https://example.com/1",
    "//example.com/x",
    "https://",
    "https:///path",
    "http://example.com:99999/",
    "https://chat example.com/a",
    "https://example.com/a b",
    " https://example.com/",
    "https://example.com/\n",
    "https://example.com/\u00a0x",
    "https://exa\u200bmple.com/",
    "https://example.com\\@other.example.org/",
    "just words",
    "word",
    "https://example.com/" + "a" * 2_040,
]


@pytest.mark.parametrize("address", GOOD_ADDRESSES)
def test_a_web_address_is_kept_as_it_was_written(address: str) -> None:
    assert values.web_address(address) == address


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_what_is_no_web_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="must"):
        values.web_address(address)


@pytest.mark.parametrize(("algorithm", "digits"), sorted(values.HASH_DIGITS.items()))
def test_a_hash_has_exactly_the_digits_of_its_algorithm(algorithm: str, digits: int) -> None:
    assert values.hash_value("aB" * (digits // 2), algorithm=algorithm) == "ab" * (digits // 2)
    for wrong in ("a" * (digits - 1), "a" * (digits + 1), "g" * digits, ""):
        with pytest.raises(ValueError, match=str(digits)):
            values.hash_value(wrong, algorithm=algorithm)


@pytest.mark.parametrize(("written", "name"), [("SHA-256", "sha256"), ("md5", "md5"), ("Sha_512", "sha512")])
def test_an_algorithm_may_be_written_in_the_usual_ways(written: str, name: str) -> None:
    assert values.hash_algorithm(written) == name


@pytest.mark.parametrize("name", ["sha3", "", "crc32", "photodna"])
def test_an_unknown_algorithm_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        values.hash_algorithm(name)


@pytest.mark.parametrize("number", ["+591 7123 4567", "71234567", "+1 (555) 010-0199", "12345"])
def test_phone_numbers_are_taken_as_people_write_them(number: str) -> None:
    assert values.phone_number(number) == number


@pytest.mark.parametrize("number", ["", "(0)", "1234", "+", "1" * 16, "call me", "+591 71x34567", "++59171234567"])
def test_what_is_no_phone_number_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match="telephone"):
        values.phone_number(number)


def test_an_ip_address_is_written_in_its_short_form() -> None:
    assert values.ip_address("2001:0db8::0001") == "2001:db8::1"
    for wrong in ("192.0.2", "192.0.2.256", "example.com", "192.0.2.1/24", ""):
        with pytest.raises(ValueError, match="IP address"):
            values.ip_address(wrong)


@pytest.mark.parametrize(
    "rule",
    [
        values.language,
        values.country,
        values.web_address,
        values.hash_algorithm,
        values.phone_number,
        values.ip_address,
    ],
)
@given(value=st.text(min_size=8, alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S"))))
def test_a_refusal_never_repeats_the_value(rule: Callable[[str], str], value: str) -> None:
    said = ""
    try:
        rule(value)
    except ValueError as refusal:
        said = str(refusal)

    assert value not in said
