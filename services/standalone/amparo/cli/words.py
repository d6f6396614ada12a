"""What every command speaks with: the consoles, the settings, the way to say no."""

from __future__ import annotations

from typing import NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from amparo import app as composition
from amparo.client import PlatformClient
from amparo_common.settings import PlatformSettings

#: Exit codes: 0 all is well, 1 something was found that is not, 2 it could not be done.
FOUND_WRONG, NOT_POSSIBLE = 1, 2
console = Console()
errors = Console(stderr=True, soft_wrap=True)


def fail(why: str) -> NoReturn:
    """Say on one line why it could not be done, and exit with 2."""
    errors.print(f"[red]amparo:[/] {escape(why)}")
    raise SystemExit(NOT_POSSIBLE)


def settings() -> PlatformSettings:
    """Read the environment, or say which variable is wrong and exit with 2."""
    try:
        return composition.settings()
    except ValidationError as error:
        for wrong in error.errors():
            name = "_".join(str(part) for part in wrong["loc"])
            errors.print(f"[red]amparo:[/] AMPARO_{name.upper()}: {escape(wrong['msg'])}")
        raise typer.Exit(NOT_POSSIBLE) from None


def client_for(user: str) -> PlatformClient:
    """Make a client that signs `user` in: a demo user's password is its name, others are asked for theirs."""
    chosen = settings()
    passwords = {} if chosen.demo else {user: typer.prompt(f"Password of {user}", hide_input=True, err=True)}
    return PlatformClient(chosen, passwords=passwords)
