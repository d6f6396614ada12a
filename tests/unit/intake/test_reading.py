"""Reading reports: every wrong field is named at once, nothing of the input is repeated, nothing is guessed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from amparo_common.crypto.parts import Account, HashReference, Identity, Network
from amparo_common.errors import Problem
from amparo_common.vocabulary.codes import Category, Channel, Factor, ReporterType, SafeContact
from amparo_intake.reading import read_report

MINIMAL = {"channel": "web", "language": "en", "country": "GT", "text": "Someone keeps asking my sister for pictures."}
FULL = {
    "channel": "call_centre",
    "language": "es",
    "country": "BO",
    "text": "Un desconocido le escribe a mi hija.\n\tDice «ven».",
    "category": "GROOMING",
    "factors": ["CHILD_REPORTER", "LOCATION_EXPOSED"],
    "victim": {"age": 11, "count": 1},
    "imminent_danger": False,
    "urls": ["https://chat.example.com/room/4"],
    "platform": "online game chat",
    "reported_accounts": [{"platform": "game", "handle": "user_example_417"}, {"handle": "other"}],
    "hashes": [{"algorithm": "SHA-256", "value": "AB" * 32, "source": "Take It Down"}],
    "reporter": {
        "type": "parent",
        "name": "Invented Name",
        "contact": "invented@example.com",
        "safe_contact": "code_only",
    },
    "network": {"msisdn": "+59171234567", "ip": "192.0.2.1", "port": 443, "observed_at": "2026-11-01T10:00:00Z"},
    "occurred_at": "2026-10-31T23:30:00-04:00",
}


def refused(body: Any) -> Problem:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Problem) as caught:
        read_report(raw)
    return caught.value


def pointers(body: Any) -> list[str]:
    return [error.pointer for error in refused(body).errors]


def test_four_fields_are_a_report() -> None:
    report = read_report(json.dumps(MINIMAL).encode())

    assert report.facts.channel is Channel.WEB
    assert report.narrative.text == MINIMAL["text"]
    assert report.identity is None


def test_a_full_report_is_split_into_what_is_clear_and_what_is_sealed() -> None:
    report = read_report(json.dumps(FULL).encode())

    assert report.facts.category is Category.GROOMING
    assert report.facts.factors == (Factor.CHILD_REPORTER, Factor.LOCATION_EXPOSED)
    assert (report.facts.victim_age, report.facts.victim_count, report.facts.imminent_danger) == (11, 1, False)
    assert (report.facts.reporter_type, report.facts.safe_contact) == (ReporterType.PARENT, SafeContact.CODE_ONLY)
    assert report.narrative.text == FULL["text"]
    assert report.narrative.accounts == (Account("game", "user_example_417"), Account(None, "other"))
    assert report.narrative.hashes == (HashReference("sha256", "ab" * 32, "Take It Down"),)
    assert report.narrative.occurred_at == datetime(2026, 11, 1, 3, 30, tzinfo=UTC)
    network = Network("+59171234567", "192.0.2.1", 443, datetime(2026, 11, 1, 10, 0, tzinfo=UTC))
    assert report.identity == Identity("Invented Name", "invented@example.com", network)


def test_null_everywhere_means_not_answered() -> None:
    optional = dict.fromkeys(set(FULL) - set(MINIMAL))

    report = read_report(json.dumps(MINIMAL | optional).encode())

    assert report == read_report(json.dumps(MINIMAL).encode())
    assert report.facts.imminent_danger is None


def test_an_empty_answer_of_a_form_means_not_answered() -> None:
    blank = {"platform": "", "reporter": {"type": None, "name": "", "contact": ""}}

    assert read_report(json.dumps(MINIMAL | blank).encode()) == read_report(json.dumps(MINIMAL).encode())


def test_codes_of_language_and_country_may_come_in_either_case() -> None:
    report = read_report(json.dumps(MINIMAL | {"language": "ES", "country": "bo"}).encode())

    assert (report.facts.language, report.facts.country) == ("es", "BO")


@pytest.mark.parametrize("length", [1, 20_000])
def test_a_text_may_have_one_to_twenty_thousand_characters(length: int) -> None:
    text = "\U0001f54a" * length

    assert read_report(json.dumps(MINIMAL | {"text": text}).encode()).narrative.text == text


@pytest.mark.parametrize(
    "text", ["  spaces kept  ", "=HYPERLINK(1)", "<script>alert(1)</script>", "{{7*7}}", "e\u0301\u200b\r\n"]
)
def test_a_text_is_kept_verbatim(text: str) -> None:
    assert read_report(json.dumps(MINIMAL | {"text": text}).encode()).narrative.text == text


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = {
        "channel": "fax",
        "country": "ZZ",
        "victim": {"age": -1, "count": 0},
        "urls": ["https://example.com/", "javascript:alert(1)", "no address"],
        "hashes": [{"algorithm": "sha256", "value": "ab"}],
        "network": {"port": 70_000, "ip": "300.1.1.1"},
        "occurred_at": "yesterday",
        "mood": "sad",
    }
    body = {key: value for key, value in (MINIMAL | wrong).items() if key != "text"}

    assert set(pointers(body)) == {
        "/channel",
        "/country",
        "/text",
        "/victim/age",
        "/victim/count",
        "/urls/1",
        "/urls/2",
        "/hashes/0/value",
        "/hashes/0/source",
        "/network/port",
        "/network/ip",
        "/occurred_at",
        "/mood",
    }


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"text": None}, "/text"),
        ({"text": 7}, "/text"),
        ({"text": ""}, "/text"),
        ({"text": "a" * 20_001}, "/text"),
        ({"text": "a\0b"}, "/text"),
        ({"platform": "a\0b"}, "/platform"),
        ({"channel": "WEB"}, "/channel"),
        ({"language": "I speak Spanish"}, "/language"),
        ({"language": "xx"}, "/language"),
        ({"country": "Bolivia"}, "/country"),
        ({"category": "SOMETHING_ELSE"}, "/category"),
        ({"category": "grooming"}, "/category"),
        ({"factors": ["CHILD_REPORTER", "BAD_WEATHER"]}, "/factors/1"),
        ({"victim": []}, "/victim"),
        ({"victim": {"age": "eleven"}}, "/victim/age"),
        ({"victim": {"age": 11.5}}, "/victim/age"),
        ({"victim": {"age": 121}}, "/victim/age"),
        ({"victim": {"age": True}}, "/victim/age"),
        ({"victim": {"name": "x"}}, "/victim/name"),
        ({"imminent_danger": "perhaps"}, "/imminent_danger"),
        ({"imminent_danger": "true"}, "/imminent_danger"),
        ({"imminent_danger": 1}, "/imminent_danger"),
        ({"urls": "https://example.com/"}, "/urls"),
        ({"urls": ["https://example.com/"] * 101}, "/urls"),
        ({"reported_accounts": [{"platform": "game"}]}, "/reported_accounts/0/handle"),
        ({"hashes": [{"algorithm": "sha256", "value": "ab" * 32}]}, "/hashes/0/source"),
        ({"hashes": [{"algorithm": "rot13", "value": "ab" * 32, "source": "list"}]}, "/hashes/0/algorithm"),
        ({"hashes": [{"algorithm": "sha1", "value": "ab" * 32, "source": "list"}]}, "/hashes/0/value"),
        ({"hashes": [{"algorithm": "sha256", "value": "ab" * 32, "source": ""}]}, "/hashes/0/source"),
        ({"reporter": {"safe_contact": "pigeon"}}, "/reporter/safe_contact"),
        ({"reporter": {"type": "CHILD"}}, "/reporter/type"),
        ({"network": {"msisdn": "call me"}}, "/network/msisdn"),
        ({"network": {"port": 0}}, "/network/port"),
        ({"network": {"observed_at": "2026-11-01T10:00:00"}}, "/network/observed_at"),
        ({"occurred_at": "2026-11-01"}, "/occurred_at"),
        ({"occurred_at": 1_700_000_000}, "/occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00Z"}, "/occurred_at"),
        ({"a/b~c": 1}, "/a~1b~0c"),
    ],
)
def test_a_wrong_field_is_pointed_at(fields: dict[str, Any], pointer: str) -> None:
    assert pointers(MINIMAL | fields) == [pointer]


@pytest.mark.parametrize("name", ["channel", "language", "country", "text"])
def test_a_missing_field_is_pointed_at_itself(name: str) -> None:
    assert pointers({key: value for key, value in MINIMAL.items() if key != name}) == [f"/{name}"]


def _with_text(raw: bytes) -> bytes:
    return b'{"channel":"web","language":"en","country":"GT","text":' + raw + b"}"


@pytest.mark.parametrize(
    "body",
    [
        _with_text(b'"a\\ud800b"'),
        _with_text(b'"\xff\xfe"'),
        _with_text(b'"a","victim":{"age":NaN}'),
        _with_text(b'"a","victim":{"age":' + b"9" * 400 + b"}"),
        _with_text(b'"a","victim":{"age":' + b"9" * 100_000 + b"}"),
        _with_text(b'"a","victim":{"age":1e999}'),
        _with_text(b'"a","victim":' + b"[" * 2000 + b"]" * 2000),
        _with_text(b'"a","victim":' + b'{"a":' * 2000 + b"1" + b"}" * 2000),
        b"",
        b"null",
        b"[]",
        b'"text"',
        b'{"channel":"web","langu',
        b"\x00\x01\x02",
    ],
)
def test_a_body_that_is_no_report_is_refused(body: bytes) -> None:
    problem = refused(body)

    assert (problem.status, problem.slug) == (422, "invalid-body")
    assert problem.errors


def test_a_refusal_repeats_nothing_of_what_was_sent() -> None:
    canary = "canary-7f3a"
    body = MINIMAL | {
        "text": f"{canary}\0",
        "channel": canary,
        "urls": [f"javascript:{canary}"],
        "hashes": [{"algorithm": canary, "value": canary, "source": canary}],
        "network": {"msisdn": canary, "ip": canary},
        "occurred_at": canary,
        "category": canary,
    }

    problem = refused(body)

    assert len(problem.errors) == 8
    assert canary not in json.dumps(problem.body())
    assert problem.__cause__ is None


def test_a_flood_of_unknown_fields_gives_a_short_answer() -> None:
    problem = refused(MINIMAL | {f"{'x' * 1000}{number}": 1 for number in range(1000)})

    assert len(problem.errors) == 100
    assert len(json.dumps(problem.body())) < 50_000
