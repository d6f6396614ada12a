"""What one report says: its clear facts, what its words propose, and the findings that follow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from amparo_common.events.types import FactorFinding
from amparo_common.vocabulary.codes import Category, Channel, Factor, FactorSource, ReporterType
from amparo_common.vocabulary.sets import HUMAN_ONLY_FACTORS, YOUNG_AGE

_SEVERAL: Final = 2
#: A finding of a stronger source takes the place of one that no person judged yet.
_STRENGTH: Final = {
    FactorSource.HUMAN: 4,
    FactorSource.PARTNER: 3,
    FactorSource.REPORTER: 2,
    FactorSource.SYSTEM: 1,
    FactorSource.TEXT: 0,
}


class ReportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The clear facts of a report. None means that the question was not answered, never "no"."""

    report_id: UUID
    received_at: datetime
    country: str
    channel: Channel
    category: Category | None
    factors: tuple[Factor, ...]
    victim_age: int | None
    victim_count: int | None
    imminent_danger: bool | None
    reporter_type: ReporterType | None
    owner: str | None
    trusted_source: bool
    is_test: bool


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A passage of a text that a proposal rests on: `start` and `end` count characters of the text as written."""

    start: int
    end: int
    factor: Factor | None = None
    category: Category | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the words of a report propose: categories (best first), factors, and the passages that they rest on."""

    categories: tuple[Category, ...] = ()
    factors: tuple[Factor, ...] = ()
    #: Factors that follow from sealed fields of the form, such as a phone number among the reported accounts.
    derived: tuple[Factor, ...] = ()
    passages: tuple[Passage, ...] = ()


NOTHING_READ: Final = Reading()


class Recurrence(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a fact of the report stood in an earlier one (`subject`), and whether the very item did (`item`)."""

    subject: bool = False
    item: bool = False


def clear_findings(facts: ReportFacts) -> tuple[FactorFinding, ...]:
    """Return what the form says: ticks (REPORTER) and what follows from its fields (SYSTEM)."""
    ticked = [factor for factor in facts.factors if factor not in HUMAN_ONLY_FACTORS]
    if facts.imminent_danger:
        ticked.insert(0, Factor.IMMINENT_DANGER)
    derived: list[Factor] = []
    if facts.victim_age is not None and facts.victim_age < YOUNG_AGE:
        derived.append(Factor.UNDER13)
    if facts.reporter_type is ReporterType.CHILD:
        derived.append(Factor.CHILD_REPORTER)
    if facts.trusted_source:
        derived.append(Factor.TRUSTED_SOURCE)
    if facts.victim_count is not None and facts.victim_count >= _SEVERAL:
        derived.append(Factor.MULTIPLE_VICTIMS)
    return _found(facts.report_id, ticked, FactorSource.REPORTER) + _found(
        facts.report_id, derived, FactorSource.SYSTEM
    )


def recurrence_findings(report_id: UUID, recurrence: Recurrence) -> tuple[FactorFinding, ...]:
    """Return what the claimed facts say about earlier reports."""
    factors = [Factor.REPEAT_SUBJECT] if recurrence.subject or recurrence.item else []
    return _found(report_id, [*factors, *([Factor.DUPLICATE] if recurrence.item else [])], FactorSource.SYSTEM)


def text_findings(report_id: UUID, reading: Reading) -> tuple[FactorFinding, ...]:
    """Return the factors that the sealed part proposes. They count at once; a human confirms or rejects them later."""
    factors = [factor for factor in reading.factors if factor not in HUMAN_ONLY_FACTORS]
    return _found(report_id, reading.derived, FactorSource.SYSTEM) + _found(report_id, factors, FactorSource.TEXT)


def _found(report_id: UUID, factors: Iterable[Factor], source: FactorSource) -> tuple[FactorFinding, ...]:
    return tuple(FactorFinding(factor=factor, source=source, report_id=report_id) for factor in dict.fromkeys(factors))


def admitted(
    known: Iterable[FactorFinding], new: Iterable[FactorFinding], *, anew: bool = False
) -> tuple[FactorFinding, ...]:
    """Return those of `new` that no person rejected for the report that they come from.

    With `anew` all: they come from words that nobody judged yet, such as a message sent after the rejection.
    """
    rejected = {(old.factor, old.report_id) for old in known if old.confirmed is False}
    return tuple(finding for finding in new if anew or (finding.factor, finding.report_id) not in rejected)


def merged(
    known: tuple[FactorFinding, ...], new: Iterable[FactorFinding], *, anew: bool = False
) -> tuple[FactorFinding, ...]:
    """Add findings to those known: one that holds is enough for a factor, and a rejection ends with its own report.

    A stronger source takes the place of a weaker one that no person judged yet. Nothing known is dropped. For `anew`
    see `admitted`.
    """
    findings = list(known)
    for finding in admitted(known, new, anew=anew):
        same = [(place, old) for place, old in enumerate(findings) if old.factor is finding.factor]
        holding = next(((place, old) for place, old in same if old.confirmed is not False), None)
        if holding is None:
            findings.append(finding)
        elif holding[1].confirmed is None and _STRENGTH[finding.source] > _STRENGTH[holding[1].source]:
            findings[holding[0]] = finding
    return tuple(findings)


def held(findings: Iterable[FactorFinding]) -> frozenset[Factor]:
    """Return the factors that count: found, and not rejected by a human."""
    return frozenset(finding.factor for finding in findings if finding.confirmed is not False)
