"""Every event that Amparo's services tell each other. Change is additive: a new field has a default, an old one stays.

Clear fields hold codes, counts, times and opaque ids. What a person wrote or who a person is stands in sealed bytes,
opened only with the data key of its report. State events carry the aggregate whole, with its version.
"""

from __future__ import annotations

from amparo_common.events.types.incidents import (
    ClockReading,
    Decision,
    FactorFinding,
    IncidentTie,
    IncidentTriaged,
    ProposedLowering,
    ReportJoined,
    RuleFired,
)
from amparo_common.events.types.records import AuditCheckpointSigned, AuditRecorded, RecordDeadLettered
from amparo_common.events.types.referrals import (
    DeliveryAttempt,
    PartnerAnswer,
    PartnerChanged,
    ReferralChanged,
    RouteStanding,
    TaskChanged,
    WithheldField,
)
from amparo_common.events.types.reports import ReporterMessageReceived, ReportReceived, ReportsErased
from amparo_common.events.types.shape import Event, Part

__all__ = [
    "AuditCheckpointSigned",
    "AuditRecorded",
    "ClockReading",
    "Decision",
    "DeliveryAttempt",
    "Event",
    "FactorFinding",
    "IncidentTie",
    "IncidentTriaged",
    "Part",
    "PartnerAnswer",
    "PartnerChanged",
    "ProposedLowering",
    "RecordDeadLettered",
    "ReferralChanged",
    "ReportJoined",
    "ReportReceived",
    "ReporterMessageReceived",
    "ReportsErased",
    "RouteStanding",
    "RuleFired",
    "TaskChanged",
    "WithheldField",
]
