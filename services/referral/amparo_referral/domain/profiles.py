"""What each kind of body receives (domain reference 4.7, SG-03): a field goes only where its row says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from amparo_common.events.types import WithheldField
from amparo_common.vocabulary.codes import Destination as To

#: Bodies that protect a child or pursue an offence.
_PROTECTS: Final = frozenset({To.LAW_ENFORCEMENT, To.EMERGENCY_SERVICES, To.CHILD_PROTECTION_AUTHORITY})
#: Bodies that act on an address, an account or a service.
_REMOVES: Final = frozenset({To.HOTLINE, To.PLATFORM_PROVIDER, To.INTERNAL_OPERATOR_TEAM})
_OVERSEES: Final = frozenset({To.REGULATOR, To.DATA_PROTECTION_AUTHORITY})
_HELPS: Final = frozenset({To.CHILD_HELPLINE})
_NOBODY: Final[frozenset[To]] = frozenset()


class Field(msgspec.Struct, frozen=True):
    """A field of the package: who gets it, and for everybody else the safeguard and the reason why not."""

    goes_to: frozenset[To]
    safeguard: str
    reason: str


#: Every field that may be left out, in the order of the package. What is not here goes to everybody: the references,
#: the level, the category, the rule set, the legal frame and the marking as an allegation.
FIELDS: Final[Mapping[str, Field]] = {
    "assessment.reasons": Field(
        _PROTECTS | _HELPS | {To.HOTLINE},
        "SG-03",
        "The reasons tell of the child's situation, which this body does not need for its task.",
    ),
    "assessment.factors": Field(
        _PROTECTS | _HELPS,
        "SG-03",
        "The factors tell of the child's situation, which this body does not need for its task.",
    ),
    "reports.text": Field(
        _PROTECTS,
        "SG-03",
        "The words of the person who reported may identify them or the child; this body needs only the facts.",
    ),
    "reports.urls": Field(
        _PROTECTS | _REMOVES | _OVERSEES, "SG-03", "This body helps the child and does not act on addresses."
    ),
    "reports.platform": Field(
        _PROTECTS | _REMOVES | _OVERSEES | _HELPS, "SG-03", "This body does not act on the service."
    ),
    "reports.accounts": Field(
        _PROTECTS | _REMOVES,
        "SG-11",
        "Nothing about a reported person goes to a body that does not act on the account.",
    ),
    "reports.hashes": Field(
        _PROTECTS | _REMOVES, "SG-03", "Hashes go to bodies that compare them with their own lists."
    ),
    "reports.occurred_at": Field(
        _PROTECTS | _REMOVES | _OVERSEES, "SG-03", "The time is not needed for the help that this body gives."
    ),
    "child.age": Field(
        _PROTECTS | _HELPS, "SG-03", "The exact age helps to identify the child; the age band is given instead."
    ),
    "child.age_band": Field(
        _PROTECTS | _HELPS | {To.HOTLINE, To.INTERNAL_OPERATOR_TEAM},
        "SG-03",
        "The age of the child is not needed for this body's task.",
    ),
    "child.count": Field(
        _PROTECTS | _HELPS | {To.HOTLINE}, "SG-03", "How many children are affected is not needed for this body's task."
    ),
    "child.imminent_danger": Field(
        _PROTECTS | _HELPS, "SG-03", "The child's safety is in the hands of the body that protects it."
    ),
    "contact.safe_contact": Field(
        _PROTECTS | _HELPS, "SG-08", "How the reporter can be reached is told only to who may need to reach them."
    ),
    "reporter.type": Field(_PROTECTS | _HELPS, "SG-09", "What the reporter is to the child may identify them."),
    "done.informed": Field(
        _PROTECTS | _HELPS | {To.HOTLINE}, "SG-11", "Which other bodies know of the case is confidential."
    ),
    "reporter.name": Field(
        _NOBODY,
        "SG-09",
        "The identity of the reporter leaves only with their consent or by law; Amparo never puts it here.",
    ),
    "reporter.contact": Field(
        _NOBODY,
        "SG-09",
        "The identity of the reporter leaves only with their consent or by law; Amparo never puts it here.",
    ),
    "reporter.network": Field(
        _NOBODY, "SG-03", "Subscriber data is given out by its owner on a lawful request, never in a referral."
    ),
}


def profile_of(destination: To) -> str:
    """Name the profile of a destination, such as `law_enforcement.v1`."""
    return f"{'internal_team' if destination is To.INTERNAL_OPERATOR_TEAM else destination.lower()}.v1"


def goes(field: str, *, to: To) -> bool:
    """Say whether `field` goes to a body of that kind; KeyError for a field without a row."""
    return to in FIELDS[field].goes_to


def withheld_from(destination: To) -> tuple[WithheldField, ...]:
    """Name every field that this kind of body does not get, with the safeguard and the reason."""
    return tuple(
        WithheldField(field=name, safeguard=field.safeguard, reason=field.reason)
        for name, field in FIELDS.items()
        if destination not in field.goes_to
    )
