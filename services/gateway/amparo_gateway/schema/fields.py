"""Fields with a resolver and a description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry
from strawberry.types.field import StrawberryField


def described(words: str) -> Callable[[Callable[..., Any]], StrawberryField]:
    """Make a resolver a field with a description: `strawberry.field(description=...)`, typed."""

    def field(resolver: Callable[..., Any]) -> StrawberryField:
        made: StrawberryField = strawberry.field(resolver, description=words)
        return made

    return field


def commanding(words: str) -> Callable[[Callable[..., Any]], StrawberryField]:
    """Make a resolver a mutation with a description: `strawberry.mutation(description=...)`, typed."""

    def field(resolver: Callable[..., Any]) -> StrawberryField:
        made: StrawberryField = strawberry.mutation(resolver, description=words)
        return made

    return field
