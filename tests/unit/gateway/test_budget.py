from __future__ import annotations

import pytest

from amparo_gateway.budget import Budget


class Watch:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch():
    return Watch()


def test_a_caller_may_spend_its_bucket_and_is_told_when_it_holds_enough_again(watch):
    budget = Budget(size=100, per_second=10, time=watch)
    assert budget.charge("a", 100) is None
    assert budget.charge("a", 45) == 5
    watch.now += 4.5
    assert budget.charge("a", 45) is None


def test_what_is_refused_takes_nothing(watch):
    budget = Budget(size=100, per_second=10, time=watch)
    budget.charge("a", 90)
    assert budget.charge("a", 20) == 1
    assert budget.charge("a", 10) is None


def test_callers_do_not_share(watch):
    budget = Budget(size=100, per_second=10, time=watch)
    assert budget.charge("a", 100) is None
    assert budget.charge("b", 100) is None


def test_a_bucket_never_holds_more_than_its_size(watch):
    budget = Budget(size=100, per_second=10, time=watch)
    budget.charge("a", 10)
    watch.now += 3600
    assert budget.charge("a", 100) is None
    assert budget.charge("a", 1) is not None


def test_what_the_limits_allow_runs_when_the_bucket_is_full(watch):
    budget = Budget(size=100, per_second=10, time=watch)
    assert budget.charge("a", 40_000) is None
    assert budget.charge("a", 40_000) == 10


def test_memory_is_bounded_however_many_callers_come(watch):
    budget = Budget(size=100, per_second=10, time=watch)
    for number in range(10_050):
        budget.charge(f"caller-{number}", 1)
    assert len(budget._buckets) == 10_000
