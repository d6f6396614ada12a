"""A policy as the decision sees it: a table of data, and the port of the engine that says which rules fire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from amparo_common.vocabulary.codes import Category, ClockKind, Destination, Factor, Level

#: Languages in which every text of a pack stands.
LANGUAGES = ("en", "es", "fr")


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a pack's file holds: an unknown name in the file is an error."""


class Words(_Strict, frozen=True, kw_only=True):
    """One text in every language."""

    en: str
    es: str
    fr: str

    def in_language(self, language: str) -> str:
        """Return the text in `language`, one of LANGUAGES."""
        return str(getattr(self, language))


class Removal(_Strict, frozen=True, kw_only=True):
    """Minutes until content is off the own network, or is looked at again elsewhere."""

    own_network: int
    elsewhere: int


class LevelPolicy(_Strict, frozen=True, kw_only=True):
    """What a level means and its service targets in minutes."""

    meaning: Words
    targets: dict[ClockKind, int]
    #: When not empty, the preservation clock runs only with one of these.
    preservation_only_with: tuple[Factor, ...] = ()
    removal: Removal | None = None


class CategoryPolicy(_Strict, frozen=True, kw_only=True):
    """Base level, destinations in order, and what they cite."""

    base: Level
    destinations: tuple[Destination, ...]
    guidelines: tuple[str, ...]


class Rule(_Strict, frozen=True, kw_only=True):
    """A floor under the level of whatever fits `when`."""

    id: str
    when: str
    floor: Level
    guidelines: tuple[str, ...]
    reason: Words


class DestinationRule(_Strict, frozen=True, kw_only=True):
    """Destinations before or after those of the category."""

    id: str
    when: str
    place: Literal["first", "further"]
    destinations: tuple[Destination, ...]


class JoiningPolicy(_Strict, frozen=True, kw_only=True):
    """Facts that are too common to say that two reports speak of one matter."""

    shared_hosts: frozenset[str]
    placeholder_handles: frozenset[str]


class PolicyWords(_Strict, frozen=True, kw_only=True):
    """The words around the reasons. `category` holds `{label}` and `{level}`."""

    category: Words
    text_pending: Words
    missed: Words
    unconfirmed: Words
    by_person: Words


class PolicyTable(_Strict, frozen=True, kw_only=True):
    """A policy pack as its file states it."""

    name: str
    version: str
    sets: dict[str, tuple[Category, ...]]
    level: dict[Level, LevelPolicy]
    weights: dict[Factor, int]
    joining: JoiningPolicy
    category: dict[Category, CategoryPolicy]
    rule: tuple[Rule, ...]
    destination: tuple[DestinationRule, ...]
    words: PolicyWords


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What conditions speak about: factors held, categories (primary first), and for destinations the level decided."""

    held: frozenset[Factor]
    categories: tuple[Category, ...]
    level: Level | None = None


class RuleMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that fired, and the held factors that its condition speaks of."""

    rule: Rule
    factors: tuple[Factor, ...]


class RulePack(Protocol):
    """A compiled pack. Evaluation is pure: equal facts give equal answers, and no input makes it fail."""

    @property
    def table(self) -> PolicyTable: ...

    @property
    def label(self) -> str:
        """Name and version, such as `base 1`."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the pack's bytes, hexadecimal."""
        ...

    def evaluate(self, facts: Facts) -> tuple[RuleMatch, ...]:
        """Return the rules that fire, in the order of the pack."""
        ...

    def destinations(self, facts: Facts) -> tuple[DestinationRule, ...]:
        """Return the destination rules that fit, in the order of the pack."""
        ...


class PackError(ValueError):
    """A pack that must not be used. The text names the file, the rule and what is wrong."""


def words_by_language(texts: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Freeze reasons by language."""
    return {language: tuple(texts[language]) for language in LANGUAGES}
