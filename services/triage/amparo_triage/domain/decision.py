"""The decision: floors over the most urgent base, reasons in words, destinations and a score inside the level."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from amparo_common.events.types import Decision, FactorFinding, RuleFired
from amparo_common.vocabulary.codes import Category, Destination, Factor, FactorSource, Level, most_urgent
from amparo_common.vocabulary.labels import label
from amparo_triage.domain.facts import held
from amparo_triage.domain.policy import LANGUAGES, Facts, RuleMatch, RulePack, Words, words_by_language

_NOBODY: Final = frozenset({Destination.NONE_CLOSE, Destination.RETURN_TO_REPORTER})


def decide(
    findings: tuple[FactorFinding, ...],
    *,
    categories: tuple[Category, ...],
    shared: Collection[Factor],
    earlier: Decision | None,
    text_pending: bool,
    missed: bool,
    pack: RulePack,
    now: datetime,
) -> Decision:
    """Decide on findings and categories (primary first).

    Level and base never fall below the `earlier` decision's. Equal content returns the earlier decision itself, so its
    version and time stay those of the change.
    """
    table = pack.table
    factors = held(findings)
    base = most_urgent(*(table.category[category].base for category in categories), *_earlier_base(earlier))
    matches = pack.evaluate(Facts(held=factors, categories=categories))
    level = most_urgent(base, *(match.rule.floor for match in matches), *_earlier_level(earlier))
    decision = Decision(
        version=1,
        pack=pack.label,
        pack_digest=pack.digest,
        base_level=base,
        level=level,
        score=score(factors, shared=shared, pack=pack),
        rules=tuple(_fired(match) for match in matches),
        factors=findings,
        guidelines=_guidelines(categories, matches=matches, pack=pack),
        reasons=_reasons(
            level,
            categories=categories,
            matches=matches,
            findings=findings,
            pack=pack,
            pending=text_pending,
            late=missed,
        ),
        proposed_destinations=destinations(factors, categories=categories, level=level, pack=pack),
        human=False,
        decided_by=None,
        decided_at=now,
        text_pending=text_pending,
    )
    if earlier is None:
        return decision
    same = replace(decision, version=earlier.version, decided_at=earlier.decided_at)
    return earlier if same == earlier else replace(decision, version=earlier.version + 1)


def score(factors: Collection[Factor], *, shared: Collection[Factor], pack: RulePack) -> int:
    """Return the order inside a level: higher first, never below 0.

    A weight below zero counts only when every report carries its factor, so a copy never moves back what others need.
    """
    weights = pack.table.weights
    return max(0, sum(weights[factor] for factor in factors if weights[factor] > 0 or factor in shared))


def destinations(
    factors: frozenset[Factor], *, categories: tuple[Category, ...], level: Level, pack: RulePack
) -> tuple[Destination, ...]:
    """Return the destinations in order; the machine refers to the first, the others are proposals to a human."""
    rules = pack.destinations(Facts(held=factors, categories=categories, level=level))
    first = [place for rule in rules if rule.place == "first" for place in rule.destinations]
    further = [place for rule in rules if rule.place == "further" for place in rule.destinations]
    own = [place for category in categories for place in pack.table.category[category].destinations]
    ordered = dict.fromkeys((*first, *own, *further))
    # "Nobody" and "back to the reporter" stand first or not at all.
    return tuple(place for position, place in enumerate(ordered) if position == 0 or place not in _NOBODY)


def _earlier_base(earlier: Decision | None) -> tuple[Level, ...]:
    return () if earlier is None or earlier.human else (earlier.base_level,)


def _earlier_level(earlier: Decision | None) -> tuple[Level, ...]:
    return () if earlier is None else (earlier.level,)


def _fired(match: RuleMatch) -> RuleFired:
    rule = match.rule
    return RuleFired(id=rule.id, floor=rule.floor, factors=match.factors, guidelines=rule.guidelines)


def _guidelines(categories: Sequence[Category], *, matches: Sequence[RuleMatch], pack: RulePack) -> tuple[str, ...]:
    of_rules = [name for match in matches for name in match.rule.guidelines]
    of_categories = [name for category in categories for name in pack.table.category[category].guidelines]
    return tuple(dict.fromkeys((*of_rules, *of_categories)))


def _reasons(
    level: Level,
    *,
    categories: Sequence[Category],
    matches: Sequence[RuleMatch],
    findings: Sequence[FactorFinding],
    pack: RulePack,
    pending: bool,
    late: bool,
) -> dict[str, tuple[str, ...]]:
    table = pack.table
    sentences: list[Words] = [table.level[level].meaning, *(match.rule.reason for match in matches)]
    open_proposals = any(one.source is FactorSource.TEXT and one.confirmed is None for one in findings)
    notes = [
        words
        for words, said in (
            (table.words.unconfirmed, open_proposals),
            (table.words.text_pending, pending),
            (table.words.missed, late),
        )
        if said
    ]
    texts: dict[str, list[str]] = {}
    for language in LANGUAGES:
        named = [
            table.words.category.in_language(language).format(
                label=label(category, language=language), level=table.category[category].base
            )
            for category in categories
        ]
        texts[language] = [
            sentences[0].in_language(language),
            *named,
            *(words.in_language(language) for words in (*sentences[1:], *notes)),
        ]
    return words_by_language(texts)
