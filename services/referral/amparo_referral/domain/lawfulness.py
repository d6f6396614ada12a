"""On which lawful basis a person may refer to which kind of body, and why not on another."""

from __future__ import annotations

from typing import Final

import msgspec

from amparo_common.vocabulary.codes import Destination as To, LawfulBasis as Basis

_EVERY: Final = frozenset(Basis)


class Row(msgspec.Struct, frozen=True):
    """The bases that fit, and what a person is told about the others."""

    fits: frozenset[Basis]
    reason: str


#: A body without a row takes every basis. The helpline's row is domain reference 4.4, that of the police SG-14.
TABLE: Final[dict[To, Row]] = {
    To.CHILD_HELPLINE: Row(
        frozenset({Basis.CONSENT, Basis.BEST_INTEREST_OVERRIDE}),
        "A helpline gets only what the child or the caller agrees to. Ask them, or state that the child's best "
        "interest overrides it.",
    ),
    To.LAW_ENFORCEMENT: Row(
        _EVERY - {Basis.CONSENT},
        "An investigation does not end when somebody takes consent back. Name the duty, the task or the danger "
        "that it rests on.",
    ),
    To.REGULATOR: Row(
        frozenset({Basis.LEGAL_OBLIGATION, Basis.PUBLIC_TASK}),
        "Oversight rests on a legal duty or a public task; nobody's life depends on it.",
    ),
    To.DATA_PROTECTION_AUTHORITY: Row(
        frozenset({Basis.CONSENT, Basis.LEGAL_OBLIGATION, Basis.PUBLIC_TASK}),
        "A complaint about data rests on the wish of the person concerned, a legal duty or a public task.",
    ),
}


def why_not(basis: Basis, *, to: To) -> str | None:
    """Return why `basis` does not carry a referral to that kind of body; None when it does."""
    row = TABLE.get(to)
    return None if row is None or basis in row.fits else row.reason
