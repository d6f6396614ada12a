"""graphql-transport-ws: its messages and the codes that a socket is closed with."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import msgspec

SUBPROTOCOL: Final = "graphql-transport-ws"
#: Documents have at most 40 000 characters, and variables come with them.
MOST_BYTES: Final = 64 * 1024


class Close(IntEnum):
    """Why a socket is closed, as the protocol numbers it; codes below 4000 are WebSocket's own."""

    FAULT = 1011
    TRY_AGAIN_LATER = 1013
    BAD_MESSAGE = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NO_SUCH_PROTOCOL = 4406
    INIT_TOO_LATE = 4408
    ID_IN_USE = 4409
    TOO_MANY = 4429


class _Message(msgspec.Struct, frozen=True, tag_field="type"):
    """A message of a client. Members that are not known are let pass."""


class Init(_Message, frozen=True, tag="connection_init"):
    """The first message; its payload carries the token."""

    payload: dict[str, Any] | None = None


class Ping(_Message, frozen=True, tag="ping"):
    """To be answered with a pong."""

    payload: dict[str, Any] | None = None


class Pong(_Message, frozen=True, tag="pong"):
    """A sign of life."""

    payload: dict[str, Any] | None = None


class Asked(msgspec.Struct, frozen=True, rename="camel"):
    """A document to subscribe to, by its text or by its id."""

    query: str | None = None
    document_id: str | None = None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


class Subscribe(_Message, frozen=True, tag="subscribe"):
    """Begins a subscription under an id of the client's choice."""

    id: str
    payload: Asked


class Complete(_Message, frozen=True, tag="complete"):
    """Ends a subscription."""

    id: str


Message = Init | Ping | Pong | Subscribe | Complete
_decode: Final[Callable[[str], Message]] = msgspec.json.Decoder(Message).decode
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode
ACK: Final = '{"type":"connection_ack"}'
PONG: Final = '{"type":"pong"}'


class BadMessageError(Exception):
    """A message that the protocol does not know."""


def read(text: str) -> Message:
    """Read a message of a client. Raises BadMessageError."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadMessageError from error


def encoded(payload: Any) -> str:
    """Write a payload, once for all who get it."""
    return _encode(payload).decode()


def next_of(subscription: str, payload: str) -> str:
    """Write the message that brings `payload`, which is encoded already, to the subscription."""
    return f'{{"type":"next","id":{encoded(subscription)},"payload":{payload}}}'


def error_of(subscription: str, errors: list[Any]) -> str:
    """Write the message that ends a subscription which was refused."""
    return encoded({"type": "error", "id": subscription, "payload": errors})


def complete_of(subscription: str) -> str:
    """Write the message that ends a subscription which saw its last."""
    return encoded({"type": "complete", "id": subscription})
