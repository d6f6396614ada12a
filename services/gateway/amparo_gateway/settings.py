"""The gateway's environment, beside what every service reads."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from amparo_common.settings import PlatformSettings
from amparo_gateway.budget import DEFAULT_REFILL, DEFAULT_SIZE

SERVICE: Final = "gateway"


class GatewaySettings(PlatformSettings):
    """What the gateway reads from the environment.

    `graph_budget` and `graph_budget_per_second` are in fields: what a caller may ask at once, and how it refills.
    """

    graph_budget: int = Field(default=DEFAULT_SIZE, ge=1)
    graph_budget_per_second: int = Field(default=DEFAULT_REFILL, ge=1)
    live_sockets: int = Field(default=5_000, ge=1)
    live_sockets_per_principal: int = Field(default=50, ge=1)
    live_subscriptions_per_socket: int = Field(default=20, ge=1)
