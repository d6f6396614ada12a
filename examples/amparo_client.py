"""What every example here needs: a token, and a question to the graph. Python's standard library, nothing else.

The addresses are those of a platform on this machine; set AMPARO_GATEWAY, AMPARO_INTAKE and AMPARO_TOKEN_URL for
another, and AMPARO_CLIENT_ID and AMPARO_CLIENT_SECRET for your own client.
"""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

GATEWAY = os.environ.get("AMPARO_GATEWAY", "http://127.0.0.1:8080")
INTAKE = os.environ.get("AMPARO_INTAKE", "http://127.0.0.1:8081")
TOKEN_URL = os.environ.get("AMPARO_TOKEN_URL", "http://127.0.0.1:8089/token")
CLIENT_ID = os.environ.get("AMPARO_CLIENT_ID", "amparo-integrator")
CLIENT_SECRET = os.environ.get("AMPARO_CLIENT_SECRET", "amparo-integrator-demo")


class GraphError(Exception):
    """The graph answered with errors; `codes` are for programs, the text is for people."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(error["message"] for error in errors))
        self.errors = errors
        self.codes = [error.get("extensions", {}).get("code") for error in errors]


def token() -> str:
    """Get a token for this client (client credentials). It says in `expires_in` for how long it is good."""
    credentials = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    request = urllib.request.Request(
        TOKEN_URL,
        data=urlencode({"grant_type": "client_credentials"}).encode(),
        headers={"authorization": f"Basic {credentials}"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return str(json.load(reply)["access_token"])


def post(url: str, body: Any, *, bearer: str | None = None, **headers: str) -> Any:
    """Post JSON and return the answer. When the platform is busy (429, 503), wait as long as it says, and try again."""
    sent = {"content-type": "application/json", **headers}
    if bearer:
        sent["authorization"] = f"Bearer {bearer}"
    for _ in range(5):
        request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code not in {429, 503}:
                raise SystemExit(f"HTTP {error.code}: {error.read().decode()}") from error
            time.sleep(int(error.headers.get("retry-after", "1")))
    raise SystemExit(f"{url} stayed busy")


def ask(document: str, *, bearer: str, **variables: Any) -> dict[str, Any]:
    """Ask the graph and return `data`; raises GraphError for errors, after waiting out a spent budget once."""
    for attempt in (1, 2):
        answer = post(f"{GATEWAY}/graphql", {"query": document, "variables": variables}, bearer=bearer)
        errors = answer.get("errors", [])
        wait_s = max((error.get("extensions", {}).get("retryAfter", 0) for error in errors), default=0)
        if not errors:
            return dict(answer["data"])
        if not wait_s or attempt == 2:
            raise GraphError(errors)
        time.sleep(wait_s)
    raise AssertionError("unreachable")
