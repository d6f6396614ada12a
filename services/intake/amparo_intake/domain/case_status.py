"""What a reporter is told about a case: four words, true in whatever order the events arrive."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from amparo_common.events.types import IncidentTriaged, ReferralChanged
from amparo_common.vocabulary.codes import Factor, IncidentStatus, ReferralStatus

_NOT_GONE_OUT: Final = frozenset(
    {
        ReferralStatus.AWAITING_REVIEW,
        ReferralStatus.AWAITING_APPROVAL,
        ReferralStatus.QUEUED,
        ReferralStatus.UNDELIVERABLE,
        ReferralStatus.REVOKED,
    }
)


class CaseStatus(StrEnum):
    """Where a case stands, in the contract's words."""

    RECEIVED = "received"
    IN_REVIEW = "in_review"
    PASSED_ON = "passed_on"
    CLOSED = "closed"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an incident came. A human's look and a referral cannot be undone; closing can, by a newer version."""

    incident_id: UUID
    version: int = 0
    in_review: bool = False
    passed_on: bool = False
    closed: bool = False
    #: The incident as a whole says that its reporters' phones or addresses may be watched.
    unsafe_callback: bool = False
    #: When the status last changed; None until it does.
    changed_at: datetime | None = None

    @property
    def status(self) -> CaseStatus:
        if self.closed:
            return CaseStatus.CLOSED
        if self.passed_on:
            return CaseStatus.PASSED_ON
        return CaseStatus.IN_REVIEW if self.in_review else CaseStatus.RECEIVED


def after_incident(progress: Progress, event: IncidentTriaged) -> Progress:
    """Return the progress once an incident's state is known; an older version adds what it proves and no more."""
    newer = event.version > progress.version
    touched = event.claimed_by is not None or event.decision.human or event.status is not IncidentStatus.OPEN
    return _dated(
        progress,
        msgspec.structs.replace(
            progress,
            version=max(progress.version, event.version),
            in_review=progress.in_review or touched,
            passed_on=progress.passed_on or event.status is IncidentStatus.REFERRED,
            closed=event.status is IncidentStatus.CLOSED if newer else progress.closed,
            unsafe_callback=_is_unsafe(event) if newer else progress.unsafe_callback,
        ),
        at=event.changed_at,
    )


def _is_unsafe(event: IncidentTriaged) -> bool:
    return any(
        finding.factor is Factor.UNSAFE_CALLBACK and finding.confirmed is not False
        for finding in event.decision.factors
    )


def after_referral(progress: Progress, event: ReferralChanged) -> Progress:
    """Return the progress once a referral's state is known: passed on as soon as one was delivered."""
    went = event.delivered_at is not None or event.status not in _NOT_GONE_OUT
    return _dated(
        progress,
        msgspec.structs.replace(progress, passed_on=progress.passed_on or went),
        at=event.delivered_at or event.changed_at,
    )


def _dated(before: Progress, after: Progress, *, at: datetime) -> Progress:
    if after.status is before.status:
        return after
    newest = at if after.changed_at is None else max(at, after.changed_at)
    return msgspec.structs.replace(after, changed_at=newest)
