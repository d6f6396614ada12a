"""Invented incidents and referrals for the gateway's unit tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from amparo_common.events.types import Decision, IncidentTriaged, ReferralChanged
from amparo_common.vocabulary.codes import (
    Adapter,
    Category,
    Channel,
    Destination,
    IncidentStatus,
    Lane,
    LawfulBasis,
    Level,
    ReferralStatus,
    Release,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DECISION = Decision(
    version=1,
    pack="demo@1",
    pack_digest="00ff",
    base_level=Level.P3,
    level=Level.P3,
    score=10,
    rules=(),
    factors=(),
    guidelines=(),
    reasons={"en": ("A reason.",), "es": ("Una razón.",)},
    proposed_destinations=(Destination.HOTLINE,),
    human=False,
    decided_by=None,
    decided_at=NOON,
)
INCIDENT = IncidentTriaged(
    incident_id=UUID(int=1),
    reference="AM-0000-0001",
    version=1,
    changed_at=NOON,
    lane=Lane.STANDARD,
    country="GT",
    channels=(Channel.WEB,),
    received_at=NOON,
    level=Level.P3,
    provisional=True,
    status=IncidentStatus.OPEN,
    category=Category.CYBERBULLYING,
    secondary_categories=(),
    report_count=1,
    decision=DECISION,
    clocks=(),
    due_at=None,
    claimed_by=None,
    claimed_until=None,
    awaiting_signature=False,
    proposed_lowering=None,
    owners=(),
    victim_age=None,
    victim_count=None,
    is_test=False,
)
REFERRAL = ReferralChanged(
    referral_id=UUID(int=2),
    reference="RF-0000-0002",
    version=1,
    package_version=1,
    changed_at=NOON,
    incident_id=UUID(int=1),
    partner_id=UUID(int=3),
    partner_name="Demo hotline",
    organisation="demo-hotline",
    country="GT",
    destination=Destination.HOTLINE,
    adapter=Adapter.WEBHOOK,
    status=ReferralStatus.QUEUED,
    release=Release.AUTOMATIC,
    level=Level.P3,
    category=Category.CYBERBULLYING,
    lawful_basis=LawfulBasis.VITAL_INTEREST,
    created_at=NOON,
    delivered_at=None,
    acknowledged_at=None,
    due_at=None,
    is_test=False,
    profile="hotline.v1",
    withheld=(),
    attempts=(),
    acknowledgements=(),
)


@pytest.fixture
def incident() -> Callable[..., IncidentTriaged]:
    """Make an incident; `score` is the decision's."""

    def make(*, score: int = 10, **fields: Any) -> IncidentTriaged:
        decision = fields.pop("decision", msgspec.structs.replace(DECISION, score=score))
        return msgspec.structs.replace(INCIDENT, decision=decision, **fields)

    return make


@pytest.fixture
def referral() -> Callable[..., ReferralChanged]:
    def make(**fields: Any) -> ReferralChanged:
        return msgspec.structs.replace(REFERRAL, **fields)

    return make
