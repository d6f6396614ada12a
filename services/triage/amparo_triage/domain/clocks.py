"""Service targets: clocks that start at receipt, tighten when the level rises, and say when they were missed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from amparo_common.events.types import ClockReading
from amparo_common.vocabulary.codes import Category, ClockKind, ClockState, Factor, Level
from amparo_triage.domain.policy import PolicyTable


def targets(
    table: PolicyTable, *, level: Level, held: Collection[Factor], categories: Iterable[Category]
) -> Mapping[ClockKind, timedelta]:
    """Return the targets that count for these facts, from the moment that their clocks start."""
    policy = table.level[level]
    minutes = dict(policy.targets)
    if policy.preservation_only_with and not set(policy.preservation_only_with) & set(held):
        minutes.pop(ClockKind.PRESERVATION, None)
    content = table.sets.get("CONTENT", ())
    if policy.removal is not None and any(category in content for category in categories):
        own = Factor.HOSTED_ON_OWN_NETWORK in held
        minutes[ClockKind.CONTENT_REMOVAL] = policy.removal.own_network if own else policy.removal.elsewhere
    return {kind: timedelta(minutes=value) for kind, value in minutes.items()}


def wound(
    clocks: Iterable[ClockReading], wanted: Mapping[ClockKind, timedelta], *, at: datetime, raised: bool
) -> tuple[ClockReading, ...]:
    """Bring clocks in line with the targets wanted at `at`.

    A clock that is not there starts. A running one is only ever brought forward. After a raise a missed one starts
    anew: the more urgent target is a new promise. What was met or stopped stays.
    """
    known = {clock.kind: clock for clock in clocks}
    for kind, target in wanted.items():
        clock, due_at = known.get(kind), at + target
        if clock is None or (raised and clock.state is ClockState.MISSED):
            known[kind] = ClockReading(kind=kind, state=ClockState.RUNNING, started_at=at, due_at=due_at)
        elif clock.state is ClockState.RUNNING and due_at < clock.due_at:
            known[kind] = replace(clock, due_at=due_at)
    return tuple(known[kind] for kind in ClockKind if kind in known)


def missed(clocks: Iterable[ClockReading], *, now: datetime) -> tuple[ClockReading, ...]:
    """Mark the running clocks whose time has come."""
    return tuple(
        replace(clock, state=ClockState.MISSED) if clock.state is ClockState.RUNNING and clock.due_at <= now else clock
        for clock in clocks
    )


def met(clocks: Iterable[ClockReading], kind: ClockKind, *, at: datetime) -> tuple[ClockReading, ...]:
    """Complete a clock: MET when it ran, while a missed one keeps its state and says when it was completed."""
    return tuple(_completed(clock, at=at) if clock.kind is kind else clock for clock in clocks)


def _completed(clock: ClockReading, *, at: datetime) -> ClockReading:
    if clock.completed_at is not None or clock.state is ClockState.STOPPED:
        return clock
    late = clock.state is ClockState.MISSED or at > clock.due_at
    return replace(clock, state=ClockState.MISSED if late else ClockState.MET, completed_at=at)


def stopped(clocks: Iterable[ClockReading], *, at: datetime) -> tuple[ClockReading, ...]:
    """Stop every clock that still runs."""
    return tuple(
        replace(clock, state=ClockState.STOPPED, completed_at=at) if clock.state is ClockState.RUNNING else clock
        for clock in clocks
    )


def restarted(
    clocks: Iterable[ClockReading], wanted: Mapping[ClockKind, timedelta], *, kinds: Collection[ClockKind], at: datetime
) -> tuple[ClockReading, ...]:
    """Start those of `kinds` that do not run anew, for the targets wanted at `at`."""
    known = {clock.kind: clock for clock in clocks}
    for kind in kinds:
        idle = kind not in known or known[kind].state is not ClockState.RUNNING
        if idle and kind in wanted:
            due_at = at + wanted[kind]
            known[kind] = ClockReading(kind=kind, state=ClockState.RUNNING, started_at=at, due_at=due_at)
    return tuple(known[kind] for kind in ClockKind if kind in known)


def due_at(clocks: Iterable[ClockReading]) -> datetime | None:
    """Return when the earliest clock that still waits is, or was, due.

    A missed clock waits until what it stands for was done: else an overdue incident would sink behind newer ones.
    """
    return min((clock.due_at for clock in clocks if _waits(clock)), default=None)


def next_miss(clocks: Iterable[ClockReading]) -> datetime | None:
    """Return when the next running clock will be missed."""
    return min((clock.due_at for clock in clocks if clock.state is ClockState.RUNNING), default=None)


def _waits(clock: ClockReading) -> bool:
    return clock.completed_at is None and clock.state in {ClockState.RUNNING, ClockState.MISSED}
