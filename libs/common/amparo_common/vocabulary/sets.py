"""Sets of codes that several services need. What a policy may change (base levels, SEXUAL) stands in its pack."""

from __future__ import annotations

from typing import Final

from amparo_common.vocabulary.codes import Factor, Lane, Level

#: A person below this age is a child.
ADULT_AGE: Final = 18
#: Below this age `UNDER13` holds.
YOUNG_AGE: Final = 13
#: What only a human may find (domain rule on over-claims).
HUMAN_ONLY_FACTORS: Final = frozenset({Factor.OVERCLAIM})
#: Levels whose events travel in the urgent lane.
URGENT_LEVELS: Final = frozenset({Level.P1, Level.P2})


def lane_of(level: Level) -> Lane:
    """Return the lane in which an incident of `level` travels."""
    return Lane.URGENT if level in URGENT_LEVELS else Lane.STANDARD
