"""The `amparo` command line: one file a group of commands."""

from __future__ import annotations

import typer

from amparo.cli import audit, dead_letters, keys, platform, projection, reports, users
from amparo.cli.words import fail
from amparo.client import PlatformError

cli = typer.Typer(
    help="Amparo: child online protection reports, from the public door to a partner and back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.command("up")(platform.up)
cli.command("down")(platform.down)
cli.command("status")(platform.status)
cli.command("doctor")(platform.doctor)
cli.command("open")(platform.open_gateway)
cli.command("demo")(reports.demo)
cli.command("report")(reports.report)
cli.command("token")(reports.token)
cli.add_typer(audit.commands, name="audit")
cli.add_typer(dead_letters.commands, name="dlq")
cli.add_typer(projection.commands, name="replay")
cli.add_typer(users.commands, name="users")
cli.add_typer(keys.commands, name="keys")


def main() -> None:
    """Run the command line; what a person can mend is one line on stderr and exit code 2."""
    try:
        cli()
    except PlatformError as error:
        fail(str(error))
