"""The clear facts of a report: codes, counts and answers. What is not here is sealed before it is first written."""

from __future__ import annotations

from typing import Final

import msgspec

from amparo_common.vocabulary.codes import Category, Channel, Factor, ReporterType, SafeContact

#: A reporter's tick of these says nothing: one is for people who triage, the other comes from a verified token.
NOT_FOR_REPORTERS: Final = frozenset({Factor.OVERCLAIM, Factor.TRUSTED_SOURCE})


class ClearFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand in clear in databases and events. None means not answered, never no."""

    channel: Channel
    language: str
    country: str
    category: Category | None = None
    factors: tuple[Factor, ...] = ()
    victim_age: int | None = None
    victim_count: int | None = None
    imminent_danger: bool | None = None
    reporter_type: ReporterType | None = None
    safe_contact: SafeContact | None = None
    is_test: bool = False


def ticked(factors: tuple[Factor, ...]) -> tuple[Factor, ...]:
    """Return the factors that a reporter may tick, each once, in the order given."""
    return tuple(factor for factor in dict.fromkeys(factors) if factor not in NOT_FOR_REPORTERS)


def may_be_written_to(facts: ClearFacts) -> bool:
    """Say whether an answer may be left for this reporter at all, to be read with the case code.

    Who asked never to be contacted, or has a watched device and did not choose the code, is left alone (SG-08).
    """
    if facts.safe_contact is SafeContact.NEVER:
        return False
    return Factor.UNSAFE_CALLBACK not in facts.factors or facts.safe_contact is SafeContact.CODE_ONLY
