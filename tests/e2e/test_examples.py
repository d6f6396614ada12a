"""Every file of examples/ does what docs/integrators.md says, against a running platform."""

from __future__ import annotations

import base64
import os
import re
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from amparo_common.testing.platform import RunningPlatform, free_offset

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES, PAGE = ROOT / "examples", ROOT / "docs" / "integrators.md"
PARTS = {"amparo_client.py", "standard_webhooks.py"}
COUNTRY = "GT"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Examples:
    """Runs examples as their readers do: as scripts of their own."""

    def __init__(self, platform: RunningPlatform, *, partner_port: int) -> None:
        self.platform, self.partner_port = platform, partner_port
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AMPARO_")},
            "AMPARO_GATEWAY": f"http://127.0.0.1:{8080 + platform.offset}",
            "AMPARO_INTAKE": f"http://127.0.0.1:{8081 + platform.offset}",
            "AMPARO_TOKEN_URL": f"http://127.0.0.1:{8089 + platform.offset}/token",
        }

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, name: str, *arguments: str) -> str:
        return self.end(self.start(name, *arguments))

    def end(self, process: subprocess.Popen[str], *, seconds: float = 20) -> str:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"did not end: {out}{err}")
        assert (process.returncode, err) == (0, ""), f"{out}{err}"
        return out


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    port = free_port()
    platform = RunningPlatform(
        tmp_path_factory.mktemp("examples") / "data",
        free_offset(seed=700 + worker),
        environment={"AMPARO_PARTNER_ALLOW": f"127.0.0.1:{port}"},
    )
    platform.start()
    try:
        platform.wait_ready()
        yield Examples(platform, partner_port=port)
    finally:
        platform.stop()


def test_a_token_tells_who_asks(examples):
    assert "is integrator and may " in examples.run("get_a_token.py")


def test_a_report_gets_a_level_with_reasons_and_is_found_page_by_page(examples):
    for _ in range(3):
        out = examples.run("report.py")
        assert re.search(r"^incident AM-\S+ is P[1-4]: \S", out, re.MULTILINE), out
    lines = examples.run("page.py").splitlines()
    assert lines[-1] == f"{len(lines) - 1} incidents"
    assert len(set(lines[:-1])) == len(lines) - 1 >= 3


def test_a_trusted_document_runs_by_its_id(examples):
    assert examples.run("trusted_document.py").splitlines() == [
        "hello, service-account-amparo-integrator",
        "an id that nobody registered: UNKNOWN_DOCUMENT",
    ]


def test_errors_are_told_apart_by_their_codes(examples):
    assert examples.run("errors.py").splitlines() == [
        "a field of another role: FORBIDDEN",
        "an incident that is not yours: None",
        "too much at once: LIMIT_EXCEEDED",
        "no token: 401 application/problem+json",
    ]


def test_a_change_is_heard_of_while_it_happens(examples):
    listening = examples.start("subscribe.py")
    assert listening.stdout.readline() == "listening\n"
    examples.run("report.py")
    assert re.fullmatch(r"AM-\S+ P[1-4] version \d+ waits\n", examples.end(listening))


def test_a_partner_receives_a_referral_and_acknowledges_it(examples):
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    partner = command(
        examples.platform,
        "upsertPartner",
        "partner { id }",
        name="Example hotline",
        destination="LAW_ENFORCEMENT",
        countries=[COUNTRY],
        languages=["es"],
        adapter="WEBHOOK",
        address=f"http://127.0.0.1:{examples.partner_port}/referrals",
        secret=secret,
        acceptsEmergency=True,
        lastVerifiedAt="2026-11-01T00:00:00Z",
    )["partner"]
    command(
        examples.platform,
        "setRoute",
        "partner { id }",
        country=COUNTRY,
        destination="LAW_ENFORCEMENT",
        partnerId=partner["id"],
        priority=1,
        release="AUTOMATIC",
    )
    receiving = examples.start("receive_webhooks.py", str(examples.partner_port), secret)
    assert receiving.stdout.readline() == "listening\n"
    body = {"channel": "web", "language": "es", "country": COUNTRY, "text": "Invented.", "imminent_danger": True}
    assert examples.platform.post("intake", "/v1/reports", body).status == 202
    out = examples.end(receiving)
    assert re.fullmatch(r"org\.amparo\.referral\.sent\.v1 RF-\S+ P1 \S+\n", out), out


def command(platform: RunningPlatform, mutation: str, selection: str, **given: object) -> dict:
    kind = f"{mutation[0].upper()}{mutation[1:]}Input"
    document = (
        f"mutation($input: {kind}!) {{ answer: {mutation}(input: $input) {{ {selection} errors {{ code field }} }} }}"
    )
    answer = platform.query("admin", document, input=given)["answer"]
    assert answer["errors"] == []
    return answer


def test_the_page_shows_every_example_and_every_example_stands_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    files = {file.name for file in EXAMPLES.glob("*.py")}
    assert set(re.findall(r"\.\./examples/(\w+\.py)", page)) == files
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in sorted(files - PARTS) if f'"{name}"' not in tested] == []
