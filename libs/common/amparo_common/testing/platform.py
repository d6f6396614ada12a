"""The embedded platform as a real process with real sockets: for end-to-end tests, kill matrix and benchmarks."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from amparo_common.settings import PORTS

Found = TypeVar("Found")
_OFFSETS = range(10_000, 40_000, 100)
_READY_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def free_offset(*, seed: int) -> int:
    """Find a port offset whose ports are all free; different seeds start looking at different places."""
    for step in range(len(_OFFSETS)):
        offset = _OFFSETS[(seed * 37 + step) % len(_OFFSETS)]
        if all(_free(port + offset) for port in PORTS.values()):
            return offset
    raise RuntimeError("no free block of ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_for(what: str, probe: Callable[[], Found | None], *, seconds: float, every: float = 0.05) -> Found:
    """Call `probe` until it answers something true. Raises TimeoutError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := probe():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} not seen within {seconds:g} s")
        time.sleep(every)


@dataclass
class RunningPlatform:
    """One platform on a data directory; it may be started, killed and started again."""

    data_dir: Path
    offset: int
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _tokens: dict[str, str] = field(default_factory=dict)

    @property
    def output(self) -> Path:
        """The file that takes what the process prints, over all its starts."""
        return self.data_dir.with_name(f"{self.data_dir.name}.out")

    def start(self, **environment: str) -> None:
        """Start the process without waiting for it; `environment` counts for this start alone."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("AMPARO_")}
        own = {"AMPARO_DATA_DIR": str(self.data_dir), "AMPARO_PORT_OFFSET": str(self.offset)}
        with self.output.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "amparo", "up"],
                env={**variables, **self.environment, **own, **environment},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        self._tokens.clear()

    def wait_ready(self) -> None:
        """Wait until every service is ready. Raises RuntimeError with the end of the output when the process ended."""
        wait_for("a ready platform", self._ready, seconds=_READY_PATIENCE_S)

    def _ready(self) -> bool:
        if not self.alive:
            raise RuntimeError(f"the platform ended: {self.output.read_bytes()[-2000:].decode(errors='replace')}")
        return all(self.probe(service) for service in ("intake", "triage", "referral", "gateway"))

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def probe(self, service: str) -> bool:
        """Say whether a service calls itself ready."""
        try:
            return self.send("GET", service, "/readyz").status == http.HTTPStatus.OK
        except OSError:
            return False

    def kill(self) -> None:
        """End the process as a power cut would: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the process to stop and wait for it; kill it after 20 s."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        if self.alive:
            self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)

    def send(
        self,
        method: str,
        service: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make one request on a fresh connection. Raises OSError (http.client's errors included) when it breaks."""
        connection = http.client.HTTPConnection("127.0.0.1", PORTS[service] + self.offset, timeout=20)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Reply(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except http.client.HTTPException as error:
            raise ConnectionError(type(error).__name__) from error
        finally:
            connection.close()

    def post(self, service: str, path: str, body: Any, *, user: str | None = None, **headers: str) -> Reply:
        """Post JSON, as a demo user when one is named."""
        sent = {
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if user:
            sent["authorization"] = f"Bearer {self.token(user)}"
        return self.send("POST", service, path, body=json.dumps(body).encode(), headers=sent)

    def token(self, user: str) -> str:
        """Sign in as a demo user, once for each start."""
        if user not in self._tokens:
            form = {"grant_type": "password", "client_id": "amparo-cli", "username": user, "password": user}
            headers = {"content-type": "application/x-www-form-urlencoded"}
            reply = self.send("POST", "issuer", "/token", body=urlencode(form).encode(), headers=headers)
            self._tokens[user] = reply.json()["access_token"]
        return self._tokens[user]

    def query(self, user: str, document: str, **variables: Any) -> dict[str, Any]:
        """Run a GraphQL document that must succeed and return its data."""
        reply = self.post("gateway", "/graphql", {"query": document, "variables": variables}, user=user)
        answer = reply.json()
        if reply.status != http.HTTPStatus.OK or answer.get("errors"):
            raise AssertionError(f"HTTP {reply.status}: {answer}")
        return dict(answer["data"])
