"""What all events are made of."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from amparo_common.events.streams import Stream


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of all events. `TYPE` is its CloudEvents type, `STREAM` where it goes."""

    TYPE: ClassVar[str]
    STREAM: ClassVar[Stream]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the values inside events."""
