"""A stand-in for intake's key endpoint: a real server on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from amparo_common.http import ServiceClient, service_client


@dataclass
class Intake:
    """What the stand-in answers, and what it was asked."""

    url: str = ""
    keys: dict[str, bytes] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)
    calls: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    status: int = 200
    body: bytes | None = None

    def answer(self, report_id: str) -> dict[str, str]:
        if report_id in self.destroyed:
            return {"state": "destroyed"}
        if report_id in self.keys:
            return {"state": "key", "key": base64.b64encode(self.keys[report_id]).decode()}
        return {"state": "unknown"}


def _app(intake: Intake) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/keys")
    async def keys(request: Request) -> Response:
        asked = await request.json()
        intake.calls.append(asked)
        intake.authorizations.append(request.headers["authorization"])
        answer = {"keys": {report_id: intake.answer(report_id) for report_id in asked["ids"]}}
        await asyncio.sleep(intake.delay_s)
        body = intake.body if intake.body is not None else json.dumps(answer).encode()
        return Response(body, status_code=intake.status, media_type="application/json")

    return app


@pytest.fixture
def intake() -> Iterator[Intake]:
    state = Intake()
    config = uvicorn.Config(_app(state), lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield state
        finally:
            server.should_exit = True
            thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.fixture
async def http() -> AsyncIterator[ServiceClient]:
    async with service_client() as client:
        yield client
