"""Running services in one process: one owner of signals, supervised tasks, an ordered end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from amparo_common.telemetry import Telemetry

Answer = TypeVar("Answer")
Task = Callable[[], Coroutine[Any, Any, None]]

#: How long the ordered end may take in all; correctness never depends on it (kill -9 is the tested path).
END_WITHIN_S: Final = 10.0
_STEP_WITHIN_S: Final = 5.0
_DRAIN_S: Final = 4
_LARGEST_MESSAGE: Final = 64 * 1024
_BACKLOG: Final = 2048
_LONGEST_PAUSE_S: Final = 5.0
_HEALTHY_AFTER_S: Final = 30.0
_LAG_EVERY_S: Final = 0.02
_log = structlog.get_logger()


class PortInUseError(Exception):
    """A port that a service needs is taken; the message says which and what to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopStep:
    """One step of a service's end, after its server and before its tasks are cancelled."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What `serve` runs. `port` 0 takes a free one.

    `tasks` are coroutine functions that run until cancelled; they are stopped one by one in this order, so consumers
    stand before the relay, and the relay before what only watches. `stopping` steps run before that, in order. What is
    closed last (databases, the log) is closed by the service's own `compose`, in reverse order of opening.
    """

    name: str
    port: int
    app: ASGIApp
    tasks: Sequence[Task] = ()
    stopping: Sequence[StopStep] = ()
    telemetry: Telemetry | None = None


class LoopLag:
    """Measures how late the event loop wakes. `max_lag` is the longest delay since the start, in seconds."""

    def __init__(self) -> None:
        self.max_lag = 0.0
        self._since_reading = 0.0

    def reading(self) -> float:
        """Return the longest delay since the last reading."""
        longest, self._since_reading = self._since_reading, 0.0
        return longest

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            lag = max(0.0, loop.time() - due)
            self._since_reading = max(self._since_reading, lag)
            self.max_lag = max(self.max_lag, lag)


def run(main: Coroutine[Any, Any, Answer]) -> Answer:
    """Run `main` on uvloop and return its answer."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def serve(
    services: Sequence[Service],
    *,
    host: str = "127.0.0.1",
    on_ready: Callable[[Mapping[str, int]], None] = lambda _: None,
    stop: asyncio.Event | None = None,
    lag: LoopLag | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until `stop` is set or SIGINT or SIGTERM arrives, then end in order; a second signal exits at once.

    `on_ready` gets the port of each service once all of them answer. `on_step` is told each step of the end.
    Raises PortInUseError before anything is started when a port is taken.
    """
    stop, lag = stop or asyncio.Event(), lag or LoopLag()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report_stray)
    sockets = _bound(services, host=host)
    for service in services:
        if service.telemetry is not None:
            service.telemetry.gauge("amparo.loop.lag", lag.reading)
    with _signals(stop):
        running = [_Running(service, socket=bound) for service, bound in zip(services, sockets, strict=True)]
        probe = asyncio.create_task(lag.run())
        try:
            await asyncio.gather(*(one.start() for one in running))
            _set_aside_what_stays()
            _hand_over_quickly()
            on_ready({one.service.name: one.port for one in running})
            await _first(stop.wait(), *(one.fell() for one in running))
        finally:
            await _end(running, on_step=on_step)
            probe.cancel()


def _set_aside_what_stays() -> None:
    """Keep what the start left behind out of later garbage collections: each walk of it stops the loop for 0.3 s."""
    gc.collect()
    gc.freeze()


def _hand_over_quickly() -> None:
    """Let the loop wait 1 ms, not 5, for a database thread to give up the interpreter: a report changes hands often."""
    sys.setswitchinterval(0.001)


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _end(running: Sequence[_Running], *, on_step: Callable[[str], None]) -> None:
    try:
        async with asyncio.timeout(END_WITHIN_S):
            for name, step in _steps(running):
                on_step(name)
                await _ending(name, step)
    except TimeoutError:
        _log.error("the end took too long; what was left is cut off", seconds=END_WITHIN_S)
    finally:
        for one in running:
            one.cut_off()


async def _ending(name: str, step: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(_STEP_WITHIN_S):
            await step()
    except Exception as error:  # noqa: BLE001 - the steps after it must still happen
        _log.exception("a step of the end failed", exc_info=error, step=name)


def _steps(running: Sequence[_Running]) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """List the end of all services: the order stands here and nowhere else."""
    yield "readiness", lambda: _each(running, _Running.refuse_readiness)
    yield "servers", lambda: _each(running, _Running.stop_server)
    for one in running:
        for step in one.service.stopping:
            yield f"{one.service.name}.{step.name}", step.run
    for one in running:
        for name, task in one.tasks:
            yield f"{one.service.name}.{name}", _cancelling(task)


async def _each(running: Sequence[_Running], step: Callable[[_Running], Awaitable[None]]) -> None:
    await asyncio.gather(*(step(one) for one in running))


def _cancelling(task: asyncio.Task[None]) -> Callable[[], Awaitable[None]]:
    async def cancel() -> None:
        task.cancel()
        await asyncio.wait([task])

    return cancel


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has one owner of signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    def capture_signals(self) -> Any:
        return nullcontext()


class _Running:
    """A service with its server and its tasks."""

    def __init__(self, service: Service, *, socket: socket.socket) -> None:
        self.service, self._socket = service, socket
        self.port = int(socket.getsockname()[1])
        self.tasks: list[tuple[str, asyncio.Task[None]]] = []
        self._server = _Server(
            uvicorn.Config(
                service.app,
                http="httptools",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="websockets-sansio",
                ws_max_size=_LARGEST_MESSAGE,
                ws_per_message_deflate=False,  # a compressor for each of a thousand sockets is most of their memory
                timeout_graceful_shutdown=_DRAIN_S,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        for task in self.service.tasks:
            name = _name(task)
            supervised = _supervised(task, service=self.service, name=name)
            self.tasks.append((name, asyncio.create_task(supervised, name=f"{self.service.name}.{name}")))
        await _first(self._server.up.wait(), self.fell())
        if self._serving.done():
            self._serving.result()

    async def fell(self) -> None:
        """Wait until the server ended by itself, which it never should."""
        if self._serving is not None:
            await asyncio.wait([self._serving])

    async def refuse_readiness(self) -> None:
        state = getattr(self.service.app, "state", None)
        if state is not None:
            state.stopping = True

    async def stop_server(self) -> None:
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait([self._serving])

    def cut_off(self) -> None:
        for _, task in self.tasks:
            task.cancel()
        if self._serving is not None:
            self._serving.cancel()
        self._socket.close()


def _name(task: Task) -> str:
    function = getattr(task, "func", task)
    owner = getattr(function, "__self__", None)
    return type(owner).__name__ if owner is not None else str(getattr(function, "__name__", "task"))


async def _supervised(task: Task, *, service: Service, name: str) -> None:
    """Run `task` again whenever it dies of an exception, with growing pauses; its own return ends it."""
    loop, pause = asyncio.get_running_loop(), 0.1
    while True:
        began = loop.time()
        try:
            await task()
        except Exception as error:  # noqa: BLE001 - whatever it is, the task must run again
            _log.exception("a task died and starts again", exc_info=error, service=service.name, task=name)
        else:
            return
        if service.telemetry is not None:
            service.telemetry.counter("amparo.tasks.restarted").add(1, {"task": name})
        pause = 0.1 if loop.time() - began > _HEALTHY_AFTER_S else min(pause * 2, _LONGEST_PAUSE_S)
        await asyncio.sleep(pause)


def _bound(services: Sequence[Service], *, host: str) -> list[socket.socket]:
    """Bind every port before anything starts, so that a taken one stops the start as a whole."""
    sockets: list[socket.socket] = []
    for service in services:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        sockets.append(listening)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, service.port))
            listening.listen(_BACKLOG)
        except OSError as error:
            for bound in sockets:
                bound.close()
            why = os.strerror(error.errno or 0).lower()
            raise PortInUseError(
                f"{service.name} cannot listen on port {service.port} of {host}: {why}; "
                "stop what runs there, or set AMPARO_PORT_OFFSET to move every port"
            ) from error
    return sockets


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        _log.info("stopping", signal=number.name)
        stop.set()

    watched = (signal.SIGINT, signal.SIGTERM)
    for number in watched:
        loop.add_signal_handler(number, received, number)
    try:
        yield
    finally:
        for number in watched:
            with suppress(RuntimeError):
                loop.remove_signal_handler(number)


def _report_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception that no task handled, by type and place: asyncio's own text would quote its message."""
    _log.error(
        "an exception reached the event loop", error=context.get("exception"), reason=str(context["message"])[:80]
    )
