"""`amparo audit`: who looked at or changed what, verified and exported."""

from __future__ import annotations

import asyncio
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from amparo import operations
from amparo.cli.words import FOUND_WRONG, client_for, console, errors, fail
from amparo.operations import Checked

commands = typer.Typer(help="Verify and export the audit chains.", no_args_is_help=True)
AsAuditor = Annotated[str, typer.Option("--as", help="An auditor or supervisor.")]


class Service(StrEnum):
    """The services, each with a chain of its own."""

    INTAKE = "intake"
    TRIAGE = "triage"
    REFERRAL = "referral"
    GATEWAY = "gateway"


@commands.command()
def verify(
    *,
    file: Annotated[Path | None, typer.Option(help="An export to verify offline, instead of the platform.")] = None,
    keys: Annotated[Path | None, typer.Option(help="Public keys for --file: what `amparo audit keys` prints.")] = None,
    user: AsAuditor = "auditor",
) -> None:
    """Walk the audit chain of every service, or of an export; exit 1 when a row is not what was recorded."""
    if file is None:
        if keys is not None:
            fail("--keys goes with --file; a running platform verifies with its own keys")
        found = asyncio.run(_verify(user))
    else:
        found = [operations.verify_file(file, keys=keys)]
        if keys is None:
            errors.print("signatures are not checked without --keys (what `amparo audit keys` printed before)")
    for one in found:
        console.print(_in_words(one), highlight=False, soft_wrap=True)
    raise typer.Exit(0 if all(one.verdict.ok for one in found) else FOUND_WRONG)


async def _verify(user: str) -> list[Checked]:
    async with client_for(user) as client:
        return await operations.verify(client, user=user)


def _in_words(one: Checked) -> str:
    verdict = one.verdict
    rows = f"{one.service:9} {verdict.size:>9} rows, head {verdict.head[:16]}"
    witnesses = "" if one.witnessed is None else f", {one.witnessed} checkpoints in the log"
    if verdict.ok:
        return f"[green]whole[/]  {rows}{witnesses}"
    return f"[red]broken[/] {rows}; row {verdict.sequence}: {escape(verdict.problem or '')}"


@commands.command()
def export(*, service: Annotated[Service, typer.Option(help="Whose chain.")], user: AsAuditor = "auditor") -> None:
    """Write the chain of one service to standard output, as JSON lines; the export itself goes on record."""
    asyncio.run(_export(service, user=user))


async def _export(service: str, *, user: str) -> None:
    async with client_for(user) as client:
        async for piece in operations.export(client, service, user=user):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


@commands.command()
def keys(*, user: AsAuditor = "auditor") -> None:
    """Print the public keys of every chain; keep them elsewhere than the exports that they verify."""
    asyncio.run(_keys(user))


async def _keys(user: str) -> None:
    async with client_for(user) as client:
        found = await operations.public_keys(client, user=user)
    typer.echo(json.dumps(found, indent=2))
