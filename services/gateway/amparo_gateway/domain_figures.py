"""Figures that show no child: which cells of a table are held back.

A cell under five is held back, and with it further ones, so that it cannot be worked out. Whoever knows the total of a
line of the table (all cells that differ in one dimension only), which a question with one dimension fewer answers, can
subtract the cells that are shown. So in each line that holds back anything, at least two cells are held back, and
together they count at least four more than their number: each of them may then be anything from 1 to 5 or more. The
smallest cells that are still shown go first. Where a whole line is held back, its total is as small and is held back by
the same rule where it is a cell itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

#: The smallest count that is shown.
SMALLEST_SHOWN: Final = 5


class Dimension(Enum):
    """What figures are counted by. DESTINATION and OUTCOME (the status) are of referrals, the others of incidents."""

    DAY = "DAY"
    COUNTRY = "COUNTRY"
    CHANNEL = "CHANNEL"
    CATEGORY = "CATEGORY"
    LEVEL = "LEVEL"
    DESTINATION = "DESTINATION"
    OUTCOME = "OUTCOME"


class Cell(NamedTuple):
    """A cell of a table of figures: its value in each dimension, and how many have them; None when it is held back."""

    values: tuple[str, ...]
    number: int | None


def suppressed(cells: Sequence[Cell]) -> list[Cell]:
    """Return `cells` in their order, without the counts that are held back. A count of zero has no cell."""
    counts = {cell.values: cell.number or 0 for cell in cells}
    hidden = {values for values, count in counts.items() if count < SMALLEST_SHOWN}
    lines = _lines(counts)
    waiting = {line for values in hidden for line in _through(values)}
    while waiting:
        line = waiting.pop()
        for values in _also_hidden(lines[line], counts=counts, hidden=hidden):
            hidden.add(values)
            waiting.update(_through(values))
    return [cell._replace(number=None) if cell.values in hidden else cell for cell in cells]


_Line = tuple[int, tuple[str, ...]]


def _through(values: tuple[str, ...]) -> list[_Line]:
    """Return the lines through a cell: a dimension each, with the cell's values in all others."""
    return [(place, values[:place] + values[place + 1 :]) for place in range(len(values))]


def _lines(cells: Iterable[tuple[str, ...]]) -> dict[_Line, list[tuple[str, ...]]]:
    lines = defaultdict(list)
    for values in cells:
        for line in _through(values):
            lines[line].append(values)
    return lines


def _also_hidden(
    line: Sequence[tuple[str, ...]], *, counts: dict[tuple[str, ...], int], hidden: set[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Return the smallest shown cells of a line that must be held back too."""
    held = [values for values in line if values in hidden]
    number, together = len(held), sum(counts[values] for values in held)
    more = []
    for values in sorted((values for values in line if values not in hidden), key=lambda one: (counts[one], one)):
        if number > 1 and together >= number + SMALLEST_SHOWN - 1:
            break
        more.append(values)
        number, together = number + 1, together + counts[values]
    return more
