"""Limits slow misuse and never stop a child: first reports, danger ticks, and ten a second for a minute."""

from __future__ import annotations

import pytest

from amparo_intake.domain.admission import FORGOTTEN_AFTER_S, Admission, Bucket, Limits, Rate, Seen, Verdict, admit

LIMITS = Limits(soft=Rate(10, 600), hard=Rate(20, 1200))


def send(
    count: int, *, seen: Seen | None = None, at: float = 0.0, every: float = 0.0, danger: bool = False
) -> list[Admission]:
    """Send `count` reports of one source, one `every` so many seconds."""
    admissions = []
    for number in range(count):
        admission = admit(seen, now=at + number * every, danger=danger, limits=LIMITS)
        seen = admission.seen
        admissions.append(admission)
    return admissions


def test_ten_a_second_are_taken_for_a_minute_and_for_an_hour() -> None:
    assert {one.verdict for one in send(36_000, every=0.1)} == {Verdict.TAKEN}


def test_a_minutes_worth_may_come_at_once() -> None:
    assert {one.verdict for one in send(600)} == {Verdict.TAKEN}


def test_above_the_soft_limit_a_report_is_taken_more_slowly_and_only_above_the_hard_one_refused() -> None:
    verdicts = [one.verdict for one in send(1300)]

    assert verdicts == [Verdict.TAKEN] * 600 + [Verdict.SLOWED] * 600 + [Verdict.LIMITED] * 100


def test_a_danger_tick_is_taken_in_its_own_lane_whatever_came_before() -> None:
    flooded = send(1300)[-1]

    assert flooded.verdict is Verdict.LIMITED
    assert {one.verdict for one in send(50, seen=flooded.seen, danger=True)} == {Verdict.TAKEN}


def test_a_limited_source_hears_when_to_try_again_and_is_then_taken() -> None:
    limited = send(1201)[-1]

    assert limited.retry_after_s == 1
    again = admit(limited.seen, now=float(limited.retry_after_s), danger=False, limits=LIMITS)
    assert again.verdict is Verdict.TAKEN


def test_refused_tries_do_not_push_the_next_chance_away() -> None:
    limited = send(2000)[-1]

    assert admit(limited.seen, now=1.0, danger=False, limits=LIMITS).verdict is not Verdict.LIMITED


def test_a_source_is_new_again_after_a_day_of_silence() -> None:
    flooded = send(1300)[-1]
    stuck = Limits(soft=Rate(1e-9, 600), hard=Rate(1e-9, 1200))

    within = admit(flooded.seen, now=FORGOTTEN_AFTER_S - 1, danger=False, limits=stuck)
    after = admit(flooded.seen, now=FORGOTTEN_AFTER_S + 1, danger=False, limits=stuck)

    assert (within.verdict, after.verdict) == (Verdict.LIMITED, Verdict.TAKEN)


def test_a_clock_that_goes_back_neither_gives_nor_takes() -> None:
    bucket = Bucket(left=3.0, at=1000.0)

    assert bucket.refilled(Rate(10, 600), now=500.0).left == 3.0


@pytest.mark.parametrize("danger", [True, False])
def test_a_first_report_is_always_taken(danger: bool) -> None:
    tiny = Limits(soft=Rate(0.001, 0.0), hard=Rate(0.001, 0.0))

    assert admit(None, now=0.0, danger=danger, limits=tiny).verdict is Verdict.TAKEN
