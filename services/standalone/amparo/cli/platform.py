"""Commands on the platform as a whole: start, stop, look."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.markup import escape

from amparo import app as composition, background
from amparo.cli.words import console, fail, settings
from amparo.client import PlatformClient
from amparo.doctor import look_over
from amparo_common import runtime
from amparo_common.log.sqlite_store import DamagedLogError, LogInUseError
from amparo_common.runtime import PortInUseError
from amparo_common.settings import PORTS, PlatformSettings

_START_PATIENCE_S = 60.0
_STOP_PATIENCE_S = 15.0


def up(*, detach: Annotated[bool, typer.Option(help="Start in the background and return when ready.")] = False) -> None:
    """Start the embedded platform: four services, the issuer and, in demo, a partner."""
    chosen = settings()
    pid = background.running_pid(chosen.data_dir)
    if pid is not None:
        fail(f"a platform runs on {chosen.data_dir} already, process {pid}; `amparo down` stops it")
    if detach:
        asyncio.run(_up_detached(chosen))
    else:
        _up_here(chosen)


def _up_here(chosen: PlatformSettings) -> None:
    file = background.pid_file(chosen.data_dir)

    def announce(ports: Mapping[str, int]) -> None:
        file.write_text(str(os.getpid()), encoding="ascii")
        for name, port in ports.items():
            console.print(f"{name.replace('_', ' '):13} http://127.0.0.1:{port}", highlight=False)
        console.print("[green]ready[/]; Ctrl-C stops it")

    try:
        runtime.run(composition.run(chosen, on_ready=announce))
    except (PortInUseError, LogInUseError, DamagedLogError) as error:
        fail(str(error))
    finally:
        if file.exists() and file.read_text(encoding="ascii") == str(os.getpid()):
            file.unlink()


async def _up_detached(chosen: PlatformSettings) -> None:
    process, output = background.start(chosen.data_dir, environment=composition.environment())
    async with PlatformClient(chosen) as client:
        if not await background.until_ready(client, process, patience_s=_START_PATIENCE_S):
            process.terminate()
            fail(f"the platform did not get ready; see {output}")
        console.print(
            f"[green]ready[/], process {process.pid}, gateway {client.url(PORTS['gateway'])}, output in {output}"
        )


def down() -> None:
    """Stop the platform of this data directory."""
    chosen = settings()
    if background.running_pid(chosen.data_dir) is None:
        console.print(f"no platform runs on {chosen.data_dir}")
        return
    if not asyncio.run(background.stop(chosen.data_dir, patience_s=_STOP_PATIENCE_S)):
        fail(f"the platform did not stop within {_STOP_PATIENCE_S:g} s")
    console.print("stopped")


def status() -> None:
    """Say how each service stands; exit 0 when all are ready."""
    raise typer.Exit(asyncio.run(_status(settings())))


async def _status(chosen: PlatformSettings) -> int:
    async with PlatformClient(chosen) as client:
        found = await background.standings(client)
    for standing in found:
        mark = "[green]ready[/]    " if standing.ready else "[red]not ready[/]"
        console.print(f"{mark} {standing.service:9} {standing.address} {escape(standing.detail)}", highlight=False)
    return 0 if all(standing.ready for standing in found) else 1


def doctor() -> None:
    """Look the platform over and say what to mend; exit 0 when all is well."""
    findings = asyncio.run(look_over(settings()))
    for finding in findings:
        mark = "[green]well[/]" if finding.well else "[red]mend[/]"
        advice = "" if finding.well else f" - {finding.advice}"
        console.print(f"{mark} {escape(finding.name)}: {escape(finding.seen + advice)}", highlight=False)
    raise typer.Exit(0 if all(finding.well for finding in findings) else 1)


def open_gateway() -> None:
    """Print the gateway's address, and open it in a browser when this is a terminal; the IDE outside production."""
    chosen = settings()
    address = f"{chosen.gateway_url}/{'' if chosen.environment == 'production' else 'graphql'}"
    typer.echo(address)
    if sys.stdout.isatty():
        typer.launch(address)
