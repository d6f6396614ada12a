"""Commands that send reports, and sign in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated

import typer

from amparo.cli.words import console, settings
from amparo.client import PlatformClient
from amparo.demo.journey import Demonstration
from amparo.demo.table import show
from amparo_common.settings import PlatformSettings


def demo(
    *,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many reports to send.")] = 40,
    patience: Annotated[float, typer.Option(help="Seconds to wait for the last of them.")] = 60.0,
) -> None:
    """Send invented reports and show each travel to a partner's acknowledgement or into the human queue."""
    raise typer.Exit(asyncio.run(_demo(settings(), count=count, patience_s=patience)))


async def _demo(chosen: PlatformSettings, *, count: int, patience_s: float) -> int:
    async with PlatformClient(chosen) as client:
        demonstration = Demonstration.of(client, count=count)
        return 0 if await show(demonstration, console=console, patience_s=patience_s) else 1


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
    asyncio.run(_report(settings(), body, user=None if user == "anonymous" else user))


async def _report(chosen: PlatformSettings, body: Mapping[str, object], *, user: str | None) -> None:
    async with PlatformClient(chosen) as client:
        receipt = await client.report(body, user=user)
    console.print_json(json.dumps(receipt))


def token(*, user: Annotated[str, typer.Option("--as", help="A user whose password is its name.")]) -> None:
    """Print a bearer token."""
    asyncio.run(_token(settings(), user=user))


async def _token(chosen: PlatformSettings, *, user: str) -> None:
    async with PlatformClient(chosen) as client:
        typer.echo(await client.token(user))
