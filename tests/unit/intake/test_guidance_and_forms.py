"""Guidance always names a number and a step; forms and data files are complete and free of blame."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from amparo_common.vocabulary.codes import Channel
from amparo_common.vocabulary.countries import COUNTRY_CODES
from amparo_intake import guidance
from amparo_intake.forms import LANGUAGES, form
from amparo_intake.guidance import BodyType, guide

PILOTS = ["BO", "TD", "CO", "CR", "CD", "SV", "GH", "GT", "HN", "MU", "NI", "PA", "PY", "RW", "SN", "TZ"]
CHANNELS = [channel.lower() for channel in Channel]


@pytest.mark.parametrize("language", ["en", "es", "fr", "qu"])
@pytest.mark.parametrize("country", [*PILOTS, "DE", "JP", "ZZ", None])
@pytest.mark.parametrize("child", [True, False])
def test_there_is_always_a_number_to_call_and_a_step_to_take(country: str | None, language: str, child: bool) -> None:
    told = guide().of(country=country, language=language, child=child)

    assert told.language == (language if language != "qu" else "en")
    assert told.emergency_numbers
    assert all(one.label and re.fullmatch(r"[0-9][0-9 -]+", one.number) for one in told.emergency_numbers)
    assert len(told.next_steps) >= 5


@pytest.mark.parametrize("country", PILOTS)
def test_a_country_without_a_listed_emergency_number_shows_what_mobile_phones_reach(country: str) -> None:
    rows = guide().directory[country]
    numbers = [one.number for one in guide().of(country=country, language="en").emergency_numbers]

    if any(row.type is BodyType.EMERGENCY for row in rows):
        assert numbers[0] == "911"
    else:
        assert numbers[:2] == ["112", "911"]


def test_the_directory_holds_real_countries_and_says_that_nobody_called_the_numbers_yet() -> None:
    rows = [row for listed in guide().directory.values() for row in listed]

    assert set(PILOTS) == set(guide().directory)
    assert set(guide().directory) <= COUNTRY_CODES
    assert all(row.source for row in rows)
    assert all(row.verified == (row.last_verified is not None) for row in rows)
    assert not any(row.verified for row in rows)


def test_languages_say_the_same_number_of_things_in_different_words() -> None:
    texts = guide().texts

    assert set(texts) == {"en", "es", "fr"} == guidance.LANGUAGES
    for who in ("anyone", "child"):
        assert len({len(text.steps[who]) for text in texts.values()}) == 1
        assert len({text.steps[who] for text in texts.values()}) == 3
    assert len({frozenset(text.labels) for text in texts.values()}) == 1


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["not pay", "not confront", "Never forward", "Do not delete"]),
        ("es", ["No pagues", "No enfrentes", "Nunca reenvíes", "No borres"]),
        ("fr", ["Ne payez pas", "Ne confrontez pas", "Ne transférez", "N'effacez rien"]),
    ],
)
def test_the_steps_say_what_protects(language: str, words: list[str]) -> None:
    steps = " ".join(guide().of(country="BO", language=language).next_steps)

    assert all(word in steps for word in words)


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "You are not in trouble"), ("es", "No te has metido en problemas"), ("fr", "Tu n'as rien à te reprocher")],
)
def test_a_child_hears_first_that_it_did_right(language: str, words: str) -> None:
    assert words in guide().of(country="BO", language=language, child=True).next_steps[0]


def titles(shape: dict[str, Any]) -> list[str]:
    """Return the titles of all questions of a schema; fails on one without."""
    found = []
    for question in shape["properties"].values():
        found.append(question["title"])
        inner = question.get("items", question)
        if "properties" in inner:
            found += titles(inner)
    return found


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel_asks_country_and_text_with_titles(channel: str, language: str) -> None:
    asked = form(channel, language=language)

    assert asked is not None
    assert {"country", "language", "text"} <= set(asked["properties"])
    assert set(asked["required"]) == {"country", "language", "text"}
    assert all(titles(dict(asked)))
    assert json.loads(json.dumps(asked)) == asked


def test_forms_differ_by_language_and_fall_back_to_english() -> None:
    asked = {language: form("web", language=language) for language in ("en", "es", "fr", "sw")}

    assert asked["sw"] == asked["en"]
    assert len({one["properties"]["text"]["title"] for one in asked.values() if one}) == 3


@pytest.mark.parametrize("channel", ["telegraph", "WEB", "", "../web"])
def test_an_unknown_channel_has_no_form(channel: str) -> None:
    assert form(channel, language="en") is None


def test_no_form_asks_for_files() -> None:
    for channel in CHANNELS:
        assert not re.search(
            r"contentMediaType|base64|\"file\"|image/|video/", json.dumps(form(channel, language="en"))
        )


def test_a_short_code_menu_asks_little() -> None:
    asked = form("ussd", language="es")

    assert asked is not None
    assert list(asked["properties"]) == ["imminent_danger", "country", "language", "text"]
