"""Handing out data keys: services only, with a purpose, one audit row a call."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import text

from amparo_common.crypto.data_keys import KeyState, RemoteDataKeys
from amparo_common.crypto.key_table import destroy
from amparo_common.crypto.parts import open_narrative
from amparo_common.crypto.sealing import DataKey
from amparo_common.events.types import AuditRecorded, ReportReceived
from amparo_common.vocabulary.codes import Purpose

pytestmark = pytest.mark.anyio


async def audited(intake: Any) -> list[AuditRecorded]:
    events = [one.event for one in await intake.published()]
    return [event for event in events if isinstance(event, AuditRecorded) and event.action == "keys.fetch"]


async def test_a_service_gets_key_destroyed_and_unknown_in_one_call_with_one_audit_row(intake: Any) -> None:
    kept, gone, never = [UUID((await intake.report())["report_id"]) for _ in range(2)] + [uuid4()]
    await intake.database.write(lambda connection: destroy(connection, [gone]))
    call = {"ids": [str(kept), str(gone), str(never)], "purpose": "TRIAGE"}
    reply = await intake.post("/v1/keys", call, token="service")
    keys = reply.json()["keys"]

    assert reply.status_code == 200
    assert keys[str(gone)] == {"state": "destroyed"}
    assert keys[str(never)] == {"state": "unknown"}
    assert keys[str(kept)]["state"] == "key"
    events = [one.event for one in await intake.published()]
    (event,) = [one for one in events if isinstance(one, ReportReceived) and one.report_id == kept]
    key = DataKey(b64decode(keys[str(kept)]["key"]))
    assert open_narrative(key, event.narrative, report_id=kept).text.startswith("Someone")
    (row,) = [one for one in events if isinstance(one, AuditRecorded) and one.action == "keys.fetch"]
    assert (row.actor, row.role, row.purpose, row.subject, row.allowed) == (
        "service", "service", "TRIAGE", "3 data keys", True,
    )  # fmt: skip


async def test_a_damaged_key_is_unknown_and_leaves_the_others_of_the_call_alone(intake: Any) -> None:
    kept, damaged = [UUID((await intake.report())["report_id"]) for _ in range(2)]
    spoil = text("UPDATE data_key SET wrapped = zeroblob(length(wrapped)) WHERE report_id = :id")
    given = {"id": damaged.bytes}
    assert await intake.database.write(lambda connection: connection.execute(spoil, given).rowcount) == 1
    reply = await intake.post("/v1/keys", {"ids": [str(kept), str(damaged)], "purpose": "TRIAGE"}, token="service")
    keys = reply.json()["keys"]
    assert keys[str(damaged)] == {"state": "unknown"}
    assert keys[str(kept)]["state"] == "key"


@pytest.mark.parametrize(
    "token", ["agent", "triager", "supervisor", "partner", "integrator", "auditor", "admin", "reporter_app"]
)
async def test_nobody_but_a_service_gets_keys_and_the_try_is_on_record(intake: Any, token: str) -> None:
    report_id = (await intake.report())["report_id"]
    reply = await intake.post("/v1/keys", {"ids": [report_id], "purpose": "TRIAGE"}, token=token)
    (row,) = await audited(intake)

    assert (reply.status_code, reply.json()["type"]) == (403, "urn:amparo:problem:forbidden")
    assert "key" not in reply.json()
    assert (row.actor, row.allowed) == (token, False)


async def test_without_a_token_there_are_no_keys(intake: Any) -> None:
    report_id = (await intake.report())["report_id"]

    assert (await intake.post("/v1/keys", {"ids": [report_id], "purpose": "TRIAGE"})).status_code == 401
    assert await audited(intake) == []


@pytest.mark.parametrize(
    ("call", "pointer"),
    [
        ({"ids": [], "purpose": "TRIAGE"}, "/ids"),
        ({"ids": [str(uuid4())] * 501, "purpose": "TRIAGE"}, "/ids"),
        ({"ids": ["7"], "purpose": "TRIAGE"}, "/ids/0"),
        ({"ids": [str(uuid4())]}, "/purpose"),
        ({"ids": [str(uuid4())], "purpose": "CURIOSITY"}, "/purpose"),
    ],
)
async def test_a_wrong_call_is_pointed_at(intake: Any, call: dict[str, Any], pointer: str) -> None:
    reply = await intake.post("/v1/keys", call, token="service")

    assert reply.status_code == 422
    assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]


async def test_no_audit_row_no_keys(intake: Any) -> None:
    report_id = (await intake.report())["report_id"]
    await intake.database.close()

    reply = await intake.post("/v1/keys", {"ids": [report_id], "purpose": "TRIAGE"}, token="service")

    assert reply.status_code == 503
    assert report_id not in reply.text


async def test_the_client_of_the_other_services_understands_the_answer(intake: Any) -> None:
    class Tokens:
        async def current(self) -> str:
            return "service"

    report_id = UUID((await intake.report())["report_id"])
    async with httpx2.AsyncClient(trust_env=False) as http:
        keys = RemoteDataKeys(str(intake.http.base_url), tokens=Tokens(), http=http, clock=intake.clock)
        answers = await keys.of([report_id, UUID(int=1)], purpose=Purpose.REFERRAL)
        await asyncio.sleep(0)
        keys.forget([report_id])

    assert isinstance(answers[report_id], DataKey)
    assert answers[UUID(int=1)] is KeyState.UNKNOWN
