"""The tables of triage. Nothing that a person wrote stands here in clear; facts are blind-index values."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Index, MetaData, Text, true
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from amparo_common.db.tables import table_of
from amparo_common.db.types import BigId, LargeBinary, UtcDateTime, Uuid

triage_metadata = MetaData()


class TriageTable(SQLModel, registry=registry(metadata=triage_metadata)):
    """Base of triage's own tables."""


class IncidentRow(TriageTable, table=True):
    """An incident. `state` is its whole state as JSON; the other columns repeat what queries look for."""

    __tablename__: ClassVar[str] = "incident"
    __table_args__ = (
        Index("incident_clock", "clock_at"),
        Index("incident_lease", "claimed_until"),
        Index("incident_queue", "in_queue", "level", "due_at"),
    )

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    version: int
    country: str = Field(sa_type=Text)
    level: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    score: int
    received_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: When the next running clock will be missed.
    clock_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    joinable: bool
    in_queue: bool = Field(sa_column_kwargs={"server_default": true()})
    claimed_by: str | None = Field(default=None, sa_type=Text)
    claimed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: Who proposed a lowering that waits: not theirs to look at again.
    proposed_by: str | None = Field(default=None, sa_type=Text)
    state: bytes = Field(sa_type=LargeBinary)


class ReportRow(TriageTable, table=True):
    """A report and the incident that it is in."""

    __tablename__: ClassVar[str] = "report"
    __table_args__ = (Index("report_incident", "incident_id"),)

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    incident_id: UUID = Field(sa_type=Uuid)
    country: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=UtcDateTime)
    erased: bool


class ClaimRow(TriageTable, table=True):
    """A fact, as its blind-index value, that an incident of a country claimed."""

    __tablename__: ClassVar[str] = "claim"
    __table_args__ = (Index("claim_incident", "incident_id"), Index("claim_report", "report_id"))

    value: bytes = Field(primary_key=True, sa_type=LargeBinary)
    country: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    incident_id: UUID = Field(sa_type=Uuid)
    report_id: UUID = Field(sa_type=Uuid)


class EvidenceRow(TriageTable, table=True):
    """A passage that a proposal rests on. `part` is `narrative` or the id of a message; places count characters."""

    __tablename__: ClassVar[str] = "evidence"

    report_id: UUID = Field(primary_key=True, sa_type=Uuid)
    part: str = Field(primary_key=True, sa_type=Text)
    position: int = Field(primary_key=True, sa_type=BigId, sa_column_kwargs={"autoincrement": False})
    start: int
    stop: int
    factor: str | None = Field(default=None, sa_type=Text)
    category: str | None = Field(default=None, sa_type=Text)


class PendingTextRow(TriageTable, table=True):
    """A text that could not be opened yet, sealed as it came. `id` is the report's or the message's."""

    __tablename__: ClassVar[str] = "pending_text"
    __table_args__ = (Index("pending_text_due", "due_at"), Index("pending_text_report", "report_id"))

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    report_id: UUID = Field(sa_type=Uuid)
    country: str | None = Field(default=None, sa_type=Text)
    is_message: bool
    trusted_source: bool
    sealed: bytes = Field(sa_type=LargeBinary)
    due_at: datetime = Field(sa_type=UtcDateTime)
    attempts: int


class ErasedReportRow(TriageTable, table=True):
    """A report whose key was destroyed, also when the report itself comes later (a replay, another lane)."""

    __tablename__: ClassVar[str] = "erased_report"

    report_id: UUID = Field(primary_key=True, sa_type=Uuid)
    at: datetime = Field(sa_type=UtcDateTime)


class FirstReferralRow(TriageTable, table=True):
    """When a referral of an incident first reached a partner, also when the incident itself comes later."""

    __tablename__: ClassVar[str] = "first_referral"

    incident_id: UUID = Field(primary_key=True, sa_type=Uuid)
    delivered_at: datetime = Field(sa_type=UtcDateTime)


class NoteRow(TriageTable, table=True):
    """What a person wrote on an incident, sealed with the data key of its first report as `reason:ID`."""

    __tablename__: ClassVar[str] = "note"
    __table_args__ = (Index("note_incident", "incident_id"),)

    id: UUID = Field(primary_key=True, sa_type=Uuid)
    incident_id: UUID = Field(sa_type=Uuid)
    kind: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    #: Login name.
    by: str = Field(sa_type=Text)
    #: The other incident of a link.
    other_id: UUID | None = Field(default=None, sa_type=Uuid)
    sealed: bytes = Field(sa_type=LargeBinary)


INCIDENT = table_of(IncidentRow)
REPORT = table_of(ReportRow)
CLAIM = table_of(ClaimRow)
EVIDENCE = table_of(EvidenceRow)
PENDING_TEXT = table_of(PendingTextRow)
ERASED_REPORT = table_of(ErasedReportRow)
FIRST_REFERRAL = table_of(FirstReferralRow)
NOTE = table_of(NoteRow)
