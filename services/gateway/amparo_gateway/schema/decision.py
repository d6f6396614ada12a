"""How a level came about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Final, Self

import strawberry

from amparo_common.events import types as events
from amparo_common.vocabulary.codes import Category, ClockKind, ClockState, Destination, Factor, FactorSource, Level
from amparo_common.vocabulary.guidelines import GUIDELINES
from amparo_gateway.schema.fields import described

_FALL_BACK: Final = "en"


@strawberry.type(description="A guideline that a rule or a decision cites, in Amparo's own words.")
class GuidelineReference:
    id: str
    edition: str
    area: str
    paraphrase: str


def cited(ids: Iterable[str]) -> list[GuidelineReference]:
    """Return the references of `ids`; one that this release does not list keeps its id."""
    return [_reference(reference_id) for reference_id in ids]


def _reference(reference_id: str) -> GuidelineReference:
    known = GUIDELINES.get(reference_id)
    if known is None:
        return GuidelineReference(id=reference_id, edition="", area="", paraphrase="Not listed in this release.")
    return GuidelineReference(id=known.id, edition=known.edition, area=known.area, paraphrase=known.paraphrase)


@strawberry.type(description="A rule of the policy pack that fired.")
class RuleFired:
    id: str
    floor: Level = strawberry.field(description="The least urgent level that it allows.")
    factors: list[Factor]
    cites: strawberry.Private[tuple[str, ...]]

    @strawberry.field
    def guidelines(self) -> list[GuidelineReference]:
        return cited(self.cites)


@strawberry.type(description="A factor, who found it, and whether a person confirmed or rejected it.")
class FactorFinding:
    factor: Factor
    source: FactorSource
    confirmed: bool | None


@strawberry.type(description="A lowering from P1 that waits for a second person.")
class ProposedLowering:
    level: Level
    category: Category
    by: str
    at: datetime


@strawberry.type(description="A service target that runs, was met, was missed or was stopped.")
class Clock:
    kind: ClockKind
    state: ClockState
    started_at: datetime
    due_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, reading: events.ClockReading) -> Self:
        return cls(
            kind=reading.kind,
            state=reading.state,
            started_at=reading.started_at,
            due_at=reading.due_at,
            completed_at=reading.completed_at,
        )


Language = Annotated[
    str | None, strawberry.argument(description="Two letters; where there is no text in it, English answers.")
]


@strawberry.type(description="How the level came about: the pack of its day, the rules that fired, what they cite.")
class TriageDecision:
    decision: strawberry.Private[events.Decision]
    version: int
    pack: str = strawberry.field(description="Name and version of the policy pack.")
    pack_digest: str = strawberry.field(description="The digest of the pack's bytes.")
    base_level: Level
    level: Level
    score: int = strawberry.field(description="Orders incidents inside a level and due time only.")
    proposed_destinations: list[Destination]
    human: bool
    decided_by: str | None
    decided_at: datetime
    awaiting_signature: bool = strawberry.field(description="A lowering from P1 waits for a second person.")
    proposed_lowering: ProposedLowering | None

    @classmethod
    def of(cls, incident: events.IncidentTriaged) -> Self:
        decision, lowering = incident.decision, incident.proposed_lowering
        return cls(
            decision=decision,
            version=decision.version,
            pack=decision.pack,
            pack_digest=decision.pack_digest,
            base_level=decision.base_level,
            level=decision.level,
            score=decision.score,
            proposed_destinations=list(decision.proposed_destinations),
            human=decision.human,
            decided_by=decision.decided_by,
            decided_at=decision.decided_at,
            awaiting_signature=incident.awaiting_signature,
            proposed_lowering=_proposed(lowering) if lowering else None,
        )

    @strawberry.field
    def rules(self) -> list[RuleFired]:
        return [
            RuleFired(id=rule.id, floor=rule.floor, factors=list(rule.factors), cites=rule.guidelines)
            for rule in self.decision.rules
        ]

    @strawberry.field
    def factors(self) -> list[FactorFinding]:
        return [
            FactorFinding(factor=finding.factor, source=finding.source, confirmed=finding.confirmed)
            for finding in self.decision.factors
        ]

    @strawberry.field
    def guidelines(self) -> list[GuidelineReference]:
        return cited(self.decision.guidelines)

    @described("In words, without any personal data.")
    def reasons(self, language: Language = strawberry.UNSET) -> list[str]:
        return list(_in_language(self.decision.reasons, language))


def _in_language(reasons: Mapping[str, tuple[str, ...]], language: str | None) -> tuple[str, ...]:
    wanted = (language or _FALL_BACK).lower().partition("-")[0]
    return reasons.get(wanted) or reasons.get(_FALL_BACK) or next(iter(reasons.values()), ())


def _proposed(lowering: events.ProposedLowering) -> ProposedLowering:
    return ProposedLowering(level=lowering.level, category=lowering.category, by=lowering.by, at=lowering.at)
