"""Which reports speak of one matter: equal facts inside one country, the first to name a fact claims it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from amparo_triage.domain.facts import Recurrence

#: Kinds of fact that are the reported item itself; the others name an account or line.
ITEM_KINDS: Final = frozenset({"address", "hash"})


class Fact(NamedTuple):
    """A fact as its blind-index value."""

    kind: str
    value: bytes


class Claim(NamedTuple):
    """A fact in a country. A join never crosses a jurisdiction, so each country has its own claim."""

    kind: str
    value: bytes
    country: str

    @property
    def fact(self) -> Fact:
        return Fact(self.kind, self.value)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A report that looks for its incident."""

    report_id: UUID
    country: str
    facts: tuple[Fact, ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        return tuple(Claim(fact.kind, fact.value, self.country) for fact in self.facts)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """The incident of a report, whether the report opens it, what recurs, and the claims that the incident gained."""

    report_id: UUID
    incident_id: UUID
    opens: bool
    recurrence: Recurrence
    claims: tuple[Claim, ...]


def place(
    candidates: Sequence[Candidate], *, owners: Mapping[Claim, UUID], closed: Collection[UUID]
) -> tuple[Placement, ...]:
    """Place reports in the order given.

    `owners` are the claims of every country on the candidates' facts; `closed` those of their incidents that take no
    more reports (their claims pass on to the newcomer). With several open owners the oldest gets the report.
    """
    owned = dict(owners)
    named = {claim.fact for claim in owned}
    placements = []
    for candidate in candidates:
        opened = [owned[claim] for claim in candidate.claims if claim in owned and owned[claim] not in closed]
        incident_id = min(opened, default=candidate.report_id)
        gained = tuple(claim for claim in candidate.claims if claim not in owned or owned[claim] in closed)
        placements.append(
            Placement(
                report_id=candidate.report_id,
                incident_id=incident_id,
                opens=not opened,
                recurrence=recurrence_of(candidate, named=named),
                claims=gained,
            )
        )
        owned.update(dict.fromkeys(gained, incident_id))
        named.update(candidate.facts)
    return tuple(placements)


def recurrence_of(candidate: Candidate, *, named: Collection[Fact]) -> Recurrence:
    """Say what of a report stood in an earlier one; `named` are the facts of earlier reports, of every country."""
    recurring = [fact for fact in candidate.facts if fact in named]
    return Recurrence(subject=bool(recurring), item=any(fact.kind in ITEM_KINDS for fact in recurring))
