"""What people settle about an incident, and what came after it that they did not know."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from amparo_common.events.types import FactorFinding
from amparo_common.vocabulary.codes import Category, Factor, FactorSource, Level
from amparo_triage.domain.facts import held

#: What joining itself says: it is news only where it was not said before, else each copy would undo a human decision.
RECURRENCE: Final = frozenset({Factor.REPEAT_SUBJECT, Factor.DUPLICATE})


class Sighting(msgspec.Struct, frozen=True, array_like=True):
    """Where a factor was last found, and at which version: a repeat in another report is news to an older decision."""

    factor: Factor
    version: int
    source: FactorSource
    report_id: UUID | None


class CategorySighting(msgspec.Struct, frozen=True, array_like=True):
    """At which version a category first came to the incident."""

    category: Category
    version: int


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a person decides, having seen the incident at `known_version`.

    Without `secondary` the secondary categories stay. One factor is not in both `confirm` and `reject`.
    """

    level: Level
    category: Category
    secondary: tuple[Category, ...] | None
    confirm: tuple[Factor, ...]
    reject: tuple[Factor, ...]
    known_version: int


class HumanDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The last decision of a person: the level that only news raises, and what was known to it."""

    level: Level
    categories: tuple[Category, ...]
    by: str
    at: datetime
    known_version: int


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A lowering that waits for a second person. `by` is a login name, `subject` the same person for the issuer."""

    judgement: Judgement
    by: str
    subject: str
    at: datetime


class News(msgspec.Struct, frozen=True, kw_only=True):
    """Factors and categories that a decision did not know."""

    factors: tuple[Factor, ...] = ()
    categories: tuple[Category, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.factors or self.categories)


NO_NEWS: Final = News()


def sighted(
    sightings: tuple[Sighting, ...], found: Iterable[FactorFinding], *, before: Collection[Factor], version: int
) -> tuple[Sighting, ...]:
    """Note that `found` came at `version`; `before` are the factors that held until then. One sighting a factor."""
    known = {one.factor: one for one in sightings}
    for finding in found:
        if finding.factor in RECURRENCE and finding.factor in before:
            continue
        known[finding.factor] = Sighting(finding.factor, version, finding.source, finding.report_id)
    return tuple(known.values())


def categories_sighted(
    sightings: tuple[CategorySighting, ...],
    categories: Iterable[Category],
    *,
    before: Collection[Category],
    version: int,
) -> tuple[CategorySighting, ...]:
    """Note the `categories` that came at `version` and were not there before."""
    new = [category for category in categories if category not in before]
    kept = [one for one in sightings if one.category not in new]
    return (*kept, *(CategorySighting(category, version) for category in new))


def news_since(
    version: int,
    *,
    findings: Iterable[FactorFinding],
    sightings: Iterable[Sighting],
    categories: Collection[Category],
    categories_seen: Iterable[CategorySighting],
    known_categories: Collection[Category] = (),
) -> News:
    """Return what came after `version` and still counts, the `known_categories` aside."""
    counting = held(findings)
    return News(
        factors=tuple(one.factor for one in sightings if one.version > version and one.factor in counting),
        categories=tuple(
            one.category
            for one in categories_seen
            if one.version > version and one.category in categories and one.category not in known_categories
        ),
    )


def judged(
    findings: tuple[FactorFinding, ...], judgement: Judgement, *, sightings: Iterable[Sighting], first_report: UUID
) -> tuple[FactorFinding, ...]:
    """Confirm and reject findings as a person judged them.

    What the person found (OVERCLAIM too) becomes a finding of its own; a rejection of what nobody found yet holds for
    the `first_report`. A rejected factor that another report brought after `known_version` stays: nobody judged that.
    """
    settled = [_judged_one(finding, judgement) for finding in findings]
    counting, named = held(settled), {finding.factor for finding in settled}
    settled += [
        FactorFinding(factor=factor, source=FactorSource.HUMAN, confirmed=True)
        for factor in judgement.confirm
        if factor not in counting
    ]
    settled += [
        FactorFinding(factor=factor, source=FactorSource.HUMAN, confirmed=False, report_id=first_report)
        for factor in judgement.reject
        if factor not in named
    ]
    settled += [
        FactorFinding(factor=one.factor, source=one.source, report_id=one.report_id)
        for one in sightings
        if one.factor in judgement.reject and one.version > judgement.known_version
    ]
    return tuple({(one.factor, one.report_id, one.confirmed): one for one in settled}.values())


def _judged_one(finding: FactorFinding, judgement: Judgement) -> FactorFinding:
    if finding.factor in judgement.reject:
        return replace(finding, confirmed=False)
    if finding.factor in judgement.confirm and finding.confirmed is None:
        return replace(finding, confirmed=True)
    return finding
