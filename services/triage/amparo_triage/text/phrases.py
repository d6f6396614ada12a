"""Phrases of a language, compiled to one tree of words in which every concept is looked for at once.

A phrase is words with blanks. `threat*` is every word that begins so, `_` for any one word, `#0-12` for a number
in that range, `(photo|picture)` for either, `(very|)` for a word that may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from amparo_triage.text.tokens import Token, folded

_MARK: Final = re.compile(r"[(|)]|[^\s(|)]+")
_NUMBER: Final = re.compile(r"#(\d+)-(\d+)\Z")
_SHORTEST_STEM: Final = 2
_LONGEST_NUMBER: Final = 4


class Occurrence(NamedTuple):
    """A phrase of `concept` over the tokens from `first` to `last`, both included."""

    concept: str
    first: int
    last: int


class PhraseError(ValueError):
    """A phrase that cannot be compiled; the text names it."""


class _Node:
    __slots__ = ("anything", "concepts", "numbers", "stems", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node] = {}
        self.stems: dict[int, dict[str, _Node]] = {}
        self.numbers: list[tuple[range, _Node]] = []
        self.anything: _Node | None = None
        self.concepts: tuple[str, ...] = ()


#: Words, and choices between sequences.
_Sequence: TypeAlias = "list[str | list[_Sequence]]"


class PhraseTree:
    """Finds every occurrence of every concept in one walk over the words."""

    def __init__(self, concepts: Mapping[str, Iterable[str]]) -> None:
        """Compile phrases by concept; raises PhraseError, naming the phrase."""
        self._root = _Node()
        for concept, phrases in concepts.items():
            for phrase in phrases:
                self._add(concept, phrase)

    def _add(self, concept: str, phrase: str) -> None:
        for node in _ends(_parsed(phrase), [self._root], phrase=phrase):
            if node is self._root or node is self._root.anything:
                raise PhraseError(f"{concept}: the phrase {phrase!r} says nothing")
            if concept not in node.concepts:
                node.concepts = (*node.concepts, concept)

    def occurrences(self, tokens: Sequence[Token]) -> list[Occurrence]:
        """Return what is found, by first word. A phrase does not run over the end of a sentence."""
        found: list[Occurrence] = []
        for first in range(len(tokens)):
            self._walk(self._root, tokens, first, first, found)
        return found

    def _walk(self, node: _Node, tokens: Sequence[Token], first: int, at: int, found: list[Occurrence]) -> None:
        if at >= len(tokens) or tokens[at].sentence != tokens[first].sentence:
            return
        for follower in _followers(node, tokens[at].word):
            found.extend(Occurrence(concept, first, at) for concept in follower.concepts)
            self._walk(follower, tokens, first, at + 1, found)


def _followers(node: _Node, word: str) -> Iterator[_Node]:
    if (exact := node.words.get(word)) is not None:
        yield exact
    for length, stems in node.stems.items():
        if (stem := stems.get(word[:length])) is not None:
            yield stem
    if node.numbers and len(word) <= _LONGEST_NUMBER and word.isdecimal():
        number = int(word)
        yield from (follower for numbers, follower in node.numbers if number in numbers)
    if node.anything is not None:
        yield node.anything


def _step(node: _Node, word: str, *, phrase: str) -> _Node:
    if word == "_":
        node.anything = node.anything or _Node()
        return node.anything
    if word.startswith("#"):
        return _number_step(node, word, phrase=phrase)
    if word.endswith("*"):
        stem = folded(word[:-1])
        if len(stem) < _SHORTEST_STEM:
            raise PhraseError(f"the stem {word!r} of {phrase!r} is too short")
        return node.stems.setdefault(len(stem), {}).setdefault(stem, _Node())
    return node.words.setdefault(folded(word), _Node())


def _number_step(node: _Node, word: str, *, phrase: str) -> _Node:
    match = _NUMBER.match(word)
    if match is None:
        raise PhraseError(f"{word!r} of {phrase!r} is no range such as #0-12")
    numbers = range(int(match[1]), int(match[2]) + 1)
    for known, follower in node.numbers:
        if known == numbers:
            return follower
    follower = _Node()
    node.numbers.append((numbers, follower))
    return follower


def _parsed(phrase: str) -> _Sequence:
    """Parse a phrase into words and choices, a choice being sequences again."""
    choices: list[list[_Sequence]] = [[[]]]
    for mark in _MARK.findall(phrase):
        if mark == "(":
            choices.append([[]])
        elif mark == "|" and len(choices) > 1:
            choices[-1].append([])
        elif mark == ")" and len(choices) > 1:
            chosen = choices.pop()
            choices[-1][-1].append(chosen)
        elif mark in {"|", ")"}:
            raise PhraseError(f"the brackets of {phrase!r} do not match")
        else:
            choices[-1][-1].extend(_pieces(mark))
    if len(choices) != 1:
        raise PhraseError(f"the brackets of {phrase!r} do not match")
    return choices[0][0]


def _ends(sequence: _Sequence, starts: Sequence[_Node], *, phrase: str) -> list[_Node]:
    """Make the ways that `sequence` leads from `starts`; return where they end."""
    nodes = list(starts)
    for item in sequence:
        if isinstance(item, str):
            nodes = [_step(node, item, phrase=phrase) for node in nodes]
        else:
            nodes = [end for option in item for end in _ends(option, nodes, phrase=phrase)]
    return nodes


def _pieces(word: str) -> list[str]:
    """Part a word as texts are parted: at apostrophes and hyphens."""
    if word.startswith("#"):
        return [word]
    return [piece for piece in re.split(r"['\u2019\-]", word) if piece]
