"""Every code has an approved phrase in every language, and no phrase that does harm stands anywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from amparo_common.vocabulary import labels
from amparo_common.vocabulary.codes import Category, Code, Destination, Factor, Level, Role
from amparo_common.vocabulary.labels import LABELLED, LANGUAGES, label, terms

ROOT = Path(__file__).parents[4]
DATA = Path(labels.__file__).parent / "data"
SHIPPED = ("libs", "services", "docs", "infra")
READ_AS_TEXT = {".py", ".toml", ".json", ".jsonl", ".md", ".html", ".js", ".css", ".yml", ".yaml", ".graphql"}
#: Where harmful words must stand: the partner's own wire values, and what triage recognises in reporters' words. None
#: of it is ever shown.
NEVER_SHOWN = ("/adapters/ncmec", "/amparo_triage/text/grammar/")
#: What the Luxembourg guidelines ask not to write, in the three languages.
BANNED = re.compile(
    r"child porn|kiddie porn|child sex tour|child prostitut|webcam child sex|child selfie|pa?edophil|perpetrator"
    r"|alleged victim|pornograf[ií]a (infantil|de menores)|turismo sexual (infantil|con menores)"
    r"|prostituci[oó]n (infantil|de menores)|ped[oó]filo|p[eé]dopornograph|pornographie (infantile|enfantine)"
    r"|tourisme sexuel (impliquant|avec)|prostitution (infantile|enfantine)|p[eé]dophil",
    re.IGNORECASE,
)


@pytest.mark.parametrize("language", ["en", "es", "fr"])
@pytest.mark.parametrize("kind", LABELLED, ids=lambda kind: kind.__name__)
def test_every_code_has_its_own_label_in_every_language(kind: type[Code], language: str) -> None:
    file = tomllib.loads((DATA / f"{language}.toml").read_text(encoding="utf-8"))[kind.__name__]

    assert list(file) == [code.value for code in kind]
    assert all(text.strip() == text and text for text in file.values())
    assert len(set(file.values())) == len(kind)


def test_the_vocabulary_is_as_large_as_the_taxonomy() -> None:
    assert [len(kind) for kind in (Category, Factor, Level, Destination)] == [32, 26, 4, 11]


def test_no_file_labels_a_code_that_does_not_exist() -> None:
    known = {kind.__name__ for kind in LABELLED}

    for language in LANGUAGES:
        assert set(tomllib.loads((DATA / f"{language}.toml").read_text(encoding="utf-8"))) == known


def test_languages_differ_where_they_should() -> None:
    for category in Category:
        assert len({label(category, language=language) for language in ("en", "es", "fr")}) == 3


def test_a_language_without_labels_shows_english() -> None:
    english = label(Category.MISSING_CHILD, language="en")

    assert label(Category.MISSING_CHILD, language="qu") == english
    assert label(Category.MISSING_CHILD, language="../en") == english


def test_a_kind_without_labels_is_refused() -> None:
    with pytest.raises(KeyError):
        label(Role.AGENT, language="en")


def test_terms_come_in_the_order_of_the_codes() -> None:
    assert [term.code for term in terms(Level, language="es")] == list(Level)


def test_no_banned_phrase_stands_where_it_could_be_shown() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for folder in SHIPPED
        for file in (ROOT / folder).rglob("*")
        if file.suffix in READ_AS_TEXT and not any(place in file.as_posix() for place in NEVER_SHOWN)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if BANNED.search(line)
    ]

    assert found == []


@pytest.mark.parametrize("phrase", ["Child pornography", "pornografía infantil", "pédopornographie", "the perpetrator"])
def test_the_search_for_banned_phrases_finds_them(phrase: str) -> None:
    assert BANNED.search(phrase)
