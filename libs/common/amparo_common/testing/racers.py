"""Clients in processes of their own that send their requests at the same moment, over real sockets.

`python -m amparo_common.testing.racers HOST PORT TOKEN` connects, then answers each line of standard input
`{"at": UNIX_SECONDS, "body": {...}}` with one line `{"status": 200, "answer": {...}, "sent": UNIX_SECONDS}`.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, cast

_AHEAD_S = 0.08


class Racer:
    """One client process that is signed in as somebody."""

    def __init__(self, *, host: str, port: int, token: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this file, with a test's own values
            [sys.executable, "-m", "amparo_common.testing.racers", host, str(port), token],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._to, self._from = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        self._line()  # it is up

    def send(self, body: Mapping[str, Any], *, at: float) -> None:
        """Let the process post `body` to `/graphql` at the moment `at`."""
        self._to.write(json.dumps({"at": at, "body": body}) + "\n")
        self._to.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to what was sent last."""
        return dict(json.loads(self._line()))

    def _line(self) -> str:
        line = self._from.readline()
        if not line:
            raise RuntimeError(f"a racer ended with {self._process.wait(5)}")
        return line

    def end(self) -> None:
        """End the process."""
        self._to.close()
        self._from.close()
        self._process.wait(10)


@contextmanager
def racers(tokens: Sequence[str], *, host: str, port: int) -> Iterator[list[Racer]]:
    """Start one process a token; all are ended."""
    started: list[Racer] = []
    try:
        started.extend(Racer(host=host, port=port, token=token) for token in tokens)
        yield started
    finally:
        for racer in started:
            racer.end()


def race(entries: Sequence[tuple[Racer, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Send each racer's body at one and the same moment and return the answers in the order of `entries`."""
    at = time.time() + _AHEAD_S
    for racer, body in entries:
        racer.send(body, at=at)
    return [racer.answer() for racer, _ in entries]


def _run(host: str, port: int, token: str) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    sys.stdout.write("up\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        connection.connect()
        while time.time() < asked["at"]:
            pass
        sent = time.time()
        connection.request("POST", "/graphql", body=json.dumps(asked["body"]), headers=headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        sys.stdout.write(json.dumps({"status": response.status, "answer": answer, "sent": sent}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]), sys.argv[3])
