"""The data behind the reader: one file of concepts for each language, one file of signals for all."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

import msgspec

from amparo_common.vocabulary.codes import Category, Factor
from amparo_triage.text.phrases import PhraseError, PhraseTree
from amparo_triage.text.tokens import folded

#: Concepts that the engine itself reads; every language has them.
CUES: Final = ("NEGATION", "TURN", "STORY", "LONG_AGO")


class _Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what the files hold: an unknown name is an error."""


class Signal(_Data, frozen=True, kw_only=True):
    """Concepts that together, near each other, propose a category or a factor.

    Each of `needs` is a concept, or several with `|`, of which one is enough. `within` counts words from the first to
    the last; `unless` are concepts in the same sentence that take the meaning away. `now` signals do not count in a
    sentence that speaks of long ago; `told` signals count even where the sentence tells a story or film.
    """

    category: Category | None = None
    factor: Factor | None = None
    needs: tuple[str, ...]
    within: int = 16
    ordered: bool = False
    unless: tuple[str, ...] = ()
    weight: int = 3
    now: bool = False
    told: bool = False

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """Return the concepts of each need."""
        return tuple(tuple(need.split("|")) for need in self.needs)


class Signals(_Data, frozen=True, kw_only=True):
    """The file of signals. `never_negated` are concepts such as persons: "no man" does not take a man away."""

    threshold: int
    never_negated: frozenset[str]
    signal: tuple[Signal, ...]


class _LanguageFile(_Data, frozen=True, kw_only=True):
    words: tuple[str, ...]
    concepts: dict[str, tuple[str, ...]]


class Language(msgspec.Struct, frozen=True):
    """A compiled language: words that tell it from others, and its tree of phrases."""

    code: str
    words: frozenset[str]
    tree: PhraseTree
    concepts: frozenset[str]


class GrammarError(ValueError):
    """A grammar that must not be used; the text names the file and what is wrong."""


def load_languages() -> tuple[Language, ...]:
    """Read and compile every language file; raises GrammarError."""
    files = sorted(_folder().iterdir(), key=lambda file: file.name)
    return tuple(_language(file) for file in files if file.name.endswith(".toml") and file.name != "signals.toml")


def load_signals(languages: tuple[Language, ...]) -> Signals:
    """Read the signals and check them against the languages; raises GrammarError."""
    try:
        signals = msgspec.convert(tomllib.loads(_read(_folder() / "signals.toml")), type=Signals)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise GrammarError(f"signals.toml: {error}") from error
    for problem in _problems(signals, languages):
        raise GrammarError(f"signals.toml: {problem}")
    return signals


def _problems(signals: Signals, languages: tuple[Language, ...]) -> Iterator[str]:
    for number, signal in enumerate(signals.signal, 1):
        if (signal.category is None) == (signal.factor is None):
            yield f"signal {number} proposes neither or both of category and factor"
        if not signal.needs:
            yield f"signal {number} needs nothing"
        names = {name for need in signal.alternatives for name in need} | set(signal.unless)
        for language in languages:
            yield from (
                f"signal {number}: {language.code} has no concept {name}" for name in sorted(names - language.concepts)
            )
    for language in languages:
        yield from (f"{language.code} has no concept {name}" for name in CUES if name not in language.concepts)


def _language(file: Traversable) -> Language:
    try:
        data = msgspec.convert(tomllib.loads(_read(file)), type=_LanguageFile)
        tree = PhraseTree(data.concepts)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, PhraseError) as error:
        raise GrammarError(f"{file.name}: {error}") from error
    words = frozenset(folded(word) for word in data.words)
    return Language(file.name.removesuffix(".toml"), words, tree, frozenset(data.concepts))


def _folder() -> Traversable:
    return resources.files(__package__) / "grammar"


def _read(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")
