"""Fields with a resolver and a description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import strawberry
from strawberry.types.field import StrawberryField

#: In a field's metadata: the attribute that may hold its value.
HELD_AS: Final = "held_as"


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


def held_as(name: str) -> Callable[[Callable[..., Any]], StrawberryField]:
    """Make a resolver a field whose value the row may hold already, as its attribute `name`; None until then."""

    def field(resolver: Callable[..., Any]) -> StrawberryField:
        made: StrawberryField = strawberry.field(resolver, metadata={HELD_AS: name})
        return made

    return field
