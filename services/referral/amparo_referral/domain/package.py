"""What a partner is sent: the facts of an incident, cut down to what its kind of body needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from amparo_common.events.types import IncidentTriaged, WithheldField
from amparo_common.vocabulary.codes import Channel, ClockState, Destination, LawfulBasis, ReporterType, SafeContact
from amparo_common.vocabulary.labels import label
from amparo_referral.domain.profiles import FIELDS, goes, profile_of, withheld_from

#: More reports than these are counted and not repeated: the first one and the newest.
MOST_REPORTS: Final = 20
UNREADABLE: Final = WithheldField(
    field="reports.narrative",
    safeguard="SG-13",
    reason="The text of a report was erased or could not be opened; what else is known is sent without it.",
)
_ALLEGATION: Final = (
    "This is an allegation as it was reported. Nothing in it is established, and reported persons are to be treated so."
)
_SHARING: Final = (
    "Need to know only, inside the receiving body. No copy to the reported person or to anybody near them."
)
_RETENTION: Final = (
    "Keep it no longer than your law and the case need. Destroy it when it is revoked and answer DESTROY_CONFIRMED."
)
_CONTACT: Final = "Answer NEED_INFO: Amparo asks the reporter through their case code and never gives out who they are."
_NO_MATERIAL: Final = "Amparo holds no images or videos and opens no address. Do not send any by e-mail or chat."


class Account(msgspec.Struct, frozen=True):
    """A reported account, as the reporter wrote it."""

    platform: str | None
    handle: str


class Hash(msgspec.Struct, frozen=True):
    """A hash and who gave it out."""

    algorithm: str
    value: str
    source: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a report tells in its reporter's words, opened."""

    text: str
    urls: tuple[str, ...] = ()
    platform: str | None = None
    accounts: tuple[Account, ...] = ()
    hashes: tuple[Hash, ...] = ()
    occurred_at: datetime | None = None


class ReportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A report of the incident. `told` is None when its key is destroyed or nobody has it."""

    report_id: UUID
    received_at: datetime
    channel: Channel
    language: str
    country: str
    imminent_danger: bool | None
    reporter_type: ReporterType | None
    safe_contact: SafeContact | None
    told: Told | None


class Informed(msgspec.Struct, frozen=True):
    """Another body that was told of the incident."""

    destination: Destination
    partner: str
    status: str
    at: datetime


class Package(msgspec.Struct, frozen=True):
    """The content for one partner, and what it leaves out."""

    profile: str
    content: Mapping[str, Any]
    withheld: tuple[WithheldField, ...]


def compose(
    incident: IncidentTriaged,
    *,
    referral_reference: str,
    destination: Destination,
    lawful_basis: LawfulBasis,
    reports: Sequence[ReportFacts],
    informed: Iterable[Informed],
    note: str | None = None,
) -> Package:
    """Compose the package for a body of kind `destination`. `reports` stand oldest first.

    `note` is what the person who refers writes to this body; it goes to no other.
    """
    language = reports[0].language if reports else "en"
    shown = [*reports[:1], *reports[1:][-(MOST_REPORTS - 1) :]]
    whole: dict[str, Any] = {
        "marking": _ALLEGATION,
        "case": _case(incident, referral_reference),
        "assessment": _assessment(incident, language=language),
        "child": _child(incident, reports),
        "reports": [_report(report) for report in shown],
        "further_reports": len(reports) - len(shown),
        "reporter": {"type": _first(report.reporter_type for report in reports)},
        "contact": _contact(reports, language=language),
        "done": _done(incident, informed),
        "legal": {
            "lawful_basis": lawful_basis,
            "sharing": _SHARING,
            "retention": _RETENTION,
            "material": _NO_MATERIAL,
            "return_receipt_requested": True,
        },
        "is_test": incident.is_test,
    }
    if note is not None:
        whole["note"] = note
    withheld = withheld_from(destination)
    if any(report.told is None for report in shown) or not shown:
        withheld = (*withheld, UNREADABLE)
    return Package(profile=profile_of(destination), content=_without(whole, _left_out(destination)), withheld=withheld)


def _case(incident: IncidentTriaged, referral_reference: str) -> dict[str, Any]:
    return {
        "referral_reference": referral_reference,
        "reference": incident.reference,
        "received_at": _time(incident.received_at),
        "country": incident.country,
        "jurisdiction_basis": "The country that the reporter named.",
        "report_count": incident.report_count,
        "channels": [channel.lower() for channel in incident.channels],
    }


def _assessment(incident: IncidentTriaged, *, language: str) -> dict[str, Any]:
    decision = incident.decision
    reasons = decision.reasons.get(language) or decision.reasons.get("en", ())
    return {
        "level": incident.level,
        "level_in_words": label(incident.level, language=language),
        "category": incident.category,
        "category_in_words": label(incident.category, language=language),
        "secondary_categories": list(incident.secondary_categories),
        "decided_by": "human" if decision.human else "rules",
        "provisional": incident.provisional,
        "decided_at": _time(decision.decided_at),
        "rule_set": {"name": decision.pack, "digest": decision.pack_digest},
        "rules": [{"id": rule.id, "guidelines": list(rule.guidelines)} for rule in decision.rules],
        "reasons": list(reasons),
        "factors": [
            {"factor": finding.factor, "source": finding.source, "confirmed": finding.confirmed}
            for finding in decision.factors
            if finding.confirmed is not False
        ],
    }


def _child(incident: IncidentTriaged, reports: Sequence[ReportFacts]) -> dict[str, Any]:
    return {
        "age": incident.victim_age,
        "age_band": _age_band(incident.victim_age),
        "count": incident.victim_count,
        "country": incident.country,
        "imminent_danger": True
        if any(report.imminent_danger for report in reports)
        else _first(report.imminent_danger for report in reports),
    }


def _age_band(age: int | None) -> str:
    """Give the band of an age. Unknown is not "no child": it is treated as young (domain reference 3.4, law 7)."""
    if age is None:
        return "unknown, treat as young"
    bands = ((3, "0-2"), (6, "3-5"), (10, "6-9"), (13, "10-12"), (16, "13-15"), (18, "16-17"))
    return next((name for below, name in bands if age < below), "18 or older")


def _report(report: ReportFacts) -> dict[str, Any]:
    known = {
        "received_at": _time(report.received_at),
        "channel": report.channel.lower(),
        "language": report.language,
        "country": report.country,
    }
    told = report.told
    if told is None:
        return known | {"narrative": "not available"}
    return known | {
        "text": told.text,
        "urls": list(told.urls),
        "platform": told.platform,
        "accounts": [
            {"platform": account.platform, "handle": account.handle, "standing": "as reported, alleged"}
            for account in told.accounts
        ],
        "hashes": [{"algorithm": h.algorithm, "value": h.value, "source": h.source} for h in told.hashes],
        "occurred_at": _time(told.occurred_at) if told.occurred_at else None,
    }


def _contact(reports: Sequence[ReportFacts], *, language: str) -> dict[str, Any]:
    safe = _first(report.safe_contact for report in reports)
    return {"route": _CONTACT, "language": language, "safe_contact": safe.lower() if safe else None}


def _done(incident: IncidentTriaged, informed: Iterable[Informed]) -> dict[str, Any]:
    return {
        "clocks": [
            {"kind": clock.kind, "at": _time(clock.completed_at)}
            for clock in incident.clocks
            if clock.state is ClockState.MET and clock.completed_at
        ],
        "informed": [
            {"destination": other.destination, "body": other.partner, "status": other.status, "at": _time(other.at)}
            for other in informed
        ],
    }


def _left_out(destination: Destination) -> frozenset[str]:
    return frozenset(name for name in FIELDS if not goes(name, to=destination))


def _without(content: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Cut the named fields out; `reports.text` is the text of each report."""
    for name in names:
        part, _, field = name.partition(".")
        held = content.get(part)
        for item in held if isinstance(held, list) else [held]:
            if isinstance(item, dict):
                item.pop(field, None)
    return {part: held for part, held in content.items() if held != {}}


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
