"""Intake's tables: reports as submitted, case threads, receipts, and what reporters are told."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from sqlalchemy import Index, MetaData, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from amparo_common.db.tables import table_of
from amparo_common.db.types import LargeBinary, UtcDateTime, Uuid

intake_metadata: Final = MetaData()


class IntakeTable(SQLModel, registry=registry(metadata=intake_metadata)):
    """Base of intake's tables. The data keys stand in a table of `amparo_common.crypto.key_table`."""


class Report(IntakeTable, table=True):
    """A report as submitted. `factors` are codes separated by spaces; narrative and identity are sealed."""

    __tablename__: ClassVar[str] = "report"
    __table_args__ = (Index("report_case_hash", "case_hash", unique=True),)

    report_id: UUID = Field(primary_key=True, sa_type=Uuid)
    received_at: datetime = Field(sa_type=UtcDateTime)
    #: Keyed hash of the case code; the code itself is nowhere.
    case_hash: bytes = Field(sa_type=LargeBinary)
    lane: str = Field(sa_type=Text)
    channel: str = Field(sa_type=Text)
    language: str = Field(sa_type=Text)
    country: str = Field(sa_type=Text)
    category: str | None = Field(default=None, sa_type=Text)
    factors: str = Field(sa_type=Text)
    victim_age: int | None = None
    victim_count: int | None = None
    imminent_danger: bool | None = None
    reporter_type: str | None = Field(default=None, sa_type=Text)
    safe_contact: str | None = Field(default=None, sa_type=Text)
    owner: str | None = Field(default=None, sa_type=Text)
    trusted_source: bool
    is_test: bool
    narrative: bytes = Field(sa_type=LargeBinary)
    identity: bytes | None = Field(default=None, sa_type=LargeBinary)


class KeptReceipt(IntakeTable, table=True):
    """What a repeat of a request is answered with, for 24 hours: key and body as keyed hashes, the receipt sealed."""

    __tablename__: ClassVar[str] = "kept_receipt"
    __table_args__ = (Index("kept_receipt_expiry", "expires_at"),)

    key_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    body_hash: bytes = Field(sa_type=LargeBinary)
    report_id: UUID = Field(sa_type=Uuid)
    receipt: bytes = Field(sa_type=LargeBinary)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class ThreadMessage(IntakeTable, table=True):
    """A message of a report's thread, sealed with the report's key. One sent to several reporters has several rows."""

    __tablename__: ClassVar[str] = "thread_message"

    report_id: UUID = Field(primary_key=True, sa_type=Uuid)
    message_id: UUID = Field(primary_key=True, sa_type=Uuid)
    at: datetime = Field(sa_type=UtcDateTime)
    from_reporter: bool
    message: bytes = Field(sa_type=LargeBinary)


class JoinedReport(IntakeTable, table=True):
    """Which incident a report is part of, as triage last said."""

    __tablename__: ClassVar[str] = "joined_report"
    __table_args__ = (Index("joined_report_incident", "incident_id"),)

    report_id: UUID = Field(primary_key=True, sa_type=Uuid)
    incident_id: UUID = Field(sa_type=Uuid)
    joined_at: datetime = Field(sa_type=UtcDateTime)


class IncidentProgress(IntakeTable, table=True):
    """How far an incident came, for the four words that its reporters are told."""

    __tablename__: ClassVar[str] = "incident_progress"

    incident_id: UUID = Field(primary_key=True, sa_type=Uuid)
    version: int
    in_review: bool
    passed_on: bool
    closed: bool
    unsafe_callback: bool
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Hold(IntakeTable, table=True):
    """A request to keep the reports of an incident. Records of other systems are named by class and never come here.

    `record_classes` are codes separated by spaces; `request` (who asked and why) is sealed with the key of the
    incident's first report.
    """

    __tablename__: ClassVar[str] = "hold"
    __table_args__ = (Index("hold_incident", "incident_id"),)

    hold_id: UUID = Field(primary_key=True, sa_type=Uuid)
    incident_id: UUID = Field(sa_type=Uuid)
    record_classes: str = Field(sa_type=Text)
    placed_by: str = Field(sa_type=Text)
    placed_at: datetime = Field(sa_type=UtcDateTime)
    until: datetime = Field(sa_type=UtcDateTime)
    released_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    request: bytes = Field(sa_type=LargeBinary)


class Erasure(IntakeTable, table=True):
    """What remains of an erased incident: when and by whom. `reason` is sealed with a key of intake's own."""

    __tablename__: ClassVar[str] = "erasure"

    incident_id: UUID = Field(primary_key=True, sa_type=Uuid)
    erased_at: datetime = Field(sa_type=UtcDateTime)
    erased_by: str = Field(sa_type=Text)
    reason: bytes = Field(sa_type=LargeBinary)


REPORT: Final = table_of(Report)
KEPT_RECEIPT: Final = table_of(KeptReceipt)
THREAD_MESSAGE: Final = table_of(ThreadMessage)
JOINED_REPORT: Final = table_of(JoinedReport)
INCIDENT_PROGRESS: Final = table_of(IncidentProgress)
HOLD: Final = table_of(Hold)
ERASURE: Final = table_of(Erasure)
