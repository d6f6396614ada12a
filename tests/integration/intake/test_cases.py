"""Following a case by its code: status, messages, guesses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from amparo_common.crypto.key_table import destroy, load, unwrapped_for
from amparo_common.crypto.parts import open_message
from amparo_common.events.types import ReporterMessageReceived
from amparo_common.vocabulary.codes import Lane

pytestmark = pytest.mark.anyio


async def test_a_new_case_is_received_and_has_no_messages(intake: Any) -> None:
    receipt = await intake.report()

    assert await intake.status(receipt["case_code"]) == {
        "status": "received",
        "messages": [],
        "updated_at": receipt["received_at"],
    }


@pytest.mark.parametrize("spelling", ["spaced", "plain", "hyphened"])
async def test_a_code_is_found_however_it_is_typed(intake: Any, spelling: str) -> None:
    code = (await intake.report())["case_code"]
    typed = {"spaced": f" {code} ", "plain": code.replace(" ", ""), "hyphened": code.replace(" ", "-")}[spelling]

    assert (await intake.status(typed))["status"] == "received"


@pytest.mark.parametrize("path", ["/v1/cases/status", "/v1/cases/messages"])
@pytest.mark.parametrize("code", ["0000 0000 0000 0000", "1234", "not a code"])
async def test_an_unknown_code_is_not_found(intake: Any, path: str, code: str) -> None:
    content = {"case_code": code} | ({"text": "Hello."} if path.endswith("messages") else {})
    reply = await intake.post(path, content)

    assert (reply.status_code, reply.json()["type"]) == (404, "urn:amparo:problem:case-unknown")


async def test_a_message_shows_in_the_case_verbatim_and_is_told_to_triage_sealed(intake: Any) -> None:
    receipt = await intake.report(imminent_danger=True)
    intake.clock.move(timedelta(minutes=5))
    words = "She came home. <b>Thank you</b> \U0001f54a"
    posted = await intake.post("/v1/cases/messages", {"case_code": receipt["case_code"], "text": words})
    case = await intake.status(receipt["case_code"])
    (event,) = [one.event for one in await intake.published() if isinstance(one.event, ReporterMessageReceived)]
    report_id = UUID(receipt["report_id"])
    stored = await intake.database.read(lambda session: load(session, [report_id]))
    key = unwrapped_for(report_id, stored[report_id], provider=intake.secrets.provider)

    assert posted.status_code == 202
    assert case["messages"] == [{"at": "2026-11-24T06:05:00.000Z", "from_reporter": True, "text": words}]
    assert case["updated_at"] == "2026-11-24T06:05:00.000Z"
    assert event.report_id == report_id
    assert open_message(key, event.message, report_id=report_id, message_id=event.message_id).text == words


async def test_a_message_travels_behind_its_report(intake: Any) -> None:
    receipt = await intake.report(imminent_danger=True)
    await intake.post("/v1/cases/messages", {"case_code": receipt["case_code"], "text": "More."})
    told = [one for one in await intake.published() if one.envelope.type.startswith("org.amparo.report.")]

    assert {one.record.at for one in told} == {told[0].record.at}
    assert [one.envelope.lane for one in told] == [Lane.URGENT, Lane.URGENT]
    assert [one.envelope.type.split(".")[3] for one in told] == ["received", "message_received"]


@pytest.mark.parametrize(
    ("content", "pointer"),
    [({"text": "a"}, "/case_code"), ({"case_code": "1"}, "/text"), ({"case_code": "1", "text": ""}, "/text"),
     ({"case_code": 1, "text": "a"}, "/case_code"), ({"case_code": "1", "text": "a", "x": 1}, "/x")],
)  # fmt: skip
async def test_a_wrong_message_is_pointed_at(intake: Any, content: dict[str, Any], pointer: str) -> None:
    reply = await intake.post("/v1/cases/messages", content)

    assert reply.status_code == 422
    assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]


async def test_guessing_codes_is_slowed_and_reporting_is_not(intake: Any) -> None:
    code = (await intake.report())["case_code"]
    for number in range(30):
        assert (await intake.post("/v1/cases/status", {"case_code": f"{number:016d}"})).status_code == 404
    limited = await intake.post("/v1/cases/status", {"case_code": code})

    assert limited.status_code == 429
    assert int(limited.headers["retry-after"]) >= 1
    assert limited.json()["guidance"]["emergency_numbers"]
    assert (await intake.report())["report_id"]
    intake.clock.move(timedelta(seconds=int(limited.headers["retry-after"])))
    assert (await intake.status(code))["status"] == "received"


async def test_looking_up_ones_own_case_often_is_no_guessing(intake: Any) -> None:
    code = (await intake.report())["case_code"]

    for _ in range(40):
        assert (await intake.status(code))["status"] == "received"


async def test_one_case_takes_only_so_many_messages_at_once(intake: Any) -> None:
    code = (await intake.report())["case_code"]
    replies = [await intake.post("/v1/cases/messages", {"case_code": code, "text": "Again."}) for _ in range(61)]

    assert [reply.status_code for reply in replies] == [202] * 60 + [429]
    assert replies[-1].json()["guidance"]


async def test_an_erased_case_shows_no_message_and_takes_none(intake: Any) -> None:
    receipt = await intake.report()
    await intake.post("/v1/cases/messages", {"case_code": receipt["case_code"], "text": "Hello."})
    await intake.database.write(lambda connection: destroy(connection, [UUID(receipt["report_id"])]))
    refused = await intake.post("/v1/cases/messages", {"case_code": receipt["case_code"], "text": "Hello again."})

    assert (await intake.status(receipt["case_code"]))["messages"] == []
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:amparo:problem:case-erased")
    assert await intake.count("thread_message") == 1


async def test_forms_vocabulary_and_guidance_are_served(intake: Any) -> None:
    form = (await intake.http.get("/v1/forms/web?language=es")).json()
    words = (await intake.http.get("/v1/vocabulary?language=fr")).json()
    told = (await intake.http.get("/v1/guidance?country=CR&language=es&reporter=child")).json()
    unknown = await intake.http.get("/v1/forms/telegraph?language=en")

    assert form["properties"]["text"]["title"] == "¿Qué pasó? Escríbelo con tus palabras."
    assert [len(words[name]) for name in ("categories", "factors", "levels", "destinations")] == [32, 26, 4, 11]
    assert words["language"] == "fr"
    assert told["next_steps"][0].startswith("Hiciste lo correcto")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")


async def test_without_a_language_the_browsers_own_counts(intake: Any) -> None:
    told = await intake.http.get("/v1/guidance?country=BO", headers={"accept-language": "fr-SN,fr;q=0.9,en;q=0.5"})

    assert told.json()["language"] == "fr"
