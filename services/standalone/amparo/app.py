"""The embedded composition root: services, issuer and demo partner in one process, each on its port."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from amparo_common import faults
from amparo_common.log.sqlite import SqliteLog
from amparo_common.runtime import Service, serve
from amparo_common.settings import PlatformSettings
from amparo_common.telemetry import configure_logging
from amparo_gateway.settings import GatewaySettings
from amparo_intake.settings import IntakeSettings
from amparo_referral.settings import ReferralSettings
from amparo_triage.settings import TriageSettings


def settings() -> PlatformSettings:
    """Read the environment of this process. Raises pydantic's ValidationError, naming the variable at fault."""
    return PlatformSettings()


def environment() -> dict[str, str]:
    """Return what a platform in the background inherits."""
    return dict(os.environ)


@asynccontextmanager
async def compose(chosen: PlatformSettings) -> AsyncIterator[Sequence[Service]]:
    """Open the log and the databases under the data directory and wire every service to them."""
    _private_directory(chosen.data_dir)
    # Imported by the process that runs them alone: the other commands start in a third of the time.
    import amparo_gateway.app  # noqa: PLC0415
    import amparo_intake.app  # noqa: PLC0415
    import amparo_referral.app  # noqa: PLC0415
    import amparo_triage.app  # noqa: PLC0415
    from amparo import demo_partner  # noqa: PLC0415
    from amparo_common.auth.issuer import app as issuer  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        log = await SqliteLog.open(chosen.data_dir)
        stack.push_async_callback(log.close)
        # In the order in which they start; they stop in reverse, so that intake's keys outlive their readers.
        services = [
            await stack.enter_async_context(composed)
            for composed in (
                issuer.compose(chosen),
                amparo_intake.app.compose(IntakeSettings(), log=log),
                amparo_triage.app.compose(TriageSettings(), log=log),
                amparo_referral.app.compose(ReferralSettings(), log=log),
                amparo_gateway.app.compose(GatewaySettings(), log=log),
            )
        ]
        if chosen.demo:
            services.append(await stack.enter_async_context(demo_partner.compose(ReferralSettings())))
        yield services


async def run(chosen: PlatformSettings, *, on_ready: Callable[[Mapping[str, int]], None]) -> None:
    """Run the embedded platform until a signal asks it to stop; `on_ready` gets each port once all answer."""
    configure_logging(level=chosen.log_level, json=chosen.log_json)
    faults.load(chosen.faults, count=chosen.fault_counts)
    async with compose(chosen) as services:
        await serve(services, on_ready=on_ready)
    if chosen.fault_counts:
        (chosen.data_dir / "fault-hits.json").write_text(json.dumps(faults.hits()), encoding="utf-8")


def _private_directory(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
