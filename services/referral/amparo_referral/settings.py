"""The environment of referral."""

from __future__ import annotations

from amparo_common.settings import PORTS, PlatformSettings


class ReferralSettings(PlatformSettings):
    """What referral reads from `AMPARO_*` variables."""

    @property
    def acknowledge_url(self) -> str:
        """Return the address that partners acknowledge at."""
        return f"{self.referral_public_url.rstrip('/')}/v1/acknowledgements"

    @property
    def demo_partner_pair(self) -> tuple[str, int]:
        """Return host and port of the demo partner."""
        return "127.0.0.1", self.port(PORTS["demo_partner"])
