"""The embedded composition root: services, issuer and demo partner in one process, each on its port."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import amparo_gateway.app
import amparo_intake.app
import amparo_referral.app
import amparo_triage.app
from amparo import demo_partner
from amparo_common import faults
from amparo_common.auth.issuer import app as issuer
from amparo_common.log.sqlite import SqliteLog
from amparo_common.runtime import Service, serve
from amparo_common.settings import PlatformSettings
from amparo_common.telemetry import configure_logging
from amparo_gateway.settings import GatewaySettings
from amparo_intake.settings import IntakeSettings
from amparo_referral.settings import ReferralSettings
from amparo_triage.settings import TriageSettings

#: In the order in which they start; they stop in reverse, so that intake's keys outlive their readers.
_SERVICES: Final = (
    (amparo_intake.app, IntakeSettings),
    (amparo_triage.app, TriageSettings),
    (amparo_referral.app, ReferralSettings),
    (amparo_gateway.app, GatewaySettings),
)


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
    async with AsyncExitStack() as stack:
        log = await SqliteLog.open(chosen.data_dir)
        stack.push_async_callback(log.close)
        services = [await stack.enter_async_context(issuer.compose(chosen))]
        services += [
            await stack.enter_async_context(part.compose(read_settings(), log=log)) for part, read_settings in _SERVICES
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
