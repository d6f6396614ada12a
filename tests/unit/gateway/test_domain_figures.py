from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, strategies as st

from amparo_gateway.domain_figures import Cell, suppressed

TABLES = st.dictionaries(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.sampled_from("12")), st.integers(1, 30), max_size=24
)


def shown(counts):
    """Return what is shown of a table with one dimension."""
    return [cell.number for cell in suppressed([Cell((name,), count) for name, count in counts.items()])]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"a": 5, "b": 7}, [5, 7]),
        ({"a": 4}, [None]),
        # Alone it would be the total less the others, so the next smallest goes too.
        ({"a": 1, "b": 9, "c": 20}, [None, None, 20]),
        # Four in two cells could only be 1 and 3, 2 and 2 or 3 and 1: all of them small.
        ({"a": 2, "b": 2, "c": 6, "d": 50}, [None, None, None, 50]),
        ({"a": 4, "b": 4, "c": 30}, [None, None, 30]),
        ({"a": 1, "b": 2}, [None, None]),
        ({}, []),
    ],
)
def test_a_small_cell_is_held_back_with_what_would_betray_it(counts, expected):
    assert shown(counts) == expected


def test_a_total_is_a_cell_too():
    assert suppressed([Cell((), 4)]) == [Cell((), None)]
    assert suppressed([Cell((), 5)]) == [Cell((), 5)]


@given(table=TABLES)
def test_no_line_lets_a_held_back_cell_be_worked_out(table):
    cells = suppressed([Cell(values, count) for values, count in table.items()])
    assert [cell.values for cell in cells] == list(table)
    assert all(cell.number is None or (cell.number == table[cell.values] and cell.number >= 5) for cell in cells)
    lines = defaultdict(list)
    for cell in cells:
        for place in range(3):
            lines[place, cell.values[:place] + cell.values[place + 1 :]].append(cell)
    for line in lines.values():
        held = [table[cell.values] for cell in line if cell.number is None]
        if held and len(held) < len(line):
            # Whoever subtracts knows the sum of what is held back; each of it may still be small or not.
            assert len(held) > 1
            assert sum(held) - (len(held) - 1) >= 5


@given(table=TABLES)
def test_nothing_is_held_back_without_a_small_cell(table):
    large = {values: count + 4 for values, count in table.items()}
    assert suppressed([Cell(values, count) for values, count in large.items()]) == [*large.items()]
