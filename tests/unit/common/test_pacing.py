from __future__ import annotations

import asyncio
import time

import pytest

from amparo_common.backoff import Backoff
from amparo_common.pacing import SliceSize, UrgentFirst

pytestmark = pytest.mark.anyio


def test_a_slice_grows_while_it_is_quick_and_never_past_its_bound() -> None:
    size = SliceSize(most=500, target_s=0.05)
    for _ in range(10):
        size.took(records=size.records, seconds=0.001)

    assert size.records == 500


def test_a_slice_shrinks_when_it_takes_too_long_and_never_below_its_least() -> None:
    size = SliceSize(most=500, target_s=0.05, least=16)
    for _ in range(10):
        size.took(records=size.records, seconds=0.001)
    size.took(records=500, seconds=0.5)
    assert size.records == 275
    for _ in range(10):
        size.took(records=size.records, seconds=10)

    assert size.records == 16


def test_a_slice_settles_where_it_meets_its_target() -> None:
    size = SliceSize(most=500, target_s=0.05)
    for _ in range(20):
        size.took(records=size.records, seconds=0.01 + size.records * 0.0005)

    assert 75 <= size.records <= 85


async def test_standard_work_waits_for_urgent_work_only_as_long_as_its_patience() -> None:
    gate = UrgentFirst(patience_s=0.1)
    gate.begin()
    began = time.monotonic()
    await gate.give_way()

    assert 0.09 <= time.monotonic() - began < 0.5


async def test_standard_work_goes_on_once_urgent_work_ends() -> None:
    gate = UrgentFirst(patience_s=30)
    gate.begin()
    waiting = asyncio.create_task(gate.give_way())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    gate.end()
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(gate.give_way(), 1)


def test_waits_double_with_jitter_up_to_their_bound_and_start_again() -> None:
    backoff = Backoff(first_s=1, most_s=8)

    waits = [backoff.next_s() for _ in range(6)]

    assert all(whole / 2 <= wait <= whole for wait, whole in zip(waits, (1, 2, 4, 8, 8, 8), strict=True))
    backoff.reset()
    assert backoff.next_s() <= 1


def test_a_wait_stays_finite_after_any_number_of_failures() -> None:
    backoff = Backoff(most_s=5)
    assert all(backoff.next_s() <= 5 for _ in range(5000))
