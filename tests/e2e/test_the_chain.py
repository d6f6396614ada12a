"""A report travels from the public door to a partner and back, over real sockets."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from amparo_common.testing.platform import RunningPlatform, free_offset, wait_for

pytestmark = pytest.mark.slow

INCIDENT = """
  query($id: ID!) { incidentByReport(reportId: $id) {
    reference level provisional category country version reportCount
    decision {
      human reasons(language: "fr") rules { id floor factors } factors { factor source } guidelines { id paraphrase }
    }
    clocks { kind state dueAt }
    referrals(first: 5) { edges { node {
      reference status destination acknowledgements { code by } attempts { number outcome }
    } } }
  } }
"""
QUEUED = """
  query($r: String!) { incidents(first: 5, filter: {inQueue: true, reference: $r}) { edges { node { reference } } } }
"""
CANARY = "Zanzibaro Quellenhof"


def report(text: str, **fields: Any) -> dict[str, Any]:
    return {"channel": "web", "language": "en", "country": "GH", "text": f"{text} {uuid.uuid4()}"} | fields


def accepted(platform: RunningPlatform, body: dict[str, Any], *, user: str | None = None) -> dict[str, Any]:
    reply = platform.post("intake", "/v1/reports", body, user=user)
    assert reply.status == 202, reply.body
    return dict(reply.json())


def incident_of(platform: RunningPlatform, receipt: dict[str, Any], *, user: str = "triager") -> dict[str, Any]:
    def probe() -> dict[str, Any] | None:
        return platform.query(user, INCIDENT, id=receipt["report_id"])["incidentByReport"]

    return wait_for("the incident", probe, seconds=10)


def referrals(incident: dict[str, Any]) -> list[dict[str, Any]]:
    return [edge["node"] for edge in incident["referrals"]["edges"]]


def acknowledged(platform: RunningPlatform, receipt: dict[str, Any]) -> dict[str, Any]:
    def probe() -> dict[str, Any] | None:
        incident = incident_of(platform, receipt)
        return incident if any(r["status"] == "ACKNOWLEDGED" for r in referrals(incident)) else None

    return wait_for("an acknowledgement", probe, seconds=15)


def status_of(platform: RunningPlatform, receipt: dict[str, Any]) -> str:
    return str(platform.post("intake", "/v1/cases/status", {"case_code": receipt["case_code"]}).json()["status"])


def test_an_urgent_report_is_acknowledged_by_the_partner_and_its_reporter_is_told(platform: RunningPlatform) -> None:
    body = report("A child next door is being beaten now.", category="OFFLINE_MALTREATMENT", factors=["ONGOING_ABUSE"])
    receipt = accepted(platform, body)
    assert receipt["lane"] == "urgent"
    incident = acknowledged(platform, receipt)
    assert incident["level"] == "P1"
    assert incident["provisional"]
    assert "R02" in {rule["id"] for rule in incident["decision"]["rules"]}
    assert incident["decision"]["reasons"]
    assert incident["decision"]["guidelines"]
    (referral,) = referrals(incident)
    assert [answer["code"] for answer in referral["acknowledgements"]] == ["RECEIVED"]
    wait_for("passed_on", lambda: status_of(platform, receipt) == "passed_on", seconds=5)


def test_a_mild_report_waits_for_people_and_goes_to_nobody(platform: RunningPlatform) -> None:
    receipt = accepted(platform, report("Adverts with her name.", category="TARGETED_MARKETING", victim={"age": 16}))
    incident = incident_of(platform, receipt)
    assert incident["level"] == "P4"
    assert incident["provisional"]
    edges = platform.query("triager", QUEUED, r=incident["reference"])["incidents"]["edges"]
    assert [edge["node"]["reference"] for edge in edges] == [incident["reference"]]
    assert all(r["status"] == "AWAITING_REVIEW" for r in referrals(incident_of(platform, receipt)))


def test_two_reports_of_one_address_are_one_incident(platform: RunningPlatform) -> None:
    address = f"https://gallery.example.net/{uuid.uuid4()}"
    first = accepted(platform, report("A page.", category="CSAM_SUSPECTED", urls=[address]))
    second = accepted(platform, report("The same page.", category="CSAM_SUSPECTED", urls=[address]))
    assert incident_of(platform, first)["reference"] == incident_of(platform, second)["reference"]
    wait_for("both reports in it", lambda: incident_of(platform, first)["reportCount"] == 2, seconds=5)


def test_an_agent_sees_the_incident_it_logged_and_another_partner_sees_none(platform: RunningPlatform) -> None:
    receipt = accepted(platform, report("A caller asks for help.", channel="call_centre"), user="agent")
    assert incident_of(platform, receipt, user="agent")["level"]
    other = accepted(platform, report("Somebody else's report."))
    assert incident_of(platform, other)
    assert platform.query("agent", INCIDENT, id=other["report_id"])["incidentByReport"] is None
    denied = platform.post(
        "gateway", "/graphql", {"query": INCIDENT, "variables": {"id": receipt["report_id"]}}, user="partner"
    )
    assert denied.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_nothing_a_reporter_wrote_stands_readable_on_disk(platform: RunningPlatform) -> None:
    body = report(
        f"My neighbour {CANARY} writes to my daughter.",
        category="GROOMING",
        platform=f"{CANARY} chat",
        urls=["https://zanzibaro.example.org/room"],
        reported_accounts=[{"platform": "chat", "handle": "zanzibaro_canary"}],
        reporter={"type": "parent", "name": CANARY, "contact": "zanzibaro@example.org", "safe_contact": "email"},
    )
    acknowledged(platform, accepted(platform, body))
    files = [file for file in platform.data_dir.rglob("*") if file.is_file()] + [platform.output]
    readable = [file.name for file in files if b"zanzibaro" in file.read_bytes().lower()]
    assert readable == []


def test_the_demonstration_arrives_and_exits_with_zero(platform: RunningPlatform) -> None:
    environment = {
        "AMPARO_DATA_DIR": str(platform.data_dir),
        "AMPARO_PORT_OFFSET": str(platform.offset),
        "COLUMNS": "160",
    }
    run = subprocess.run(
        [sys.executable, "-m", "amparo", "demo"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "40 reports" in run.stdout


def test_a_stopped_platform_starts_again_with_everything(tmp_path: Path) -> None:
    running = RunningPlatform(tmp_path / "data", free_offset(seed=777))
    try:
        running.start()
        running.wait_ready()
        receipt = accepted(running, report("A man asks her to keep secrets.", category="GROOMING"))
        before = acknowledged(running, receipt)
        running.stop()
        running.start()
        running.wait_ready()
        assert incident_of(running, receipt) == before
        assert status_of(running, receipt) == "passed_on"
    finally:
        running.stop()
