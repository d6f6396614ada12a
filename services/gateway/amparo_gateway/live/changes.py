"""What changed: an aggregate before and after, decoded once for everybody who listens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec

from amparo_common.events.types import IncidentTriaged, ReferralChanged

Event = TypeVar("Event", IncidentTriaged, ReferralChanged)
Made = TypeVar("Made")
_incident: Final = msgspec.json.Decoder(IncidentTriaged).decode
_referral: Final = msgspec.json.Decoder(ReferralChanged).decode


@dataclass(frozen=True, slots=True, eq=False)
class Known(Generic[Event]):
    """A version of an aggregate: the event, and its bytes as they are stored."""

    event: Event
    state: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Change(Generic[Event]):
    """An aggregate that has a newer version. `before` is None for a new one."""

    key: UUID
    before: Known[Event] | None
    after: Known[Event]
    _made: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, name: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` returned at the first call with `name`: many listeners share it."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made


IncidentChange = Change[IncidentTriaged]
ReferralChange = Change[ReferralChanged]
AnyChange = IncidentChange | ReferralChange


def changes(
    incidents: Iterable[Mapping[str, Any]], referrals: Iterable[Mapping[str, Any]], *, before: Mapping[UUID, bytes]
) -> Iterator[AnyChange]:
    """Return what is newer in these rows of the projection than the states that stood `before`."""
    yield from _newer(incidents, before=before, decode=_incident)
    yield from _newer(referrals, before=before, decode=_referral)


def _newer(
    rows: Iterable[Mapping[str, Any]], *, before: Mapping[UUID, bytes], decode: Callable[[bytes], Event]
) -> Iterator[Change[Event]]:
    for row in rows:
        state = before.get(row["id"])
        known = Known(decode(state), state) if state is not None else None
        if known is None or known.event.version < row["version"]:
            yield Change(row["id"], known, Known(decode(row["state"]), row["state"]))
