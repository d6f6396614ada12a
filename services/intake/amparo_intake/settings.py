"""The environment of intake."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from amparo_common.settings import PORTS, PlatformSettings

SERVICE: Final = "intake"


class IntakeSettings(PlatformSettings):
    """What intake reads from `AMPARO_*` variables, beside what every service reads.

    The rates are reports a second of one source (an address, or an address with a token's subject), each with a
    minute's burst. They are for the operator alone: published thresholds help whom they are against.
    """

    intake_soft_per_second: float = Field(default=10.0, gt=0)
    intake_hard_per_second: float = Field(default=20.0, gt=0)
    intake_most_waiting: int = Field(default=2_000, ge=1)

    @property
    def own_port(self) -> int:
        """The port that intake listens on."""
        return self.port(PORTS[SERVICE])
