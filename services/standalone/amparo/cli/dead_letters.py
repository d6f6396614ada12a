"""`amparo dlq`: records that a service could not apply, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from amparo import operations
from amparo.cli.words import client_for, console

commands = typer.Typer(help="Look at dead letters, replay or discard them.", no_args_is_help=True)
AsAdmin = Annotated[str, typer.Option("--as", help="An administrator.")]
LetterId = Annotated[str, typer.Argument(metavar="ID", help="The letter's id, as `amparo dlq list` shows it.")]
Reason = Annotated[str, typer.Option(help="Why, on one line; without anything of a case.")]


@commands.command("list")
def list_waiting(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    user: AsAdmin = "admin",
) -> None:
    """List what waits in every service, oldest first. Content is never shown."""
    asyncio.run(_list(user, as_json=as_json))


async def _list(user: str, *, as_json: bool) -> None:
    async with client_for(user) as client:
        letters = [letter async for letter in operations.dead_letters(client, user=user)]
    if as_json:
        for letter in letters:
            typer.echo(json.dumps(letter))
    elif letters:
        console.print(_table(letters))
    else:
        console.print("no dead letters wait")


def _table(letters: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("id", "service", "at", "attempt", "reason", "place", "bytes"):
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for letter in letters:
        place = f"{letter['topic']}[{letter['partition']}] {letter['offset']}"
        table.add_row(
            letter["id"],
            letter["service"],
            letter["at"],
            str(letter["attempt"]),
            letter["reason"],
            place,
            str(letter["value_bytes"]),
        )
    return table


@commands.command()
def show(letter_id: LetterId, *, user: AsAdmin = "admin") -> None:
    """Show where a dead letter came from, why it failed and how often it was tried."""
    asyncio.run(_show(letter_id, user=user))


async def _show(letter_id: str, *, user: str) -> None:
    async with client_for(user) as client:
        _print(await operations.find_letter(client, letter_id, user=user))


@commands.command()
def replay(letter_id: LetterId, *, reason: Reason, user: AsAdmin = "admin") -> None:
    """Publish the record again as it came, for the service that could not apply it; goes on record."""
    asyncio.run(_settle(letter_id, "replay", reason=reason, user=user))


@commands.command()
def discard(letter_id: LetterId, *, reason: Reason, user: AsAdmin = "admin") -> None:
    """Give the record up and wipe its content from the dead letters; goes on record."""
    asyncio.run(_settle(letter_id, "discard", reason=reason, user=user))


async def _settle(letter_id: str, how: str, *, reason: str, user: str) -> None:
    async with client_for(user) as client:
        _print(await operations.settle(client, letter_id, how, reason=reason, user=user))


def _print(letter: Mapping[str, Any]) -> None:
    console.print_json(json.dumps(letter))
