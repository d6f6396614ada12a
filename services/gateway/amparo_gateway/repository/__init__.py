"""Every query of the gateway. Each takes the caller's scope and narrows by it before anything else."""

from __future__ import annotations

from amparo_gateway.repository.cases import (
    NEWEST,
    OLDEST,
    QUEUE,
    IncidentWish,
    Order,
    ReferralWish,
    Version,
    history_of_incidents,
    incidents,
    incidents_by_id,
    incidents_of_reports,
    referrals,
    referrals_by_id,
    referrals_of_incidents,
)
from amparo_gateway.repository.conditions import Found
from amparo_gateway.repository.directory import (
    Standing,
    partners,
    partners_by_id,
    standings_of_partners,
    tasks,
    tasks_by_id,
)
from amparo_gateway.repository.figures import figures
from amparo_gateway.repository.trail import Audited, TrailWish, trail

__all__ = [
    "NEWEST",
    "OLDEST",
    "QUEUE",
    "Audited",
    "Found",
    "IncidentWish",
    "Order",
    "ReferralWish",
    "Standing",
    "TrailWish",
    "Version",
    "figures",
    "history_of_incidents",
    "incidents",
    "incidents_by_id",
    "incidents_of_reports",
    "partners",
    "partners_by_id",
    "referrals",
    "referrals_by_id",
    "referrals_of_incidents",
    "standings_of_partners",
    "tasks",
    "tasks_by_id",
    "trail",
]
