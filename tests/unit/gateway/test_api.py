from __future__ import annotations

import pytest
from fastapi import Request

from amparo_gateway.api import _trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def trace_of(header: str) -> str:
    return _trace_id(Request({"type": "http", "headers": [(b"traceparent", header.encode())]}))


def test_the_trace_of_the_caller_goes_on():
    assert trace_of(f"00-{TRACE}-00f067aa0ba902b7-01") == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE}",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01\n",
        "x" * 10_000,
    ],
)
def test_without_a_trace_of_the_caller_a_new_one_begins(header):
    first, second = trace_of(header), trace_of(header)
    assert len(first) == 32
    assert len({first, second, TRACE}) == 3
