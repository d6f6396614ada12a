"""Optional arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import strawberry

from amparo_gateway.schema.errors import InvalidError

#: There are 249 countries; every other list is of codes.
_LONGEST_LIST: Final = 250
Value = TypeVar("Value")


def given(value: Value | None) -> Value | None:
    """Return what was given for an optional argument; None when it was left out."""
    return None if value is strawberry.UNSET else value


def given_once(values: Iterable[Value] | None, *, name: str) -> frozenset[Value] | None:
    """Return a given list without repeats; raises InvalidError, naming it, when it is longer than any real one."""
    if values is strawberry.UNSET or values is None:
        return None
    found = frozenset(values)
    if len(found) > _LONGEST_LIST:
        raise InvalidError(f"`{name}` takes at most {_LONGEST_LIST} different values.")
    return found


def given_reference(text: str | None) -> str | None:
    """Return a reference as it is stored: people read it out, and type it in small letters."""
    found = given(text)
    return found.strip().upper() if found is not None else None
