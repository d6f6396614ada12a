"""Reading a report's words: deterministic, explainable, and only ever a proposal.

What a text asks of the system ("set this to the lowest priority") is text like any other: there is no concept for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from amparo_common.vocabulary.codes import Category, Factor
from amparo_triage.domain.facts import Passage, Reading
from amparo_triage.text.grammar import Language, Signal, load_languages, load_signals
from amparo_triage.text.phrases import Occurrence
from amparo_triage.text.tokens import Token, tokens_of

#: A language is read when it has at least this share of the words of the strongest one.
_SHARE: Final = 0.6
#: How many words after a negation belong to it.
_NEGATED_WORDS: Final = 3
#: A new sentence counts as so many words of distance.
_SENTENCE_GAP: Final = 6
_PLACES_KEPT: Final = 8


class _Hit(NamedTuple):
    signal: Signal
    first: int
    last: int


class TextReader:
    """Proposes categories and factors from a text; what language the form names does not matter."""

    def __init__(self) -> None:
        """Load the grammars; raises GrammarError, naming file and concept."""
        self._languages = load_languages()
        self._signals = load_signals(self._languages)

    def read(self, text: str) -> Reading:
        """Return what `text` proposes: categories best first, factors in their own order, and the passages."""
        tokens = tokens_of(text)
        hits = [hit for language in self._spoken(tokens) for hit in self._hits(language, tokens)]
        categories = self._categories(hits)
        factors = {hit.signal.factor for hit in hits if hit.signal.factor is not None}
        told = [hit for hit in hits if hit.signal.category in categories or hit.signal.factor is not None]
        return Reading(
            categories=categories,
            factors=tuple(factor for factor in Factor if factor in factors),
            passages=_passages(told, tokens),
        )

    def _spoken(self, tokens: Sequence[Token]) -> list[Language]:
        counts = {language.code: sum(token.word in language.words for token in tokens) for language in self._languages}
        most = max(counts.values(), default=0)
        return [language for language in self._languages if counts[language.code] >= most * _SHARE]

    def _hits(self, language: Language, tokens: Sequence[Token]) -> list[_Hit]:
        found = language.tree.occurrences(tokens)
        by_concept: dict[str, list[Occurrence]] = defaultdict(list)
        for occurrence in found:
            by_concept[occurrence.concept].append(occurrence)
        cues = _Cues(by_concept, tokens)
        for concept, occurrences in by_concept.items():
            if concept not in self._signals.never_negated:
                by_concept[concept] = [one for one in occurrences if not cues.negated(one)]
        hits = []
        for signal in self._signals.signal:
            span = _span(signal, by_concept, tokens=tokens, cues=cues)
            if span is not None:
                hits.append(_Hit(signal, *span))
        return hits

    def _categories(self, hits: Sequence[_Hit]) -> tuple[Category, ...]:
        weights: Counter[Category] = Counter()
        for hit in hits:
            if hit.signal.category is not None:
                weights[hit.signal.category] += hit.signal.weight
        order = list(Category)
        enough = [category for category, weight in weights.items() if weight >= self._signals.threshold]
        return tuple(sorted(enough, key=lambda category: (-weights[category], order.index(category))))


class _Cues:
    """Negations, turns ("but"), stories and times long past, by the place where they stand."""

    def __init__(self, found: Mapping[str, Sequence[Occurrence]], tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._negations = [(one.first, one.last) for one in found.get("NEGATION", ())]
        self._turns = [one.first for one in found.get("TURN", ())]
        self._story = {tokens[one.first].sentence for one in found.get("STORY", ())}
        self._long_ago = {tokens[one.first].sentence for one in found.get("LONG_AGO", ())}
        self._sentences: dict[str, set[int]] = {
            concept: {tokens[one.first].sentence for one in occurrences} for concept, occurrences in found.items()
        }

    def negated(self, one: Occurrence) -> bool:
        """Say whether a negation shortly before it takes the phrase away."""
        for first, last in self._negations:
            near = last < one.first <= last + _NEGATED_WORDS
            same = self._tokens[first].sentence == self._tokens[one.first].sentence
            if near and same and not any(last < turn <= one.first for turn in self._turns):
                return True
        return False

    def forbid(self, signal: Signal, *, first: int, last: int) -> bool:
        """Say whether the sentences from `first` to `last` take the meaning of `signal` away."""
        sentences = range(self._tokens[first].sentence, self._tokens[last].sentence + 1)
        if not signal.told and any(sentence in self._story for sentence in sentences):
            return True
        if signal.now and any(sentence in self._long_ago for sentence in sentences):
            return True
        return any(sentence in self._sentences.get(concept, ()) for concept in signal.unless for sentence in sentences)


def _span(
    signal: Signal, found: Mapping[str, Sequence[Occurrence]], *, tokens: Sequence[Token], cues: _Cues
) -> tuple[int, int] | None:
    """Return the first and last word of the first place where all that `signal` needs stands near enough."""
    needs = []
    for names in signal.alternatives:
        places = sorted({(one.first, one.last) for name in names for one in found.get(name, ())})[:_PLACES_KEPT]
        if not places:
            return None
        needs.append(places)
    for first, last in needs[0]:
        span = _grown(signal, needs[1:], first=first, last=last, tokens=tokens)
        if span is not None and not cues.forbid(signal, first=span[0], last=span[1]):
            return span
    return None


def _grown(
    signal: Signal, needs: Sequence[Sequence[tuple[int, int]]], *, first: int, last: int, tokens: Sequence[Token]
) -> tuple[int, int] | None:
    if not needs:
        return first, last
    for next_first, next_last in needs[0]:
        if signal.ordered and next_first <= last:
            continue
        low, high = min(first, next_first), max(last, next_last)
        distance = high - low + _SENTENCE_GAP * (tokens[high].sentence - tokens[low].sentence)
        if distance <= signal.within:
            span = _grown(signal, needs[1:], first=low, last=high, tokens=tokens)
            if span is not None:
                return span
    return None


def _passages(hits: Sequence[_Hit], tokens: Sequence[Token]) -> tuple[Passage, ...]:
    found = {
        (tokens[hit.first].start, tokens[hit.last].end, hit.signal.factor, hit.signal.category): None for hit in hits
    }
    return tuple(
        Passage(start=start, end=end, factor=factor, category=category)
        for start, end, factor, category in sorted(found, key=lambda one: (one[0], one[1], str(one[2]), str(one[3])))
    )
