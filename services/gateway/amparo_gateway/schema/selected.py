"""What a document selects below a field, to read ahead for a whole page at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import FieldNode, FragmentSpreadNode

from amparo_gateway.schema.context import Info


def selects(info: Info, name: str) -> bool:
    """Say whether a field called `name` is selected anywhere below this one, fragments included."""
    raw = info._raw_info  # noqa: SLF001 - strawberry's own view copies the whole selection
    seen: set[str] = set()
    waiting: list[Any] = list(raw.field_nodes)
    while waiting:
        for node in _below(waiting.pop()):
            if isinstance(node, FieldNode) and node.name.value == name:
                return True
            if isinstance(node, FragmentSpreadNode):
                spread = node.name.value
                if spread not in seen and spread in raw.fragments:
                    seen.add(spread)
                    waiting.append(raw.fragments[spread])
            else:
                waiting.append(node)
    return False


def _below(node: Any) -> Iterator[Any]:
    if node.selection_set is not None:
        yield from node.selection_set.selections
