"""The sealed parts of a report: what a person wrote and who a person is, as JSON under the report's data key."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from amparo_common.crypto.sealing import DataKey, SealBrokenError, open_sealed, seal


class SealedPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the parts. No `repr` shows their content; unknown members are let pass, so that parts may grow."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"

    def __rich_repr__(self) -> tuple[str, ...]:  # type: ignore[override] # rich takes any iterable; msgspec yields pairs
        return ("hidden",)


class Account(SealedPart, frozen=True, omit_defaults=True):
    """An account that is reported, as the reporter wrote it."""

    platform: str | None
    handle: str


class HashReference(SealedPart, frozen=True, omit_defaults=True):
    """A hash of material and who gave it out. The material itself is never taken."""

    algorithm: str
    value: str
    source: str


class Narrative(SealedPart, frozen=True, omit_defaults=True):
    """What happened, verbatim, and the facts named with it. Read by triage and referral."""

    text: str
    urls: tuple[str, ...] = ()
    platform: str | None = None
    accounts: tuple[Account, ...] = ()
    hashes: tuple[HashReference, ...] = ()
    occurred_at: datetime | None = None


class Network(SealedPart, frozen=True, omit_defaults=True):
    """Subscriber data that ties a person to a moment on the network."""

    msisdn: str | None = None
    ip: str | None = None
    port: int | None = None
    observed_at: datetime | None = None


class Identity(SealedPart, frozen=True, omit_defaults=True):
    """Who reports. Only intake opens it."""

    name: str | None = None
    contact: str | None = None
    network: Network | None = None


class Message(SealedPart, frozen=True, omit_defaults=True):
    """One message of the reporter's thread."""

    text: str


Kind = TypeVar("Kind", bound=SealedPart)

_encoder = msgspec.json.Encoder()


def seal_part(key: DataKey, part: SealedPart, *, name: str, report_id: UUID) -> bytes:
    """Seal `part` as the `name` of a report.

    `name` is one of `narrative`, `identity`, `message:ID`, `package:ID:VERSION`, `reason:ID`, `note:ID`; it and the
    report's id must be given again to open it.
    """
    return seal(key, _encoder.encode(part), context=_context(name, report_id))


def open_part(key: DataKey, sealed: bytes, *, kind: type[Kind], name: str, report_id: UUID) -> Kind:
    """Open a part that `seal_part` sealed under the same name; raises SealBrokenError, also when it is no `kind`."""
    plain = open_sealed(key, sealed, context=_context(name, report_id))
    try:
        return msgspec.json.decode(plain, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # `from None`: a decoder's words may repeat the content.
        raise SealBrokenError("unreadable_part") from None


def open_narrative(key: DataKey, sealed: bytes, *, report_id: UUID) -> Narrative:
    """Open the narrative of a report; raises SealBrokenError."""
    return open_part(key, sealed, kind=Narrative, name="narrative", report_id=report_id)


def open_identity(key: DataKey, sealed: bytes, *, report_id: UUID) -> Identity:
    """Open the reporter's identity; raises SealBrokenError. Intake's alone."""
    return open_part(key, sealed, kind=Identity, name="identity", report_id=report_id)


def open_message(key: DataKey, sealed: bytes, *, report_id: UUID, message_id: UUID) -> Message:
    """Open one message of a report's thread; raises SealBrokenError."""
    return open_part(key, sealed, kind=Message, name=f"message:{message_id}", report_id=report_id)


def seal_text(key: DataKey, text: str, *, name: str, report_id: UUID) -> bytes:
    """Seal free text that a person wrote on an incident, under `reason:ID` or `note:ID` of its first report."""
    return seal(key, text.encode(), context=_context(name, report_id))


def open_text(key: DataKey, sealed: bytes, *, name: str, report_id: UUID) -> str:
    """Open what `seal_text` sealed under the same name; raises SealBrokenError."""
    try:
        return open_sealed(key, sealed, context=_context(name, report_id)).decode()
    except UnicodeDecodeError:
        raise SealBrokenError("unreadable_part") from None


def _context(name: str, report_id: UUID) -> str:
    return f"{name}:{report_id}"
