"""Users of the built-in issuer: added, granted, disabled, shared with another process through their file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from amparo_common.auth.issuer.users import FileUsers
from amparo_common.auth.users import UserError, Users
from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio


@pytest.fixture
def users(tmp_path: Path) -> FileUsers:
    return FileUsers(tmp_path, demo=False)


async def test_an_added_user_signs_in_with_its_first_password(users: FileUsers) -> None:
    port: Users = users
    user, password = await port.add("maria", roles=frozenset({Role.TRIAGER}), countries=("BO",))
    assert await users.signed_in("maria", password) == user
    assert await users.signed_in("maria", password + "x") is None
    assert await port.list() == [user]


async def test_no_password_stands_in_the_file(users: FileUsers, tmp_path: Path) -> None:
    _, password = await users.add("maria", roles=frozenset({Role.AGENT}))
    assert password not in (tmp_path / "users.json").read_text()
    assert "scrypt$" in (tmp_path / "users.json").read_text()


async def test_a_disabled_user_signs_in_no_more(users: FileUsers) -> None:
    _, password = await users.add("maria", roles=frozenset({Role.AGENT}))
    assert (await users.disable("maria")).disabled
    assert await users.signed_in("maria", password) is None


async def test_a_grant_replaces_the_roles_and_keeps_the_subject(users: FileUsers) -> None:
    user, _ = await users.add("maria", roles=frozenset({Role.AGENT}))
    granted = await users.grant("maria", roles=frozenset({Role.SUPERVISOR}))
    assert granted.roles == {Role.SUPERVISOR}
    assert granted.id == user.id


@pytest.mark.parametrize("role", [Role.SERVICE, Role.REPORTER_APP, Role.ANONYMOUS])
async def test_a_person_cannot_be_a_machine(role: Role, users: FileUsers) -> None:
    with pytest.raises(UserError):
        await users.add("maria", roles=frozenset({role}))
    await users.add("maria", roles=frozenset({Role.AGENT}))
    with pytest.raises(UserError):
        await users.grant("maria", roles=frozenset({Role.AGENT, role}))


@pytest.mark.parametrize("name", ["", "Maria", "a b", "service-account-amparo-service", "x" * 65, "ma\nria", "-a"])
async def test_a_name_that_misleads_is_refused(name: str, users: FileUsers) -> None:
    with pytest.raises(UserError):
        await users.add(name, roles=frozenset({Role.AGENT}))


async def test_a_country_is_a_code(users: FileUsers) -> None:
    with pytest.raises(UserError):
        await users.add("maria", roles=frozenset({Role.TRIAGER}), countries=("Bolivia",))


async def test_a_name_is_given_once_and_unknown_ones_are_said(users: FileUsers) -> None:
    await users.add("maria", roles=frozenset({Role.AGENT}))
    with pytest.raises(UserError, match="already"):
        await users.add("maria", roles=frozenset({Role.ADMIN}))
    for change in (users.disable("josé"), users.grant("josé", roles=frozenset({Role.AGENT}))):
        with pytest.raises(UserError, match="no user"):
            await change


async def test_what_another_process_changes_counts_at_once(users: FileUsers, tmp_path: Path) -> None:
    _, password = await users.add("maria", roles=frozenset({Role.AGENT}))
    assert await users.signed_in("maria", password)
    await FileUsers(tmp_path, demo=False).disable("maria")
    assert await users.signed_in("maria", password) is None


async def test_changes_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    directories = [FileUsers(tmp_path, demo=False) for _ in range(2)]
    names = [f"user-{number}" for number in range(6)]
    await asyncio.gather(
        *(directories[number % 2].add(name, roles=frozenset({Role.AGENT})) for number, name in enumerate(names))
    )
    assert [user.name for user in await directories[0].list()] == names
