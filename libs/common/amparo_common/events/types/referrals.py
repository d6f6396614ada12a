"""Referrals, partners, tasks."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from amparo_common.events.streams import Stream
from amparo_common.events.types.shape import Event, Part
from amparo_common.vocabulary.codes import (
    AcknowledgementCode,
    Adapter,
    Category,
    Destination,
    LawfulBasis,
    Level,
    ReferralStatus,
    Release,
)


class WithheldField(Part, frozen=True, kw_only=True):
    """A field that the package leaves out, the safeguard that asks for it, and why in words."""

    field: str
    safeguard: str
    reason: str


class DeliveryAttempt(Part, frozen=True, kw_only=True):
    """One attempt to reach the partner. `outcome` is a slug such as `delivered`, `refused`, `timed_out`."""

    number: int
    at: datetime
    outcome: str
    status_code: int | None
    next_attempt_at: datetime | None


class PartnerAnswer(Part, frozen=True, kw_only=True):
    """An acknowledgement as stored; its note is sealed in referral's database and not carried here."""

    acknowledgement_id: UUID
    at: datetime
    code: AcknowledgementCode
    by: str
    partner_reference: str | None


class ReferralChanged(Event, frozen=True, kw_only=True):
    """The whole state of a referral after a change. Aggregate: the referral."""

    TYPE = "org.amparo.referral.changed.v1"
    STREAM = Stream.REFERRALS

    referral_id: UUID
    reference: str
    version: int
    #: Grows only with the package: what the partner sees as `data.version`.
    package_version: int
    changed_at: datetime
    incident_id: UUID
    partner_id: UUID
    partner_name: str
    organisation: str | None
    country: str
    destination: Destination
    adapter: Adapter
    status: ReferralStatus
    release: Release
    level: Level
    category: Category
    lawful_basis: LawfulBasis
    created_at: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    due_at: datetime | None
    is_test: bool
    profile: str
    withheld: tuple[WithheldField, ...]
    attempts: tuple[DeliveryAttempt, ...]
    acknowledgements: tuple[PartnerAnswer, ...]


class RouteStanding(Part, frozen=True, kw_only=True):
    """A route to a partner. Empty `categories` or `levels` means every one; country `*` means every country."""

    country: str
    destination: Destination
    priority: int
    release: Release
    categories: tuple[Category, ...]
    levels: tuple[Level, ...]
    enabled: bool


class PartnerChanged(Event, frozen=True, kw_only=True):
    """The whole directory entry of a partner after a change; its address and secret are not carried here."""

    TYPE = "org.amparo.partner.changed.v1"
    STREAM = Stream.REFERRALS

    partner_id: UUID
    version: int
    changed_at: datetime
    name: str
    destination: Destination
    countries: tuple[str, ...]
    languages: tuple[str, ...]
    adapter: Adapter
    organisation: str | None
    accepts_emergency: bool
    last_verified_at: datetime | None
    routes: tuple[RouteStanding, ...]


class TaskChanged(Event, frozen=True, kw_only=True):
    """Work for a person on a referral: a call to make, a portal to fill. Its note is sealed and not carried here."""

    TYPE = "org.amparo.task.changed.v1"
    STREAM = Stream.REFERRALS

    task_id: UUID
    version: int
    changed_at: datetime
    referral_id: UUID
    incident_id: UUID
    country: str
    kind: Adapter
    created_at: datetime
    due_at: datetime
    #: Instructions by language, from a fixed set; no personal data.
    instructions: dict[str, str]
    completed_at: datetime | None
    completed_by: str | None
