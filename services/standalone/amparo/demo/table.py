"""The live table of the demonstration."""

from __future__ import annotations

import asyncio
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from amparo.client import PlatformError
from amparo.demo.journey import Demonstration, Journey

_COLOURS = {"P1": "bold red", "P2": "dark_orange", "P3": "yellow", "P4": "green"}
_LOOK_EVERY_S = 0.15


async def show(demonstration: Demonstration, *, console: Console, patience_s: float) -> bool:
    """Send every report, show each travel, and say whether all arrived within `patience_s` seconds."""
    started = monotonic()
    with Live(_table(demonstration), console=console, refresh_per_second=8, vertical_overflow="visible") as live:
        for journey in demonstration.journeys:
            try:
                await demonstration.send(journey)
            except PlatformError as error:
                journey.refusal = str(error)
            live.update(_table(demonstration))
        while not demonstration.finished and monotonic() - started < patience_s:
            for journey in demonstration.journeys:
                await demonstration.look(journey)
            live.update(_table(demonstration))
            await asyncio.sleep(_LOOK_EVERY_S)
    console.print(_summary(demonstration, seconds=monotonic() - started))
    return demonstration.succeeded


def _table(demonstration: Demonstration) -> Table:
    table = Table(title="Amparo: reports on their way", expand=True, pad_edge=False)
    for heading, options in (
        ("#", {"justify": "right"}),
        ("from", {"no_wrap": True}),
        ("level", {}),
        ("category", {"overflow": "fold"}),
        ("why", {"ratio": 3, "overflow": "fold"}),
        ("where", {"ratio": 1, "overflow": "fold"}),
    ):
        table.add_column(heading, **options)
    for journey in demonstration.journeys:
        table.add_row(*_cells(journey))
    return table


def _cells(journey: Journey) -> tuple[str, ...]:
    body, mark = journey.body, "[green]✓[/] " if journey.done else ""
    colour = _COLOURS.get(journey.level, "dim")
    category = str(journey.incident["category"]) if journey.incident else ""
    return (
        str(journey.number),
        f"{body['channel'].replace('_', ' ')} {body['language']} {body['country']}",
        f"[{colour}]{journey.level or '…'}[/]",
        category.lower().replace("_", " "),
        escape(" ".join(journey.reasons)),
        f"{mark}{escape(journey.whereabouts)}",
    )


def _summary(demonstration: Demonstration, *, seconds: float) -> str:
    journeys = demonstration.journeys
    acknowledged = sum(journey.acknowledged for journey in journeys)
    queued = sum(journey.in_queue for journey in journeys)
    late = [journey.number for journey in journeys if not journey.done]
    where = f"{acknowledged} acknowledged by a partner, {queued} in the human queue"
    line = f"{len(journeys)} reports, {where}, {seconds:.1f} s"
    return line if not late else f"{line}; not arrived: {', '.join(map(str, late))}"
