"""The environment of triage."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from amparo_common.settings import PORTS, PlatformSettings

SERVICE: Final = "triage"


class TriageSettings(PlatformSettings):
    """What triage reads from `AMPARO_*` variables, beside what every service reads.

    `triage_pack` names a policy pack's file; without it the pack that Amparo comes with is used.
    """

    triage_pack: Path | None = None

    @property
    def own_port(self) -> int:
        """The port that triage listens on."""
        return self.port(PORTS[SERVICE])
