"""One WebSocket: sign in, subscribe, be told; everything it may hold is counted, and it ends with its token."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_common.auth.verifier import TokenError, Verifier
from amparo_common.clock import Clock
from amparo_common.errors import TransientError
from amparo_gateway.live import protocol
from amparo_gateway.live.admission import Admission, FullError
from amparo_gateway.live.protocol import Close
from amparo_gateway.live.session import Closed, Session, received
from amparo_gateway.live.streams import Streams

_log = structlog.get_logger()
_SCHEME: Final = "bearer "
_LISTENING: Final = (Permission.READ_INCIDENTS, Permission.READ_REFERRALS)


class Door:
    """Takes WebSockets in at `/graphql`, one `Session` each."""

    def __init__(self, *, streams: Streams, verifier: Verifier, admission: Admission, clock: Clock) -> None:
        self._streams, self._verifier, self._admission, self._clock = streams, verifier, admission, clock

    async def take_in(self, socket: WebSocket) -> None:
        """Serve one socket to its end."""
        if protocol.SUBPROTOCOL not in socket.scope.get("subprotocols", ()):
            await socket.accept()
            await socket.close(Close.NO_SUCH_PROTOCOL, f"only {protocol.SUBPROTOCOL} is spoken here")
            return
        await socket.accept(subprotocol=protocol.SUBPROTOCOL)
        try:
            await self._serve(socket)
        except WebSocketDisconnect:
            pass  # the client left
        except Closed as closed:
            await self._close(socket, closed)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told and may come again
            _log.exception("a socket failed", exc_info=error)
            await self._close(socket, Closed(Close.FAULT, "something went wrong on our side"))

    async def _close(self, socket: WebSocket, closed: Closed) -> None:
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):  # it may be gone, or read nothing any more
            async with asyncio.timeout(self._admission.limits.send_within_s):
                await socket.close(closed.code, closed.why)

    async def _serve(self, socket: WebSocket) -> None:
        try:
            with self._admission.stranger():
                principal = await self._signed_in(socket)
            with self._admission.of(principal.subject):
                limits = self._admission.limits
                await Session(socket, principal, streams=self._streams, limits=limits, clock=self._clock).run()
        except FullError as full:
            raise Closed(Close.TOO_MANY, str(full)) from full

    async def _signed_in(self, socket: WebSocket) -> Principal:
        try:
            async with asyncio.timeout(self._admission.limits.init_within_s):
                message = await received(socket)
        except TimeoutError:
            raise Closed(Close.INIT_TOO_LATE, "connection_init did not come in time") from None
        if not isinstance(message, protocol.Init):
            raise Closed(Close.UNAUTHENTICATED, "connection_init with a token comes first")
        try:
            principal = await self._verifier.verify(_token(message.payload))
        except TokenError as error:
            raise Closed(Close.UNAUTHENTICATED, f"the bearer token is not accepted: {error.reason}") from error
        except TransientError as error:
            raise Closed(Close.TRY_AGAIN_LATER, "tokens cannot be checked at the moment") from error
        if not any(principal.may(permission) for permission in _LISTENING):
            raise Closed(Close.FORBIDDEN, "your role has nothing to listen to")
        return principal


def _token(payload: Mapping[str, Any] | None) -> str:
    header = next((value for name, value in (payload or {}).items() if name.lower() == "authorization"), None)
    if not isinstance(header, str) or header[: len(_SCHEME)].lower() != _SCHEME:
        raise TokenError("no-bearer-token")
    return header[len(_SCHEME) :].strip()
