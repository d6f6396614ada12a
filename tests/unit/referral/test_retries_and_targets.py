"""When a delivery comes again, and how long a partner may be silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from amparo_common.clock import SetClock
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Level, ReferralStatus as Status, Release
from amparo_referral.adapters.webhook import outcome_of
from amparo_referral.breaker import OPENS_AFTER, Breakers
from amparo_referral.domain.release import gate
from amparo_referral.domain.retries import WAITS, wait_after
from amparo_referral.domain.targets import due_at, escalation_at

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_attempts_two_and_three_follow_within_thirty_seconds_whatever_the_jitter(chance: float) -> None:
    first, second = (wait_after(attempt, chance=lambda: chance) for attempt in (1, 2))
    assert first is not None
    assert second is not None
    assert timedelta(0) < first + second < timedelta(seconds=20)


def test_waits_grow_over_hours_into_days_and_end() -> None:
    waits = [wait_after(attempt, chance=lambda: 0.5) for attempt in range(1, len(WAITS) + 1)]
    assert waits == sorted(waits, key=lambda wait: wait or timedelta.max)
    assert timedelta(days=2) < sum((wait for wait in waits if wait), timedelta()) < timedelta(days=5)
    assert wait_after(len(WAITS) + 1, chance=lambda: 0.5) is None


def test_jitter_moves_a_wait_by_a_quarter_at_most_both_ways() -> None:
    low, high = wait_after(3, chance=lambda: 0.0), wait_after(3, chance=lambda: 1.0)
    assert (low, high) == (timedelta(seconds=45), timedelta(seconds=75))


@pytest.mark.parametrize(("level", "minutes"), [(Level.P1, 30), (Level.P2, 480), (Level.P3, 2_880), (Level.P4, None)])
def test_silence_is_escalated_at_the_target_of_the_level(level: Level, minutes: int | None) -> None:
    wanted = None if minutes is None else NOW + timedelta(minutes=minutes)
    assert due_at(level, since=NOW) == wanted


def test_only_a_p1_is_escalated_twice() -> None:
    assert escalation_at(Level.P1, since=NOW, done=1) == NOW + timedelta(minutes=60)
    assert escalation_at(Level.P1, since=NOW, done=2) is None
    assert escalation_at(Level.P2, since=NOW, done=1) is None


@pytest.mark.parametrize(
    ("release", "reviewed", "approved", "status"),
    [
        (Release.AUTOMATIC, False, False, Status.QUEUED),
        (Release.AFTER_REVIEW, False, True, Status.AWAITING_REVIEW),
        (Release.AFTER_REVIEW, True, False, Status.QUEUED),
        (Release.WITH_APPROVAL, True, False, Status.AWAITING_APPROVAL),
        (Release.WITH_APPROVAL, False, True, Status.QUEUED),
    ],
)
def test_a_referral_waits_for_who_must_release_it(
    release: Release, reviewed: bool, approved: bool, status: Status
) -> None:
    assert gate(release, reviewed=reviewed, approved=approved) is status


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_delivery(status: int) -> None:
    assert outcome_of(status).delivered


@pytest.mark.parametrize("status", [100, 199, 300, 302, 308, 400, 401, 404, 410, 422, 429, 500, 503, 599])
def test_nothing_else_is_delivery_and_only_410_ends_the_attempts(status: int) -> None:
    outcome = outcome_of(status)
    assert not outcome.delivered
    assert outcome.permanent == (status == 410)
    assert outcome.unhealthy == (status >= 500 or status == 429)


def test_a_breaker_opens_after_five_failures_probes_once_and_closes_on_success() -> None:
    clock, partner = SetClock(NOW), uuid7()
    breakers = Breakers(clock)
    for failure in range(OPENS_AFTER):
        assert breakers.open() == [], failure
        breakers.note(partner, healthy=False)
    assert breakers.open() == [partner]
    clock.move(timedelta(seconds=5))
    assert (breakers.open(), breakers.half_open()) == ([], [partner])
    breakers.note(partner, healthy=False)
    assert breakers.open() == [partner]
    clock.move(timedelta(seconds=10))
    breakers.note(partner, healthy=True)
    assert (breakers.open(), breakers.half_open()) == ([], [])


def test_a_clock_that_goes_back_leaves_no_partner_alone_for_long() -> None:
    clock, partner = SetClock(NOW), uuid7()
    breakers = Breakers(clock)
    for _ in range(OPENS_AFTER):
        breakers.note(partner, healthy=False)
    clock.move(timedelta(hours=-1))
    assert breakers.open() == []
