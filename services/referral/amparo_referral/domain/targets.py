"""How long a partner may be silent (domain reference 3.5), and what happens then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from amparo_common.vocabulary.codes import Level

#: Moments, after the referral was let go, at which silence is escalated. Each opens the next fallback; the second of a
#: P1 calls a supervisor too. A P4 has no target.
ESCALATIONS: Final[dict[Level, tuple[timedelta, ...]]] = {
    Level.P1: (timedelta(minutes=30), timedelta(minutes=60)),
    Level.P2: (timedelta(minutes=480),),
    Level.P3: (timedelta(minutes=2_880),),
    Level.P4: (),
}

#: How long a first referral may take when triage runs no clock for it (domain reference 3.5).
FIRST_REFERRAL: Final[dict[Level, timedelta]] = {
    Level.P1: timedelta(minutes=60),
    Level.P2: timedelta(minutes=240),
    Level.P3: timedelta(minutes=1_440),
    Level.P4: timedelta(minutes=7_200),
}


def task_due_at(level: Level, *, clock: datetime | None, now: datetime) -> datetime:
    """Return when a person must have told a partner: with the incident's clock of the first referral where it runs."""
    return clock if clock is not None else now + FIRST_REFERRAL[level]


def due_at(level: Level, *, since: datetime) -> datetime | None:
    """Return when a partner's silence is escalated first; None for a level without a target."""
    return escalation_at(level, since=since, done=0)


def escalation_at(level: Level, *, since: datetime, done: int) -> datetime | None:
    """Return the moment of the next escalation after `done` of them; None when there is no further one."""
    steps = ESCALATIONS[level]
    return since + steps[done] if done < len(steps) else None
