"""What a decision costs once its facts are known: the pack's rules, reasons, destinations and score."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import cycle, islice

from amparo_common.events.types import FactorFinding
from amparo_common.vocabulary.codes import Category, Factor, FactorSource
from amparo_triage.domain.decision import decide
from amparo_triage.policy.pack import base_pack

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def decision_microseconds(*, rounds: int) -> list[float]:
    """Decide `rounds` times on changing facts and return the microseconds of each; a fresh set of facts each time."""
    pack, spent = base_pack(), []
    for number, category in enumerate(islice(cycle(Category), rounds)):
        factors = [factor for position, factor in enumerate(Factor) if number >> position % 11 & 1]
        findings = tuple(FactorFinding(factor=factor, source=FactorSource.REPORTER) for factor in factors)
        started = time.perf_counter()
        decide(
            findings,
            categories=(category,),
            shared=(),
            earlier=None,
            text_pending=False,
            missed=False,
            pack=pack,
            now=_NOW,
        )
        spent.append((time.perf_counter() - started) * 1e6)
    return spent
