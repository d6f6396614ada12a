"""Sources are known for the limits only, by names that nobody can turn back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from amparo_intake.domain.admission import Limits, Rate, Verdict
from amparo_intake.sources import Allowances, Sources, Submitters

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def test_a_source_is_an_address_with_the_tokens_subject() -> None:
    sources = Sources()

    assert sources.of("192.0.2.1") == sources.of("192.0.2.1")
    assert sources.of("192.0.2.1") != sources.of("192.0.2.2")
    assert sources.of("192.0.2.1") != sources.of("192.0.2.1", subject="agent-7")


def test_a_subscribers_ipv6_addresses_are_one_source() -> None:
    sources = Sources()

    assert sources.of("2001:db8:0:1::5") == sources.of("2001:db8:0:1:ffff::9")
    assert sources.of("2001:db8:0:1::5") != sources.of("2001:db8:0:2::5")
    assert sources.of("::ffff:192.0.2.1") == sources.of("192.0.2.1")


def test_another_process_names_the_same_address_differently() -> None:
    assert Sources().of("192.0.2.1") != Sources().of("192.0.2.1")


def test_what_is_remembered_is_bounded_and_the_forgotten_count_as_new() -> None:
    submitters = Submitters(Limits(soft=Rate(0.001, 1), hard=Rate(0.001, 1)), most=2)
    for name in (b"a", b"b", b"c"):
        assert submitters.admit(name, danger=False, now=NOW).verdict is Verdict.TAKEN

    assert submitters.admit(b"c", danger=False, now=NOW).verdict is Verdict.LIMITED
    assert submitters.admit(b"a", danger=False, now=NOW).verdict is Verdict.TAKEN


def test_an_allowance_is_spent_and_comes_back_with_time() -> None:
    allowances = Allowances(Rate(per_second=0.5, burst=2))
    allowances.spend(b"a", now=NOW)
    allowances.spend(b"a", now=NOW)

    assert allowances.wait_s(b"a", now=NOW) == 2
    assert allowances.wait_s(b"b", now=NOW) == 0
    assert allowances.wait_s(b"a", now=NOW + timedelta(seconds=2)) == 0
