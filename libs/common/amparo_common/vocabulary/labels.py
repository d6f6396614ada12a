"""Labels of the vocabulary: one approved phrase for each code and language, from the data files `data/LANGUAGE.toml`.

Terms follow the Luxembourg guidelines. A language is added by adding its file; what it does not label shows in English.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    Code,
    Destination,
    Factor,
    Level,
    ReporterType,
    SafeContact,
)
from amparo_common.vocabulary.languages import FALLBACK

_DATA: Final = Path(__file__).parent / "data"

#: The kinds of code that have labels.
LABELLED: Final[tuple[type[Code], ...]] = (Category, Factor, Level, Destination, ReporterType, SafeContact, Channel)
#: The languages that labels exist in.
LANGUAGES: Final[frozenset[str]] = frozenset(file.stem for file in _DATA.glob("*.toml"))


class Term(NamedTuple):
    """A code with its label in one language."""

    code: Code
    label: str


def label(code: Code, *, language: str) -> str:
    """Return the approved phrase for `code`, in English where `language` has none; KeyError for an unlabelled kind."""
    kind = type(code).__name__
    shown = language if language in LANGUAGES else FALLBACK
    own = _labels(shown).get(kind, {}).get(code.value)
    return own if own is not None else _labels(FALLBACK)[kind][code.value]


def terms(kind: type[Code], *, language: str) -> tuple[Term, ...]:
    """Return every code of `kind` with its label, in the order that the codes are defined in."""
    return tuple(Term(code, label(code, language=language)) for code in kind)


@cache
def _labels(language: str) -> Mapping[str, Mapping[str, str]]:
    with (_DATA / f"{language}.toml").open("rb") as file:
        return MappingProxyType(tomllib.load(file))
