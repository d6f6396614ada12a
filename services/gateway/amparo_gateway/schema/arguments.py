"""Optional arguments."""

from __future__ import annotations

from typing import TypeVar

import strawberry

Value = TypeVar("Value")


def given(value: Value | None) -> Value | None:
    """Return what was given for an optional argument; None when it was left out."""
    return None if value is strawberry.UNSET else value
