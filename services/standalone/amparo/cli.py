"""The `amparo` command line."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from amparo import app as composition, background
from amparo.client import PlatformClient, PlatformError
from amparo.demo.journey import Demonstration
from amparo.demo.table import show
from amparo.doctor import look_over
from amparo_common import runtime
from amparo_common.log.sqlite_store import DamagedLogError, LogInUseError
from amparo_common.runtime import PortInUseError
from amparo_common.settings import PORTS, PlatformSettings

cli = typer.Typer(
    help="Amparo: child online protection reports, from the public door to a partner and back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = Console()
_errors = Console(stderr=True)
_START_PATIENCE_S = 60.0
_STOP_PATIENCE_S = 15.0
_NOT_POSSIBLE = 2


def main() -> None:
    """Run the command line; what a person can mend is one line on stderr and exit code 2."""
    try:
        cli()
    except PlatformError as error:
        _fail(str(error))


def _fail(why: str) -> None:
    _errors.print(f"[red]amparo:[/] {escape(why)}")
    raise SystemExit(_NOT_POSSIBLE)


def _settings() -> PlatformSettings:
    try:
        return composition.settings()
    except ValidationError as error:
        for wrong in error.errors():
            name = "_".join(str(part) for part in wrong["loc"])
            _errors.print(f"[red]amparo:[/] AMPARO_{name.upper()}: {escape(wrong['msg'])}")
        raise typer.Exit(_NOT_POSSIBLE) from None


@cli.command()
def up(*, detach: Annotated[bool, typer.Option(help="Start in the background and return when ready.")] = False) -> None:
    """Start the embedded platform: four services, the issuer and, in demo, a partner."""
    settings = _settings()
    pid = background.running_pid(settings.data_dir)
    if pid is not None:
        _fail(f"a platform runs on {settings.data_dir} already, process {pid}; `amparo down` stops it")
    if detach:
        asyncio.run(_up_detached(settings))
    else:
        _up_here(settings)


def _up_here(settings: PlatformSettings) -> None:
    file = background.pid_file(settings.data_dir)

    def announce(ports: Mapping[str, int]) -> None:
        file.write_text(str(os.getpid()), encoding="ascii")
        for name, port in ports.items():
            _console.print(f"{name.replace('_', ' '):13} http://127.0.0.1:{port}", highlight=False)
        _console.print("[green]ready[/]; Ctrl-C stops it")

    try:
        runtime.run(composition.run(settings, on_ready=announce))
    except (PortInUseError, LogInUseError, DamagedLogError) as error:
        _fail(str(error))
    finally:
        if file.exists() and file.read_text(encoding="ascii") == str(os.getpid()):
            file.unlink()


async def _up_detached(settings: PlatformSettings) -> None:
    process, output = background.start(settings.data_dir, environment=composition.environment())
    async with PlatformClient(settings) as client:
        if not await background.until_ready(client, process, patience_s=_START_PATIENCE_S):
            process.terminate()
            _fail(f"the platform did not get ready; see {output}")
        _console.print(
            f"[green]ready[/], process {process.pid}, gateway {client.url(PORTS['gateway'])}, output in {output}"
        )


@cli.command()
def down() -> None:
    """Stop the platform of this data directory."""
    settings = _settings()
    if background.running_pid(settings.data_dir) is None:
        _console.print(f"no platform runs on {settings.data_dir}")
        return
    if not asyncio.run(background.stop(settings.data_dir, patience_s=_STOP_PATIENCE_S)):
        _fail(f"the platform did not stop within {_STOP_PATIENCE_S:g} s")
    _console.print("stopped")


@cli.command()
def status() -> None:
    """Say how each service stands; exit 0 when all are ready."""
    raise typer.Exit(asyncio.run(_status(_settings())))


async def _status(settings: PlatformSettings) -> int:
    async with PlatformClient(settings) as client:
        found = await background.standings(client)
    for standing in found:
        mark = "[green]ready[/]    " if standing.ready else "[red]not ready[/]"
        _console.print(f"{mark} {standing.service:9} {standing.address} {escape(standing.detail)}", highlight=False)
    return 0 if all(standing.ready for standing in found) else 1


@cli.command()
def demo(
    *,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many reports to send.")] = 40,
    patience: Annotated[float, typer.Option(help="Seconds to wait for the last of them.")] = 60.0,
) -> None:
    """Send invented reports and show each travel to a partner's acknowledgement or into the human queue."""
    raise typer.Exit(asyncio.run(_demo(_settings(), count=count, patience_s=patience)))


async def _demo(settings: PlatformSettings, *, count: int, patience_s: float) -> int:
    async with PlatformClient(settings) as client:
        demonstration = Demonstration.of(client, count=count)
        return 0 if await show(demonstration, console=_console, patience_s=patience_s) else 1


@cli.command()
def report(
    text: Annotated[str, typer.Argument(help="What happened, in the reporter's words.")],
    *,
    country: Annotated[str, typer.Option(help="ISO 3166-1 code.")],
    language: Annotated[str, typer.Option(help="ISO 639-1 code.")] = "en",
    channel: Annotated[str, typer.Option()] = "call_centre",
    category: Annotated[str | None, typer.Option(help="A code of the vocabulary.")] = None,
    danger: Annotated[bool | None, typer.Option("--danger/--no-danger", help="Is a child in danger now?")] = None,
    user: Annotated[str, typer.Option("--as", help="Who logs it; `anonymous` for nobody.")] = "agent",
) -> None:
    """Log a report and print its receipt."""
    body = {
        "channel": channel,
        "language": language,
        "country": country,
        "text": text,
        "category": category,
        "imminent_danger": danger,
    }
    asyncio.run(_report(_settings(), body, user=None if user == "anonymous" else user))


async def _report(settings: PlatformSettings, body: Mapping[str, object], *, user: str | None) -> None:
    async with PlatformClient(settings) as client:
        receipt = await client.report(body, user=user)
    _console.print_json(json.dumps(receipt))


@cli.command()
def token(*, user: Annotated[str, typer.Option("--as", help="A user whose password is its name.")]) -> None:
    """Print a bearer token."""
    asyncio.run(_token(_settings(), user=user))


async def _token(settings: PlatformSettings, *, user: str) -> None:
    async with PlatformClient(settings) as client:
        typer.echo(await client.token(user))


@cli.command()
def doctor() -> None:
    """Look the platform over and say what to mend; exit 0 when all is well."""
    findings = asyncio.run(look_over(_settings()))
    for finding in findings:
        mark = "[green]well[/]" if finding.well else "[red]mend[/]"
        advice = "" if finding.well else f" - {finding.advice}"
        _console.print(f"{mark} {escape(finding.name)}: {escape(finding.seen + advice)}", highlight=False)
    raise typer.Exit(0 if all(finding.well for finding in findings) else 1)
