"""Percentiles and a histogram in text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` (0 to 1) of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * share) - 1)]


def histogram(milliseconds: Sequence[float], *, width: int = 50) -> str:
    """Draw the values in buckets that double, one line each."""
    edges = [0.0, 1.0]
    while edges[-1] < max(milliseconds):
        edges.append(edges[-1] * 2)
    rows = []
    for low, high in pairwise(edges):
        count = sum(low < value <= high for value in milliseconds)
        bar = "#" * round(width * count / len(milliseconds))
        rows.append(f"{low:8.0f} to {high:6.0f} ms {count:6d} {bar}")
    return "\n".join(rows)
