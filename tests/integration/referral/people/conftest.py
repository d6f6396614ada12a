"""Signed-in people who call referral over a real socket, with tokens of the real issuer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from amparo_common.auth.issuer.app import create_app as issuer_app
from amparo_common.auth.issuer.clients import Client, Grant
from amparo_common.auth.issuer.demo import USERS
from amparo_common.auth.issuer.issuer import Issuer
from amparo_common.auth.users import User
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SetClock
from amparo_common.db.tables import AUDIT_ENTRY
from amparo_common.http.addresses import AddressJudge
from amparo_common.ids import uuid7
from amparo_common.runtime import Service, serve
from amparo_common.vocabulary.codes import Role
from amparo_referral.api import create_app

ISSUER_URL = "http://127.0.0.1:8089"


@dataclass
class People:
    """Signed-in people who call referral over a socket."""

    world: Any
    issuer: Issuer
    http: httpx2.AsyncClient
    users: dict[str, User]

    def token(self, name: str) -> str:
        client = Client(id="amparo-cli", grants=frozenset({Grant.PASSWORD}))
        return str(self.issuer.tokens_of_user(self.users[name], client=client)["access_token"])

    def known(self, name: str, role: Role, *, countries: tuple[str, ...] = (), organisation: str | None = None) -> None:
        """Let the issuer know somebody else."""
        self.users[name] = User(
            id=uuid7(), name=name, roles=frozenset({role}), countries=countries, organisation=organisation
        )

    async def call(self, name: str, method: str, path: str, body: Any = None) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.token(name)}", "content-type": "application/json"}
        content = None if body is None else msgspec.json.encode(body)
        return await self.http.request(method, path, content=content, headers=headers)

    async def refer(self, case: Any, *, by: str = "triager", **fields: Any) -> httpx2.Response:
        given = {"destination": "LAW_ENFORCEMENT", "partner_id": None, "lawful_basis": "VITAL_INTEREST", "note": None}
        return await self.call(by, "POST", f"/v1/incidents/{case.id}/referrals", given | fields)

    async def sign(self, referral_id: Any, *, by: str = "supervisor2", **fields: Any) -> httpx2.Response:
        given = {"expected_version": None, "approve": True, "reason": "Read and agreed."}
        return await self.call(by, "POST", f"/v1/referrals/{referral_id}/approval", given | fields)

    async def respond(
        self, referral_id: Any, code: str = "RECEIVED", *, by: str = "supervisor", **fields: Any
    ) -> httpx2.Response:
        unused = ("partner_reference", "note", "until", "forwarded_to", "classification")
        given = {"code": code} | dict.fromkeys(unused)
        return await self.call(by, "POST", f"/v1/referrals/{referral_id}/response", given | fields)

    async def package(self, referral_id: Any, *, by: str = "triager") -> httpx2.Response:
        return await self.call(by, "GET", f"/v1/referrals/{referral_id}/package")

    async def complete(self, task_id: Any, *, by: str = "triager", **fields: Any) -> httpx2.Response:
        given = {"partner_reference": None, "note": "Spoke to the desk."}
        return await self.call(by, "POST", f"/v1/tasks/{task_id}/completion", given | fields)

    async def told(self, kind: type[Any]) -> Any:
        """Return what was put into the outbox last, as JSON has it."""
        event = (await self.world.told_of(kind))[-1]
        return msgspec.json.decode(msgspec.json.encode(event))

    @staticmethod
    def refusals(reply: httpx2.Response) -> list[tuple[str, str | None]]:
        assert reply.status_code == 409, reply.text
        return [(one["code"], one["field"]) for one in reply.json()["refusals"]]

    async def denials(self) -> list[tuple[str, str, str]]:
        rows = await self.world.rows(AUDIT_ENTRY)
        return [(row["actor"], row["action"], row["subject"]) for row in rows if not row["allowed"]]


@pytest.fixture(scope="session")
def issuer_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the demo's users and keys once; hashing eight passwords takes its time."""
    directory = tmp_path_factory.mktemp("issuer")
    Issuer.open(directory, url=ISSUER_URL, demo=True, clock=SetClock(datetime(2026, 11, 24, 12, tzinfo=UTC)))
    return directory


@pytest.fixture
async def people(world: Any, issuer_directory: Path) -> AsyncIterator[People]:
    issuer = Issuer.open(issuer_directory, url=ISSUER_URL, demo=True, clock=world.clock)
    stop, ports = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        transport = httpx2.ASGITransport(issuer_app(issuer))
        keys = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url=ISSUER_URL))
        discovery = f"{ISSUER_URL}/.well-known/openid-configuration"
        verifier = Verifier(ISSUER_URL, discovery_url=discovery, http=keys, clock=world.clock)
        app = create_app(
            world.desk,
            verifier=verifier,
            telemetry=world.telemetry,
            readiness=lambda: (),
            judge=AddressJudge([("127.0.0.1", 18990)]).judge,
        )
        serving = asyncio.create_task(
            serve([Service(name="referral", port=0, app=app)], on_ready=ports.set_result, stop=stop)
        )
        base = f"http://127.0.0.1:{(await ports)['referral']}"
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=base, trust_env=False))
        users = {
            one.name: User(
                id=one.id,
                name=one.name,
                roles=frozenset({one.role}),
                countries=one.countries,
                organisation=one.organisation,
            )
            for one in USERS
        }
        yield People(world, issuer, http, users)
        stop.set()
        await http.aclose()
        await serving
