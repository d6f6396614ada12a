"""The lane guess: which reports travel first. A lane is transport, never a level; triage decides those."""

from __future__ import annotations

from typing import Final

from amparo_common.vocabulary.codes import Category, Factor, Lane
from amparo_intake.domain.facts import ClearFacts

#: Categories that triage may decide as P1 by themselves or with a date that only the text tells.
_URGENT_CATEGORIES: Final = frozenset(
    {
        Category.TRAFFICKING,
        Category.SADISTIC_COERCION,
        Category.MISSING_CHILD,
        Category.CSAM_LIVESTREAM,
        Category.CONTACT_ABUSE,
        Category.GROOMING_MEETING,
        Category.SELF_HARM_RISK,
    }
)
_URGENT_FACTORS: Final = frozenset(
    {
        Factor.IMMINENT_DANGER,
        Factor.ONGOING_ABUSE,
        Factor.HANDS_ON_ACCESS,
        Factor.SELF_HARM_ACTIVE,
        Factor.SELF_HARM_INDICATOR,
        Factor.ACTIVE_THREAT,
    }
)
_URGENT_TOGETHER: Final = frozenset({Factor.NEW_MATERIAL, Factor.IDENTIFIABLE_CHILD})
_DANGER: Final = frozenset({Factor.IMMINENT_DANGER, Factor.ONGOING_ABUSE, Factor.SELF_HARM_ACTIVE})


def danger_is_ticked(facts: ClearFacts) -> bool:
    """Say whether the reporter ticked that a child is in danger now; no limit ever stands in the way of that."""
    return facts.imminent_danger is True or not _DANGER.isdisjoint(facts.factors)


def lane_of(facts: ClearFacts) -> Lane:
    """Guess the lane from the clear facts: urgent when triage could decide P1 from them."""
    urgent = (
        danger_is_ticked(facts)
        or facts.category in _URGENT_CATEGORIES
        or not _URGENT_FACTORS.isdisjoint(facts.factors)
        or _URGENT_TOGETHER.issubset(facts.factors)
    )
    return Lane.URGENT if urgent else Lane.STANDARD
