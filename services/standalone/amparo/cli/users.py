"""`amparo users`: who may sign in at the built-in issuer, which sees a change at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from amparo.cli.words import console, fail, settings
from amparo_common.auth.issuer.users import FileUsers
from amparo_common.auth.users import ROLES_OF_PEOPLE, User, UserError, Users
from amparo_common.vocabulary.codes import Role

commands = typer.Typer(
    help="The people who may sign in at the built-in issuer of this data directory.", no_args_is_help=True
)
Answer = TypeVar("Answer")
_ROLES = ", ".join(role.lower() for role in ROLES_OF_PEOPLE)
Name = Annotated[str, typer.Argument(help="The login name.")]
Roles = Annotated[list[str], typer.Option("--role", help=f"One of {_ROLES}; may be given several times.")]


@commands.command("list")
def list_users() -> None:
    """List everybody, the disabled ones too."""
    people = _asked(_users().list())
    table = Table(box=None, pad_edge=False)
    for name in ("name", "roles", "countries", "organisation", "state"):
        table.add_column(name, overflow="fold")
    for user in people:
        table.add_row(*_row(user))
    console.print(table)


@commands.command()
def invite(
    name: Name,
    *,
    role: Roles,
    country: Annotated[
        list[str] | None, typer.Option(help="ISO 3166-1 code that a triager or supervisor sees, or *; several allowed.")
    ] = None,
    organisation: Annotated[str | None, typer.Option(help="The organisation of a partner.")] = None,
) -> None:
    """Add a user and print the first password, which is kept nowhere."""
    adding = _users().add(name, roles=_roles(role), countries=tuple(country or ()), organisation=organisation)
    user, password = _asked(adding)
    console.print(f"[green]invited[/] {user.name}; first password, shown once:")
    typer.echo(password)


@commands.command()
def grant(name: Name, *, role: Roles) -> None:
    """Give a user other roles, in place of those it has; tokens already given end within ten minutes."""
    user = _asked(_users().grant(name, roles=_roles(role)))
    console.print(f"[green]granted[/] {user.name}: {_shown_roles(user)}")


@commands.command()
def disable(name: Name) -> None:
    """Let a user sign in no more; tokens already given end within ten minutes."""
    user = _asked(_users().disable(name))
    console.print(f"[green]disabled[/] {user.name}")


def _users() -> Users:
    chosen = settings()
    if not chosen.embedded:
        fail("AMPARO_KAFKA_BOOTSTRAP is set, so people sign in at the OIDC issuer: add and disable them there")
    directory = chosen.data_dir / "issuer"
    if not directory.is_dir():
        fail(f"{chosen.data_dir.absolute()} holds no issuer; start the platform there once, or set AMPARO_DATA_DIR")
    try:
        return FileUsers(directory, demo=chosen.demo)
    except OSError as error:
        fail(str(error))


def _asked(question: Coroutine[Any, Any, Answer]) -> Answer:
    async def ask() -> Answer:
        return await question

    try:
        return asyncio.run(ask())
    except (UserError, OSError) as error:
        fail(str(error))


def _roles(names: Sequence[str]) -> frozenset[Role]:
    try:
        return frozenset(Role(name.upper()) for name in names)
    except ValueError:
        fail(f"{', '.join(names)}: roles are {_ROLES}")


def _row(user: User) -> tuple[str, ...]:
    state = "disabled" if user.disabled else ""
    return user.name, _shown_roles(user), " ".join(user.countries), user.organisation or "", state


def _shown_roles(user: User) -> str:
    return ", ".join(sorted(role.lower() for role in user.roles))
