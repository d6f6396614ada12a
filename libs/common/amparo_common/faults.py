"""Named fault points: places where a test may kill, delay or fail a service. Without a plan they cost one look-up.

A plan is text, `SERVICE:POINT:HIT:ACTION` separated by commas, read from `AMPARO_FAULTS` by the composition root.
`HIT` counts from 1; `ACTION` is `kill` (SIGKILL to the own process), `raise` (a TransientError) or `delay=SECONDS`
(blocks the thread).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from amparo_common.errors import TransientError

#: Every point, with the services that pass it. A new `point()` call must stand here, or it fails at its first hit.
POINTS: Final[dict[str, tuple[str, ...]]] = {
    "writer.before_commit": ("intake", "triage", "referral", "gateway"),
    "writer.after_commit": ("intake", "triage", "referral", "gateway"),
    "relay.before_append": ("intake", "triage", "referral", "gateway"),
    "relay.after_append": ("intake", "triage", "referral", "gateway"),
    "consumer.before_handle": ("intake", "triage", "referral", "gateway"),
    "consumer.before_position": ("intake", "triage", "referral", "gateway"),
    "consumer.after_position": ("intake", "triage", "referral", "gateway"),
    "log.before_commit": ("log",),
    "log.after_commit": ("log",),
    "intake.before_receipt": ("intake",),
    "delivery.before_send": ("referral",),
    "delivery.after_send": ("referral",),
    "acknowledgement.before_answer": ("referral",),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at the `hit`th passing of a point by a service."""

    service: str
    point: str
    hit: int
    action: str


_plan: dict[tuple[str, str], list[Fault]] = {}
_hits: Counter[tuple[str, str]] = Counter()
_counting = False
_lock = threading.Lock()


def load(plan: str, *, count: bool = False) -> None:
    """Set the plan of this process and start counting hits anew; an empty plan clears it.

    Raises ValueError, naming the entry, when a point is not registered for a service or an action is unknown.
    """
    global _counting  # noqa: PLW0603 - one plan a process
    faults = [_parsed(entry) for entry in plan.split(",") if entry.strip()]
    with _lock:
        _plan.clear()
        _hits.clear()
        for fault in faults:
            _plan.setdefault((fault.service, fault.point), []).append(fault)
        _counting = count or bool(faults)


def _parsed(entry: str) -> Fault:
    parts = entry.strip().split(":")
    if len(parts) != 4:  # noqa: PLR2004
        raise ValueError(f"a fault is SERVICE:POINT:HIT:ACTION, not {entry!r}")
    service, point, hit, action = parts
    if service not in POINTS.get(point, ()):
        raise ValueError(f"{service!r} has no fault point {point!r}")
    if not hit.isdigit() or int(hit) < 1:
        raise ValueError(f"the hit of {entry!r} is no number from 1")
    if action not in {"kill", "raise"} and not action.startswith("delay="):
        raise ValueError(f"the action of {entry!r} is none of kill, raise, delay=SECONDS")
    return Fault(service=service, point=point, hit=int(hit), action=action)


def point(service: str, name: str) -> None:
    """Pass a fault point. Raises TransientError where the plan says `raise`, KeyError when `name` is not registered."""
    if not _counting:
        return
    if service not in POINTS[name]:
        raise KeyError(f"{service} passes {name}, which is not registered for it")
    with _lock:
        _hits[service, name] += 1
        hit = _hits[service, name]
        actions = [fault.action for fault in _plan.get((service, name), ()) if fault.hit == hit]
    for action in actions:
        _act(action, where=f"{service}:{name}:{hit}")


def _act(action: str, *, where: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise TransientError(f"fault planned at {where}")
    else:
        time.sleep(float(action.removeprefix("delay=")))


def hits() -> dict[str, int]:
    """Return how often each point was passed since the plan was loaded, keyed `SERVICE:POINT`."""
    with _lock:
        return {f"{service}:{name}": count for (service, name), count in sorted(_hits.items())}
