"""The built-in issuer's users: one private file, read again when another process changed it."""

from __future__ import annotations

import asyncio
import builtins
import fcntl
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from amparo_common.auth.issuer import demo
from amparo_common.auth.issuer.passwords import hashed, matches
from amparo_common.auth.private_files import read_private, write_private
from amparo_common.auth.users import ROLES_OF_PEOPLE, User, UserError
from amparo_common.vocabulary.codes import Role

Answer = TypeVar("Answer")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]|[a-z0-9]")
_SERVICE_ACCOUNT: Final = "service-account-"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A user as it stands in the file. `demo` users exist only while the platform is a demonstration."""

    user: User
    password: str
    demo: bool = False


class FileUsers:
    """The users of `directory / "users.json"` (0600, scrypt hashes). `demo` adds the demo users, or hides them."""

    def __init__(self, directory: Path, *, demo: bool) -> None:
        self._file, self._lock, self._demo = directory / "users.json", directory / "users.lock", demo
        self._seen: tuple[int, int, int] | None = None
        self._users: Mapping[str, _Kept] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if demo:
            self._seed()

    async def list(self) -> builtins.list[User]:
        """Return every user by name, the disabled ones too."""
        return [kept.user for _, kept in sorted(self._current().items())]

    async def add(
        self, name: str, *, roles: frozenset[Role], countries: tuple[str, ...] = (), organisation: str | None = None
    ) -> tuple[User, str]:
        """Add a user and return it with its first password. Raises UserError."""
        if not _NAME.fullmatch(name) or name.startswith(_SERVICE_ACCOUNT):
            raise UserError(f"{name!r} is no name: small letters, digits, dot, hyphen and underscore make one")
        user = User(
            id=uuid4(), name=name, roles=_of_people(roles), countries=_countries(countries), organisation=organisation
        )
        password = secrets.token_urlsafe(15)
        kept = _Kept(user, await asyncio.to_thread(hashed, password))

        def put(users: dict[str, _Kept]) -> User:
            if name in users:
                raise UserError(f"there is a user {name} already")
            users[name] = kept
            return user

        return await asyncio.to_thread(self._change, put), password

    async def grant(self, name: str, *, roles: frozenset[Role]) -> User:
        """Replace the roles of a user. Raises UserError."""
        granted = _of_people(roles)
        return await self._replace(name, lambda user: replace(user, roles=granted))

    async def disable(self, name: str) -> User:
        """Let a user sign in no more. Raises UserError."""
        return await self._replace(name, lambda user: replace(user, disabled=True))

    async def signed_in(self, name: str, password: str) -> User | None:
        """Return the user when the password is right and it may sign in; the work is the same when it is not there."""
        kept = self._current().get(name)
        right = await asyncio.to_thread(matches, password, kept.password if kept else None)
        return kept.user if right and kept is not None and not kept.user.disabled else None

    def still_there(self, user_id: UUID) -> User | None:
        """Return the user of an earlier sign-in as it is now; None when it may sign in no more."""
        return next((k.user for k in self._current().values() if k.user.id == user_id and not k.user.disabled), None)

    async def _replace(self, name: str, change: Callable[[User], User]) -> User:
        def put(users: dict[str, _Kept]) -> User:
            if name not in users:
                raise UserError(f"there is no user {name}")
            users[name] = replace(users[name], user=change(users[name].user))
            return users[name].user

        return await asyncio.to_thread(self._change, put)

    def _seed(self) -> None:
        def put(users: dict[str, _Kept]) -> None:
            for seed in demo.USERS:
                if seed.name not in users:
                    user = User(
                        id=seed.id,
                        name=seed.name,
                        roles=frozenset({seed.role}),
                        countries=seed.countries,
                        organisation=seed.organisation,
                    )
                    users[seed.name] = _Kept(user, hashed(seed.name), demo=True)

        if any(seed.name not in self._current() for seed in demo.USERS):
            self._change(put)

    def _change(self, put: Callable[[dict[str, _Kept]], Answer]) -> Answer:
        with self._locked():
            users = dict(self._read())
            answer = put(users)
            written = {"users": [_written(kept) for kept in users.values()]}
            write_private(self._file, json.dumps(written, indent=1))
        return answer

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _current(self) -> Mapping[str, _Kept]:
        try:
            at = self._file.stat()
        except FileNotFoundError:
            return {}
        seen = (at.st_mtime_ns, at.st_size, at.st_ino)
        if seen != self._seen:
            everyone = self._read()
            self._users = {name: kept for name, kept in everyone.items() if self._demo or not kept.demo}
            self._seen = seen
        return self._users

    def _read(self) -> Mapping[str, _Kept]:
        document = json.loads(read_private(self._file) or '{"users": []}')
        return {entry["name"]: _parsed(entry) for entry in document["users"]}


def _of_people(roles: frozenset[Role]) -> frozenset[Role]:
    wrong = sorted(roles - frozenset(ROLES_OF_PEOPLE))
    if wrong or not roles:
        raise UserError(f"a person cannot be {', '.join(wrong).lower() or 'without a role'}")
    return roles


def _countries(countries: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [code for code in countries if code != "*" and not re.fullmatch("[A-Z]{2}", code)]
    if wrong:
        raise UserError(f"{', '.join(wrong)}: countries are ISO 3166-1 codes of two letters, or *")
    return countries


def _written(kept: _Kept) -> dict[str, Any]:
    user = kept.user
    return {
        "id": str(user.id),
        "name": user.name,
        "roles": sorted(role.lower() for role in user.roles),
        "countries": list(user.countries),
        "organisation": user.organisation,
        "disabled": user.disabled,
        "password": kept.password,
        "demo": kept.demo,
    }


def _parsed(entry: Mapping[str, Any]) -> _Kept:
    user = User(
        id=UUID(entry["id"]),
        name=entry["name"],
        roles=frozenset(Role(role.upper()) for role in entry["roles"]),
        countries=tuple(entry["countries"]),
        organisation=entry["organisation"],
        disabled=entry["disabled"],
    )
    return _Kept(user, entry["password"], demo=entry["demo"])
