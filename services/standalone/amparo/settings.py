"""The environment of the embedded platform: that of its services, read once."""

from __future__ import annotations

from amparo_gateway.settings import GatewaySettings
from amparo_intake.settings import IntakeSettings
from amparo_referral.settings import ReferralSettings
from amparo_triage.settings import TriageSettings


class StandaloneSettings(IntakeSettings, TriageSettings, ReferralSettings, GatewaySettings):
    """What the embedded platform reads from `AMPARO_*` variables."""
