"""Pages of the graph: keyset cursors, `first` from 1 to 100, nothing counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import strawberry

from amparo_gateway.schema.context import Context
from amparo_gateway.schema.errors import InvalidError, LimitExceededError

Row = TypeVar("Row")
LARGEST_PAGE: Final = 100

First = Annotated[int, strawberry.argument(description="How many, from 1 to 100.")]
After = Annotated[str | None, strawberry.argument(description="The cursor of the last one that is known.")]


@strawberry.type(description="Where a page ends and whether there is more.")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


class Page:
    """What one list was asked for. `name` tells it from others: a cursor opens only in the list it was made for."""

    def __init__(self, context: Context, *, name: str, first: int, after: Any) -> None:
        """Take the arguments as they came; raises InvalidError or LimitExceededError, naming the argument."""
        if first > LARGEST_PAGE:
            raise LimitExceededError(f"`first` is at most {LARGEST_PAGE}.")
        if first < 1:
            raise InvalidError("`first` is 1 or more.")
        self._context, self._name = context, f"{context.principal.subject}|{name}"
        self._first = first
        self.after = self._opened(after) if isinstance(after, str) else None
        #: One more than asked for, which shows whether there is a next page.
        self.limit = first + 1

    def _opened(self, cursor: str) -> bytes:
        place = self._context.seal.open(cursor, of=self._name)
        if place is None:
            raise InvalidError("`after` is no cursor of this list.")
        return place

    def cursor(self, place: bytes) -> str:
        return self._context.seal.seal(place, of=self._name)

    def cut(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows that were asked for, without the one more."""
        return rows[: self._first]

    def info(self, cursors: Sequence[str], *, found: int) -> PageInfo:
        return PageInfo(
            has_next_page=found > self._first,
            has_previous_page=self.after is not None,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        )

    def info_of(self, edges: Sequence[Placed], *, found: int) -> PageInfo:
        """Say where the page of `edges` ends, of which `found` were read."""
        return self.info([self.cursor(edge.place) for edge in (*edges[:1], *edges[-1:])], found=found)


@strawberry.type
class Placed:
    """An edge: its cursor is sealed only when it is selected."""

    page: strawberry.Private[Page]
    place: strawberry.Private[bytes]

    @strawberry.field
    def cursor(self) -> str:
        return self.page.cursor(self.place)
