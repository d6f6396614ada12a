"""`amparo keys`: the master keys of this data directory."""

from __future__ import annotations

from typing import Annotated

import typer

from amparo.background import running_pid
from amparo.cli.audit import Service
from amparo.cli.words import console, fail, settings
from amparo_common.crypto.provider import FileKeyProvider, KeyFileError

commands = typer.Typer(help="Master keys of this data directory.", no_args_is_help=True)


@commands.callback()
def _group() -> None:
    """Keep `keys rotate` two words though it is the only one."""


@commands.command()
def rotate(service: Annotated[Service, typer.Argument(help="Whose master key.")]) -> None:
    """Make a new master key that wraps from the next start on; earlier ones stay in the file and go on opening."""
    chosen = settings()
    if (pid := running_pid(chosen.data_dir)) is not None:
        fail(f"process {pid} holds the keys of {chosen.data_dir}; `amparo down` first")
    file = chosen.data_dir / f"{service}.key"
    if not file.is_file():
        fail(f"there is no key file {file}")
    try:
        version = FileKeyProvider.open(file).rotate()
    except KeyFileError as error:
        fail(str(error))
    console.print(f"[green]rotated[/] {file}, version {version}; back the file up before the next start")
