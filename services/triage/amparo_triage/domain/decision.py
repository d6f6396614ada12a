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
from amparo_triage.domain.judgement import NO_NEWS, HumanDecision, News
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
    human: HumanDecision | None = None,
    news: News = NO_NEWS,
    floor: Level | None = None,
) -> Decision:
    """Decide on findings and categories (primary first).

    The level never falls below `floor`; before any `human` decision base and level do not fall below the `earlier`
    decision's either. After one its level stands, and only `news` raises above it. Equal content returns the earlier
    decision itself, so its version and time stay those of the change.
    """
    table = pack.table
    factors = held(findings)
    matches = pack.evaluate(Facts(held=factors, categories=categories))
    base = most_urgent(*(table.category[category].base for category in categories))
    if human is None:
        base = most_urgent(base, *([earlier.base_level] if earlier else []))
        floors = (base, *(match.rule.floor for match in matches))
    else:
        of_news = floors_of_news(news, held=factors, categories=categories, matches=matches, pack=pack)
        floors = (human.level, *of_news)
    level = most_urgent(*floors, *([floor] if floor else []))
    stands = human if human is not None and human.level is level else None
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
            by_person=stands is not None,
        ),
        proposed_destinations=destinations(factors, categories=categories, level=level, pack=pack),
        human=stands is not None,
        decided_by=stands.by if stands else None,
        decided_at=stands.at if stands else now,
        text_pending=text_pending,
    )
    return decision if earlier is None else _unless_same(decision, earlier)


def _unless_same(decision: Decision, earlier: Decision) -> Decision:
    same = replace(decision, version=earlier.version)
    if not decision.human:
        same = replace(same, decided_at=earlier.decided_at)
    return earlier if same == earlier else replace(decision, version=earlier.version + 1)


def floors_of_news(
    news: News,
    *,
    held: frozenset[Factor],
    categories: tuple[Category, ...],
    matches: Sequence[RuleMatch],
    pack: RulePack,
) -> tuple[Level, ...]:
    """Return the floors that stand because of `news`: what would not fire without it, and bases of new categories.

    `matches` are the rules that fire on everything.
    """
    if not news:
        return ()
    # Without any known category the rules are asked as for an incident of which nothing is known.
    known_categories = tuple(one for one in categories if one not in news.categories) or (Category.INSUFFICIENT_INFO,)
    known = pack.evaluate(Facts(held=held - set(news.factors), categories=known_categories))
    fired_before = {match.rule.id for match in known}
    floors = [match.rule.floor for match in matches if match.rule.id not in fired_before]
    return (*floors, *(pack.table.category[category].base for category in news.categories))


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
    by_person: bool,
) -> dict[str, tuple[str, ...]]:
    table = pack.table
    sentences: list[Words] = [table.level[level].meaning, *(match.rule.reason for match in matches)]
    by_whom = [table.words.by_person] if by_person else []
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
            *(words.in_language(language) for words in by_whom),
            *named,
            *(words.in_language(language) for words in (*sentences[1:], *notes)),
        ]
    return words_by_language(texts)
