"""The gateway's environment."""

from __future__ import annotations

from typing import Final

from amparo_common.settings import PORTS, PlatformSettings

SERVICE: Final = "gateway"


class GatewaySettings(PlatformSettings):
    """What the platform's settings say, as the gateway uses it."""

    @property
    def own_port(self) -> int:
        return self.port(PORTS[SERVICE])
