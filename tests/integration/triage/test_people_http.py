"""People's commands over a real socket, with real tokens of the built-in issuer for every role."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import msgspec
import pytest

from amparo_common.auth.issuer.app import create_app as issuer_app
from amparo_common.auth.issuer.issuer import Issuer
from amparo_common.auth.permissions import Permission
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SetClock
from amparo_common.events.types import IncidentTriaged
from amparo_common.runtime import Service, serve
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Category, Role
from amparo_triage.api import create_app
from amparo_triage.api_casework import CaseworkPages
from amparo_triage.policy.pack import base_pack

pytestmark = pytest.mark.anyio
URL = "http://127.0.0.1:8089"
WHY = {"reason": "Her sister confirmed by telephone."}
PEOPLE = ["agent", "triager", "supervisor", "partner", "integrator", "auditor", "admin"]
MACHINES = {
    "amparo-service": {"client_secret": "amparo-service-demo"},
}
DECISION = {
    "level": "P2", "category": "CYBERBULLYING", "secondary_categories": None, "confirm_factors": [],
    "reject_factors": [], **WHY,
}  # fmt: skip
SIGNATURE = {"expected_version": 1, "approve": True, **WHY}
LINK = {"other_incident_id": str(uuid4()), "kind": "DUPLICATE", **WHY}
#: Every command with a body of the right shape and the permission that it needs.
COMMANDS: dict[str, tuple[Any, Permission]] = {
    "claim": ({}, Permission.WORK_QUEUE),
    "decision": ({"expected_version": 1, **DECISION}, Permission.WORK_QUEUE),
    "countersignature": (SIGNATURE, Permission.SIGN),
    "links": (LINK, Permission.WORK_QUEUE),
    "links/removal": ({"other_incident_id": str(uuid4()), **WHY}, Permission.WORK_QUEUE),
    "closing": ({"expected_version": 1, **WHY}, Permission.WORK_QUEUE),
    "reopening": (WHY, Permission.WORK_QUEUE),
}


@dataclass
class Office:
    """A triage that answers at `http`, and the tokens of those who call."""

    desk: Any
    http: httpx2.AsyncClient
    issuer: httpx2.AsyncClient
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, name: str) -> str:
        if name not in self.tokens:
            form = {"grant_type": "password", "client_id": "amparo-cli", "username": name, "password": name}
            if name in MACHINES:
                form = {"grant_type": "client_credentials", "client_id": name, **MACHINES[name]}
            reply = await self.issuer.post("/token", data=form)
            assert reply.status_code == 200, reply.text
            self.tokens[name] = reply.json()["access_token"]
        return self.tokens[name]

    async def post(self, name: str, path: str, body: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {await self.token(name)}"}
        return await self.http.post(f"/v1/incidents/{path}", json=body, headers=headers)

    async def get(self, name: str, path: str) -> httpx2.Response:
        headers = {"authorization": f"Bearer {await self.token(name)}"}
        return await self.http.get(f"/v1/incidents/{path}", headers=headers)

    async def done(self, name: str, path: str, body: Any) -> IncidentTriaged:
        """Run a command that must succeed, and return the state that it answers."""
        reply = await self.post(name, path, body)
        assert reply.status_code == 200, reply.text
        return msgspec.convert(reply.json()["incident"], IncidentTriaged)

    async def reported(self, **fields: Any) -> str:
        report = self.desk.report(**({"category": Category.CYBERBULLYING} | fields))
        await self.desk.take(report)
        return str(report.report_id)


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the demo users, one of them limited to a country."""
    directory = tmp_path_factory.mktemp("issuer")
    Issuer.open(directory, url=URL, demo=True, clock=SetClock(datetime(2026, 11, 24, 6, tzinfo=UTC)))
    users = directory / "users.json"
    entries = json.loads(users.read_text())
    for entry in entries["users"]:
        if entry["name"] == "supervisor2":
            entry["countries"] = ["GT"]
    users.write_text(json.dumps(entries))
    return directory


@asynccontextmanager
async def _serving(app: Any) -> AsyncIterator[int]:
    stop, ready, ports = asyncio.Event(), asyncio.Event(), dict[str, int]()

    def on_ready(bound: Any) -> None:
        ports.update(bound)
        ready.set()

    serving = asyncio.create_task(serve([Service(name="triage", port=0, app=app)], on_ready=on_ready, stop=stop))
    try:
        await asyncio.wait_for(ready.wait(), 5)
        yield ports["triage"]
    finally:
        stop.set()
        await serving


@pytest.fixture
async def office(desk: Any, seeded: Path) -> AsyncIterator[Office]:
    issuer = Issuer.open(seeded, url=URL, demo=True, clock=desk.clock)
    transport = httpx2.ASGITransport(issuer_app(issuer))
    telemetry = Telemetry("triage")
    async with httpx2.AsyncClient(transport=transport, base_url=URL, trust_env=False) as tokens:
        discovery = f"{URL}/.well-known/openid-configuration"
        app = create_app(
            pack=base_pack(),
            people=CaseworkPages(desk.casework, desk.notes),
            verifier=Verifier(URL, discovery_url=discovery, http=tokens, clock=desk.clock),
            telemetry=telemetry,
            readiness=list,
        )
        async with (
            _serving(app) as port,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
        ):
            yield Office(desk, http, tokens)
    telemetry.close()


def codes(reply: httpx2.Response) -> list[str]:
    assert reply.status_code == 409, reply.text
    return [one["code"] for one in reply.json()["refusals"]]


def pointers(reply: httpx2.Response) -> list[str]:
    assert reply.status_code == 422, reply.text
    return sorted(one["pointer"] for one in reply.json()["errors"])


async def test_an_incident_is_claimed_decided_closed_and_reopened(office: Office) -> None:
    one = await office.reported()
    claimed = await office.done("triager", f"{one}/claim", {})
    assert (claimed.claimed_by, claimed.status) == ("triager", "IN_REVIEW")
    assert (await office.get("supervisor", f"{one}/claim")).json() == {"claimed_by": "triager"}
    assert codes(await office.post("supervisor", f"{one}/claim", {})) == ["ALREADY_CLAIMED"]
    decided = await office.done("triager", f"{one}/decision", {"expected_version": claimed.version, **DECISION})
    assert (decided.level, decided.provisional, decided.decision.decided_by) == ("P2", False, "triager")
    stale = await office.post("triager", f"{one}/decision", {"expected_version": claimed.version, **DECISION})
    assert codes(stale) == ["VERSION_CONFLICT"]
    closed = await office.done("triager", f"{one}/closing", {"expected_version": decided.version, **WHY})
    assert (closed.status, closed.claimed_by) == ("CLOSED", None)
    again = await office.post("triager", f"{one}/closing", {"expected_version": closed.version, **WHY})
    assert codes(again) == ["TRANSITION_NOT_ALLOWED"]
    back = await office.done("supervisor", f"{one}/reopening", WHY)
    assert (back.status, back.provisional, back.actor_role) == ("OPEN", True, Role.SUPERVISOR)
    assert (await office.desk.states())[-1] == back


async def test_a_lowering_from_p1_is_signed_by_another_person(office: Office) -> None:
    one = await office.reported(imminent_danger=True)
    claimed = await office.done("supervisor", f"{one}/claim", {"release": False})
    lower = {**DECISION, "level": "P3", "reject_factors": ["IMMINENT_DANGER"], "expected_version": claimed.version}
    waiting = await office.done("supervisor", f"{one}/decision", lower)
    assert (waiting.level, waiting.awaiting_signature) == ("P1", True)
    assert waiting.proposed_lowering is not None
    signature = {**SIGNATURE, "expected_version": waiting.version}
    assert codes(await office.post("supervisor", f"{one}/countersignature", signature)) == ["SAME_PERSON"]
    closing = await office.post("supervisor", f"{one}/closing", {"expected_version": waiting.version, **WHY})
    assert codes(closing) == ["LOWERING_NEEDS_SIGNATURE"]
    hidden = await office.post("supervisor2", f"{one}/countersignature", signature)
    assert hidden.status_code == 404, "supervisor2 is of another country here"


async def test_the_next_incident_is_claimed_and_null_when_there_is_none(office: Office) -> None:
    one = await office.reported()
    assert (await office.done("triager", "claim-next", {"lane": "STANDARD"})).incident_id.hex == one.replace("-", "")
    reply = await office.post("triager", "claim-next", {"lane": None})
    assert (reply.status_code, reply.json()) == (200, {"incident": None})


async def test_both_ends_of_a_link_are_answered_and_its_reason_is_read_with_the_notes(office: Office) -> None:
    one, other = await office.reported(), await office.reported()
    reply = await office.post("triager", f"{one}/links", {**LINK, "other_incident_id": other})
    assert [reply.json()[end]["links"][0]["incident_id"] for end in ("incident", "other")] == [other, one]
    notes = (await office.get("triager", f"{one}/notes?purpose=TRIAGE")).json()
    assert notes["links"] == [{"incident_id": other, **WHY}]
    assert notes["notes"][0] | {"at": ""} == {"at": "", "by": "triager", "kind": "link", "text": WHY["reason"]}
    undone = await office.post("triager", f"{one}/links/removal", {"other_incident_id": other, **WHY})
    assert undone.json()["other"]["links"] == []


@pytest.mark.parametrize("name", [*PEOPLE, *MACHINES])
async def test_a_role_may_do_what_the_table_says_and_nothing_else(office: Office, name: str) -> None:
    one = await office.reported(country="BO")
    token = await office.token(name)
    caller = await Verifier(
        URL, discovery_url=f"{URL}/.well-known/openid-configuration", http=office.issuer, clock=office.desk.clock
    ).verify(token)
    denied = 0
    for command, (body, permission) in COMMANDS.items():
        reply = await office.post(name, f"{one}/{command}", body)
        may = bool(caller.may(permission))
        assert (reply.status_code != 403) is may, f"{name} {command}: {reply.status_code}"
        denied += not may
    for path, permission in (("notes?purpose=TRIAGE", Permission.READ_SENSITIVE), ("claim", Permission.WORK_QUEUE)):
        reply = await office.get(name, f"{one}/{path}")
        assert (reply.status_code != 403) is bool(caller.may(permission)), f"{name} {path}: {reply.status_code}"
        denied += not caller.may(permission)
    reply = await office.post(name, "claim-next", {})
    assert (reply.status_code != 403) is bool(caller.may(Permission.WORK_QUEUE))
    denied += not caller.may(Permission.WORK_QUEUE)
    refused = [action for _, action, allowed in await office.desk.audited() if not allowed]
    # An unknown incident (the other end of a link) and a note that is not one's own are denials too.
    assert len(refused) >= denied
    if not caller.may(Permission.WORK_QUEUE):
        incident = await office.desk.only_incident()
        assert incident.version == 1


@pytest.mark.parametrize("command", COMMANDS)
async def test_another_countrys_incident_is_not_there(office: Office, command: str) -> None:
    one = await office.reported(country="BO")
    body, _ = COMMANDS[command]
    foreign = await office.post("supervisor2", f"{one}/{command}", body)
    nowhere = await office.post("supervisor2", f"{uuid4()}/{command}", body)
    wrong = await office.post("supervisor2", f"no-uuid/{command}", body)
    assert foreign.status_code == nowhere.status_code == wrong.status_code == 404
    assert foreign.json() == nowhere.json() == wrong.json()
    assert (await office.desk.only_incident()).version == 1


@pytest.mark.parametrize(
    ("command", "body", "expected"),
    [
        ("decision", {}, ["/category", "/expected_version", "/level", "/reason"]),
        ("decision", {"expected_version": "1", **DECISION}, ["/expected_version"]),
        ("decision", {"expected_version": 1, **DECISION, "level": "P5"}, ["/level"]),
        ("decision", {"expected_version": 1, **DECISION, "confirm_factors": ["NONE"]}, ["/confirm_factors/0"]),
        ("decision", {"expected_version": 1, **DECISION, "colour": "red"}, ["/colour"]),
        ("countersignature", {**SIGNATURE, "approve": "yes"}, ["/approve"]),
        ("links", {**LINK, "other_incident_id": "x"}, ["/other_incident_id"]),
        ("links", {**LINK, "kind": "TWIN"}, ["/kind"]),
        ("claim", {"release": 1}, ["/release"]),
        ("reopening", [], [""]),
    ],
)
async def test_a_wrong_field_is_pointed_at(office: Office, command: str, body: Any, expected: list[str]) -> None:
    one = await office.reported()
    assert pointers(await office.post("supervisor", f"{one}/{command}", body)) == expected


async def test_a_purpose_is_asked_for(office: Office) -> None:
    one = await office.reported()
    assert pointers(await office.get("triager", f"{one}/notes")) == ["/purpose"]
    assert pointers(await office.get("triager", f"{one}/notes?purpose=CURIOSITY")) == ["/purpose"]


async def test_without_a_token_or_with_a_bad_one_nothing_is_told(office: Office) -> None:
    one = await office.reported()
    bad = {"authorization": "Bearer nonsense"}
    for command, (body, _) in COMMANDS.items():
        for headers in ({}, bad):
            reply = await office.http.post(f"/v1/incidents/{one}/{command}", json=body, headers=headers)
            assert reply.status_code == 401, command
    assert (await office.http.get(f"/v1/incidents/{one}/notes?purpose=TRIAGE")).status_code == 401


async def test_when_intake_gives_no_key_the_answer_is_503_and_nothing_changed(office: Office) -> None:
    one = await office.reported()
    claimed = await office.done("triager", f"{one}/claim", {})
    office.desk.keys.reachable = False
    reply = await office.post("triager", f"{one}/decision", {"expected_version": claimed.version, **DECISION})
    assert reply.status_code == 503
    assert (await office.desk.only_incident()).version == claimed.version


async def test_of_many_callers_at_once_one_claims(office: Office) -> None:
    one = await office.reported()
    calls = [office.post(name, f"{one}/claim", {}) for name in ("triager", "supervisor") * 6]
    replies = await asyncio.gather(*calls)
    winner = (await office.desk.only_incident()).claimed_by
    for name, reply in zip(("triager", "supervisor") * 6, replies, strict=True):
        if name == winner:
            assert reply.status_code == 200
        else:
            assert codes(reply) == ["ALREADY_CLAIMED"]
