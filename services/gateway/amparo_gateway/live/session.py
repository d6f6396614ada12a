"""A socket that has signed in: its subscriptions, each a task, until the client leaves or the token ends."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing

from starlette.websockets import WebSocket, WebSocketDisconnect

from amparo_common.auth.principal import Principal
from amparo_common.clock import Clock
from amparo_gateway.errors import LimitExceededError
from amparo_gateway.live import protocol
from amparo_gateway.live.admission import SocketLimits
from amparo_gateway.live.hub import TooSlowError
from amparo_gateway.live.protocol import Asked, Close
from amparo_gateway.live.streams import Streams
from amparo_gateway.schema.streaming import RefusedStreamError


class Closed(Exception):  # noqa: N818 - a decision, not an error
    """The socket is to be closed with this code; `why` is told to the client."""

    def __init__(self, code: Close, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


async def received(socket: WebSocket) -> protocol.Message:
    """Wait for a message. Raises WebSocketDisconnect when the client left, Closed for what is no message."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
    text = message.get("text")
    if text is None or len(text) > protocol.MOST_BYTES:
        raise Closed(Close.BAD_MESSAGE, "messages are text, of at most 64 KiB")
    try:
        return protocol.read(text)
    except protocol.BadMessageError as error:
        raise Closed(Close.BAD_MESSAGE, f"that is no message of {protocol.SUBPROTOCOL}") from error


class Session:
    """Serves one principal on one socket."""

    def __init__(
        self, socket: WebSocket, principal: Principal, *, streams: Streams, limits: SocketLimits, clock: Clock
    ) -> None:
        self._socket, self._principal, self._streams, self._limits = socket, principal, streams, limits
        self._left_s = (principal.expires_at - clock.now()).total_seconds()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve until the client leaves (WebSocketDisconnect) or the socket is to be closed (Closed)."""
        try:
            async with asyncio.timeout(max(self._left_s, 0)):
                await self._serve()
        except TimeoutError:
            raise Closed(Close.UNAUTHENTICATED, "the token has expired") from None
        except BaseExceptionGroup as group:
            raise _weightiest(group) from None

    async def _serve(self) -> None:
        await self._send(protocol.ACK)
        async with asyncio.TaskGroup() as tasks:
            while True:
                match await received(self._socket):
                    case protocol.Ping():
                        await self._send(protocol.PONG)
                    case protocol.Subscribe(id=name, payload=asked):
                        await self._subscribe(name, asked, tasks=tasks)
                    case protocol.Complete(id=name):
                        if task := self._running.pop(name, None):
                            task.cancel()
                    case protocol.Init():
                        raise Closed(Close.TOO_MANY, "connection_init came twice")
                    case protocol.Pong():
                        pass

    async def _subscribe(self, name: str, asked: Asked, *, tasks: asyncio.TaskGroup) -> None:
        if name in self._running:
            raise Closed(Close.ID_IN_USE, "a subscription of that id is running")
        if len(self._running) >= self._limits.subscriptions_per_socket:
            excess = LimitExceededError(
                f"A socket takes {self._limits.subscriptions_per_socket} subscriptions at once."
            )
            await self._send(protocol.error_of(name, [excess.formatted]))
            return
        self._running[name] = tasks.create_task(self._follow(name, asked))

    async def _follow(self, name: str, asked: Asked) -> None:
        trace_id = secrets.token_hex(16)
        try:
            await self._tell(name, asked, trace_id=trace_id)
        except RefusedStreamError as refused:
            shown = await self._streams.refusal(refused, principal=self._principal, trace_id=trace_id)
            await self._send(protocol.error_of(name, shown))
        except TooSlowError:
            words = "too many changes waited for you; connect again and read the list anew"
            raise Closed(Close.TRY_AGAIN_LATER, words) from None
        finally:
            if self._running.get(name) is asyncio.current_task():
                del self._running[name]

    async def _tell(self, name: str, asked: Asked, *, trace_id: str) -> None:
        stream = await self._streams.begin(asked, principal=self._principal, trace_id=trace_id)
        try:
            payloads = self._streams.payloads(stream, principal=self._principal, trace_id=trace_id)
            async with aclosing(payloads):
                async for payload in payloads:
                    await self._send(protocol.next_of(name, payload))
        finally:
            stream.close()
        await self._send(protocol.complete_of(name))

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._limits.send_within_s):
                await self._socket.send_text(text)
        except TimeoutError:
            raise Closed(Close.TRY_AGAIN_LATER, "you read too slowly") from None


def _weightiest(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return why a session ended, of several reasons at once: a fault first, then a decision, then that it left."""
    reasons = [
        reason if not isinstance(reason, BaseExceptionGroup) else _weightiest(reason) for reason in group.exceptions
    ]
    return min(reasons, key=lambda reason: (isinstance(reason, WebSocketDisconnect), isinstance(reason, Closed)))
