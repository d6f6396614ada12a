"""What the owning services answer to a command, as the events that they put into their outboxes with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from amparo_common.errors import TransientError
from amparo_common.events.codec import Envelope, Received, encode
from amparo_common.events.types import Event, IncidentTriaged, PartnerChanged, ReferralChanged, TaskChanged
from amparo_common.ids import uuid7
from amparo_common.log.port import Record
from amparo_common.vocabulary.codes import Lane

#: The members of an answer that carry a state, and what each one is.
_STATES: Final[Mapping[str, type[Event]]] = {
    "incident": IncidentTriaged,
    "other": IncidentTriaged,
    "referral": ReferralChanged,
    "partner": PartnerChanged,
    "task": TaskChanged,
}
_NEVER_IN_THE_LOG: Final = -1


def states_in(answer: Any) -> dict[str, Event]:
    """Return the states in a service's answer by member; those that are null or missing are left out.

    Raises TransientError for an answer that cannot be read: what was commanded is done and comes as an event.
    """
    if not isinstance(answer, dict):
        raise not_understood()
    given = {name: value for name, value in answer.items() if name in _STATES and value is not None}
    try:
        return {name: msgspec.convert(value, _STATES[name]) for name, value in given.items()}
    except msgspec.ValidationError:
        # `from None`: a decoder's words may repeat what stands in the answer.
        raise not_understood() from None


def as_received(event: Event, *, now: datetime) -> Received:
    """Return `event` with the bytes that the log will carry, as though it had come from there."""
    envelope = Envelope(
        id=uuid7(), type=event.TYPE, source="urn:amparo:gateway", time=now, key=UUID(int=0), lane=Lane.STANDARD
    )
    record = encode(event, envelope=envelope)
    return Received(
        envelope=envelope,
        event=event,
        record=Record(
            topic=record.topic,
            partition=0,
            offset=_NEVER_IN_THE_LOG,
            key=record.key,
            value=record.value,
            headers=record.headers,
            appended_at_ms=0,
        ),
    )


def not_understood() -> TransientError:
    """Make the error for an answer that cannot be read."""
    return TransientError("a service gives an answer that is not understood")
