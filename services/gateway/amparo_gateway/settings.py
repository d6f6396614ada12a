"""The gateway's environment: what the platform's settings say, and nothing more yet."""

from __future__ import annotations

from typing import Final

from amparo_common.settings import PlatformSettings

SERVICE: Final = "gateway"


class GatewaySettings(PlatformSettings):
    """What the gateway reads from the environment."""
