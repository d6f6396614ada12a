"""`amparo replay`: the gateway's projection, read anew from the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from amparo import operations
from amparo.cli.words import FOUND_WRONG, client_for, console, errors

commands = typer.Typer(help="Rebuild what can be rebuilt from the log.", no_args_is_help=True)


@commands.callback()
def _group() -> None:
    """Keep `replay gateway` two words though it is the only one."""


@commands.command()
def gateway(*, user: Annotated[str, typer.Option("--as", help="An administrator.")] = "admin") -> None:
    """Rebuild the gateway's projection while it goes on answering, and wait until the new one has taken over."""
    raise typer.Exit(asyncio.run(_gateway(user)))


async def _gateway(user: str) -> int:
    columns = (TextColumn("records"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=errors)
    task = bar.add_task("records", total=None)

    def show(progress: Mapping[str, Any]) -> None:
        bar.start()
        bar.update(task, total=progress["total"] or None, completed=progress["read"])

    async with client_for(user) as client:
        try:
            ended = await operations.replay_projection(client, user=user, on_progress=show)
        finally:
            if bar.live.is_started:  # stopped before, it would print an empty line
                bar.stop()
    if ended["state"] != "done":
        console.print(f"[red]failed[/]: {escape(ended['problem'] or ended['state'])}; the old projection goes on")
        return FOUND_WRONG
    skipped = f", {ended['skipped']} skipped as dead letters" if ended["skipped"] else ""
    console.print(f"[green]done[/], {ended['read']} records{skipped}")
    return 0
