"""Services of one process start together, are kept alive, and end in one order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

import httpx2
import pytest
import structlog
from fastapi import FastAPI

from amparo_common.runtime import LoopLag, PortInUseError, Service, StopStep, serve
from amparo_common.telemetry import Telemetry
from amparo_common.web import service_app

pytestmark = pytest.mark.anyio


def app_of(name: str, telemetry: Telemetry | None = None) -> FastAPI:
    return service_app(name=name, readiness=list, telemetry=telemetry or Telemetry(name))


class _Up:
    """A platform that runs in the background of a test."""

    def __init__(self, *services: Service) -> None:
        self.services, self.ports, self.steps = services, dict[str, int](), list[str]()
        self.stop, self._ready = asyncio.Event(), asyncio.Event()
        self.lag = LoopLag()
        self.on_step: Callable[[str], None] = self.steps.append

    def _on_ready(self, ports: Mapping[str, int]) -> None:
        self.ports.update(ports)
        self._ready.set()

    async def __aenter__(self) -> Self:
        self.running = asyncio.create_task(
            serve(self.services, on_ready=self._on_ready, stop=self.stop, on_step=self._step, lag=self.lag)
        )
        await asyncio.wait([self.running, asyncio.create_task(self._ready.wait())], return_when="FIRST_COMPLETED")
        return self

    def _step(self, name: str) -> None:
        self.on_step(name)

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await self.running


async def forever() -> None:
    await asyncio.Event().wait()


async def test_all_services_answer_before_the_start_is_told() -> None:
    async with _Up(*(Service(name=name, port=0, app=app_of(name)) for name in ("intake", "triage"))) as up:
        assert set(up.ports) == {"intake", "triage"}
        async with httpx2.AsyncClient() as client:
            for port in up.ports.values():
                assert (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200


async def test_the_end_has_one_order() -> None:
    told: list[str] = []

    def step(name: str) -> StopStep:
        async def run() -> None:
            told.append(name)

        return StopStep(name=name, run=run)

    async def consumer() -> None:
        await forever()

    async def relay() -> None:
        await forever()

    services = [
        Service(name=name, port=0, app=app_of(name), tasks=(consumer, relay), stopping=(step("drain"), step("flush")))
        for name in ("intake", "triage")
    ]
    async with _Up(*services) as up:
        pass
    assert up.steps == [
        "readiness",
        "servers",
        "intake.drain",
        "intake.flush",
        "triage.drain",
        "triage.flush",
        "intake.consumer",
        "intake.relay",
        "triage.consumer",
        "triage.relay",
    ]
    assert told == ["drain", "flush"] * 2


async def test_readiness_is_gone_before_the_server_is() -> None:
    app, seen = app_of("intake"), []
    async with _Up(Service(name="intake", port=0, app=app)) as up:
        up.on_step = lambda name: seen.append((name, app.state.stopping))
    assert seen == [("readiness", False), ("servers", True)]


async def test_a_request_under_way_gets_its_answer() -> None:
    app, began = app_of("intake"), asyncio.Event()

    @app.get("/slow")
    async def slow() -> dict[str, str]:
        began.set()
        await asyncio.sleep(0.3)
        return {"said": "all of it"}

    async with httpx2.AsyncClient() as client:
        async with _Up(Service(name="intake", port=0, app=app)) as up:
            asking = asyncio.create_task(client.get(f"http://127.0.0.1:{up.ports['intake']}/slow"))
            await began.wait()
        assert (await asking).json() == {"said": "all of it"}
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://127.0.0.1:{up.ports['intake']}/healthz")


async def test_a_step_that_fails_or_hangs_does_not_keep_the_others_from_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("amparo_common.runtime._STEP_WITHIN_S", 0.05)
    told: list[str] = []

    async def failing() -> None:
        raise RuntimeError

    async def last() -> None:
        told.append("last")

    steps = [StopStep(name="fails", run=failing), StopStep(name="hangs", run=forever), StopStep(name="last", run=last)]
    async with _Up(Service(name="intake", port=0, app=app_of("intake"), stopping=steps, tasks=(forever,))):
        pass
    assert told == ["last"]


async def test_the_end_is_bounded_even_when_a_task_does_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amparo_common.runtime.END_WITHIN_S", 0.3)
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()

    async with _Up(Service(name="intake", port=0, app=app_of("intake"), tasks=(stubborn,))):
        began = time.monotonic()
    assert time.monotonic() - began < 2
    released.set()
    await asyncio.sleep(0)


async def test_a_task_that_dies_runs_again_and_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry, runs = Telemetry("intake"), []
    again = asyncio.Event()

    async def consumer() -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise ValueError("what-a-child-wrote")
        again.set()
        await forever()

    service = Service(name="intake", port=0, app=app_of("intake", telemetry), tasks=(consumer,), telemetry=telemetry)
    with structlog.testing.capture_logs() as lines:
        async with _Up(service):
            await asyncio.wait_for(again.wait(), 3)
    assert 'amparo_tasks_restarted_total{task="consumer"} 2.0' in telemetry.prometheus().decode()
    assert len([line for line in lines if line.get("task") == "consumer"]) == 2


async def test_a_task_that_returns_is_done() -> None:
    runs: list[int] = []

    async def once() -> None:
        runs.append(1)

    async with _Up(Service(name="intake", port=0, app=app_of("intake"), tasks=(once,))):
        await asyncio.sleep(0.25)
    assert runs == [1]


async def test_a_taken_port_stops_the_start_as_a_whole_and_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, first = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        started: list[int] = []

        async def task() -> None:
            started.append(1)

        services = [
            Service(name="intake", port=first, app=app_of("intake"), tasks=(task,)),
            Service(name="triage", port=port, app=app_of("triage"), tasks=(task,)),
        ]
        with pytest.raises(PortInUseError) as refused:
            await serve(services, stop=asyncio.Event())
        assert f"triage cannot listen on port {port}" in str(refused.value)
        assert "AMPARO_PORT_OFFSET" in str(refused.value)
        assert not started
        socket.create_server(("127.0.0.1", first)).close()


async def test_the_lag_of_the_loop_is_measured() -> None:
    telemetry = Telemetry("intake")
    service = Service(name="intake", port=0, app=app_of("intake", telemetry), telemetry=telemetry)
    async with _Up(service) as up:
        await asyncio.sleep(0.05)
        time.sleep(0.2)
        await asyncio.sleep(0.05)
        assert 0.15 < up.lag.max_lag < 2
        text = telemetry.prometheus().decode()
    lag = next(line for line in text.splitlines() if line.startswith("amparo_loop_lag_seconds "))
    assert float(lag.split()[1]) > 0.15
    assert up.lag.reading() < 0.15


PROGRAM = """
import asyncio, sys
from amparo_common.runtime import Service, StopStep, run, serve
from amparo_common.telemetry import Telemetry
from amparo_common.web import service_app

async def hang():
    print("draining", flush=True)
    await asyncio.sleep(float(sys.argv[1]))

async def main():
    app = service_app(name="intake", readiness=list, telemetry=Telemetry("intake"))
    service = Service(name="intake", port=0, app=app, stopping=[StopStep(name="drain", run=hang)])
    await serve([service], on_ready=lambda ports: print("ready", flush=True))
    print("ended", flush=True)

run(main())
"""


def program(drain: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(drain)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_order(number: signal.Signals) -> None:
    process = program(0)
    process.send_signal(number)
    output, _ = process.communicate(timeout=10)
    assert output == "draining\nended\n"
    assert process.returncode == 0


def test_a_second_signal_ends_at_once() -> None:
    process = program(30)
    process.send_signal(signal.SIGTERM)
    assert process.stdout
    assert process.stdout.readline() == "draining\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=5)
    assert output == ""
    assert process.returncode == 128 + signal.SIGTERM
