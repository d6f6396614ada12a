"""What colleagues do with what intake owns: who may, what is on record, what is safe, kept, erased."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from amparo_common.events.types import AuditRecorded, ReportsErased
from amparo_common.ids import reference
from amparo_common.vocabulary.codes import Lane

pytestmark = pytest.mark.anyio
Start = Callable[..., AbstractAsyncContextManager[Any]]
HOLD = {
    "record_classes": ["CGNAT", "LOGIN"],
    "requested_by": "Cybercrime unit, request 17",
    "reason": "Address data expire in a week.",
    "until": "2026-12-24T00:00:00Z",
}
REASON = {"reason": "The reporter asked for it."}
COLLEAGUES = ["agent", "triager", "supervisor", "partner", "integrator", "auditor", "admin", "service", "reporter_app"]


async def audited(intake: Any, action: str) -> list[tuple[str, bool]]:
    """Return who did, or was not let do, what, as the audit stream tells it."""
    events = [one.event for one in await intake.published()]
    rows = [event for event in events if isinstance(event, AuditRecorded) and event.action == action]
    return [(row.actor, row.allowed) for row in sorted(rows, key=lambda row: row.sequence)]


async def reported(intake: Any, *, token: str | None = None, **fields: Any) -> tuple[str, str]:
    """Report and return the id (which is the incident's) and the case code."""
    content = {"channel": "web", "language": "en", "country": "GT", "text": "Invented words."} | fields
    receipt = (await intake.post("/v1/reports", content, token=token)).json()
    return receipt["report_id"], receipt["case_code"]


async def join(intake: Any, report_id: str, incident_id: str) -> None:
    def unit(connection: Any) -> None:
        connection.exec_driver_sql(
            "INSERT INTO joined_report (report_id, incident_id, joined_at) VALUES (?, ?, '2026-11-24 06:00:00.000000')",
            (UUID(report_id).bytes, UUID(incident_id).bytes),
        )

    await intake.database.write(unit)


# ------------------------------------------------------------------ reading


async def test_a_triager_reads_report_reporter_and_messages_and_that_is_on_record(intake: Any) -> None:
    given = {"type": "parent", "name": "Invented Name", "contact": "invented@example.com", "safe_contact": "phone"}
    report_id, code = await reported(
        intake, reporter=given, urls=["https://chat.example.com/room/4"], victim={"age": 9}
    )
    await intake.post("/v1/cases/messages", {"case_code": code, "text": "More words."})
    reply = await intake.post(f"/v1/incidents/{report_id}/sensitive", {"purpose": "TRIAGE"}, token="triager")
    (report,), (message,) = reply.json()["reports"], reply.json()["messages"]

    assert (report["text"], report["urls"]) == ("Invented words.", ["https://chat.example.com/room/4"])
    assert report["reporter"] == given
    assert report["victim"] == {"age": 9, "count": None}
    assert (message["from_reporter"], message["text"]) == (True, "More words.")
    assert await audited(intake, "incident.reveal") == [("triager", True)]


@pytest.mark.parametrize("token", [name for name in COLLEAGUES if name not in {"triager", "supervisor"}])
async def test_who_may_not_read_is_told_nothing_and_the_try_is_on_record(intake: Any, token: str) -> None:
    report_id, _ = await reported(intake)
    reply = await intake.post(f"/v1/incidents/{report_id}/sensitive", {"purpose": "TRIAGE"}, token=token)

    assert reply.status_code == (404 if token == "agent" else 403)
    assert "Invented" not in reply.text
    assert await audited(intake, "incident.reveal") == [(token, False)]


async def test_an_agent_reads_the_own_report_and_not_the_one_that_joined_it(intake: Any) -> None:
    own, _ = await reported(intake, token="agent")
    other, _ = await reported(intake, text="Words of a stranger.")
    await join(intake, other, own)
    reply = await intake.post(f"/v1/incidents/{own}/sensitive", {"purpose": "TRIAGE"}, token="agent")

    assert [report["report_id"] for report in reply.json()["reports"]] == [own]
    assert "stranger" not in reply.text


async def test_a_colleague_of_another_country_does_not_learn_that_there_is_an_incident(intake: Any) -> None:
    report_id, _ = await reported(intake, country="GT")
    elsewhere = await intake.post(f"/v1/incidents/{report_id}/sensitive", {"purpose": "TRIAGE"}, token="triager-bo")
    nowhere = await intake.post(f"/v1/incidents/{uuid4()}/sensitive", {"purpose": "TRIAGE"}, token="triager-gt")
    at_home = await intake.post(f"/v1/incidents/{report_id}/sensitive", {"purpose": "TRIAGE"}, token="triager-gt")

    assert (elsewhere.status_code, nowhere.status_code, at_home.status_code) == (404, 404, 200)
    assert elsewhere.json() == nowhere.json()


async def test_reading_needs_a_purpose(intake: Any) -> None:
    report_id, _ = await reported(intake)
    reply = await intake.post(f"/v1/incidents/{report_id}/sensitive", {}, token="triager")

    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "/purpose")


# ------------------------------------------------------------------ writing


async def test_a_question_reaches_the_reporter_by_the_code_alone(intake: Any) -> None:
    report_id, code = await reported(intake, reporter={"safe_contact": "code_only"}, factors=["UNSAFE_CALLBACK"])
    sent = await intake.post(f"/v1/incidents/{report_id}/messages", {"text": "Is she safe?"}, token="triager")
    (message,) = (await intake.status(code))["messages"]

    assert sent.status_code == 202
    assert (message["from_reporter"], message["text"]) == (False, "Is she safe?")
    assert await audited(intake, "reporter.message") == [("triager", True)]


@pytest.mark.parametrize(
    "fields",
    [
        {"reporter": {"type": "child", "safe_contact": "never"}},
        {"reporter": {"type": "child"}, "factors": ["UNSAFE_CALLBACK"]},
    ],
)
async def test_nobody_is_written_to_where_it_is_not_safe_and_nothing_is_stored(
    intake: Any, fields: dict[str, Any]
) -> None:
    report_id, code = await reported(intake, **fields)
    reply = await intake.post(f"/v1/incidents/{report_id}/messages", {"text": "Is she safe?"}, token="triager")

    assert reply.status_code == 409
    assert [refusal["code"] for refusal in reply.json()["refusals"]] == ["UNSAFE_CONTACT"]
    assert (await intake.status(code))["messages"] == []
    assert await audited(intake, "reporter.message") == [("triager", False)]


async def test_a_watched_phone_that_triage_found_in_the_text_counts_too(intake: Any) -> None:
    report_id, _ = await reported(intake)

    def unit(connection: Any) -> None:
        connection.exec_driver_sql(
            "INSERT INTO incident_progress VALUES (?, 1, 0, 0, 0, 1, NULL)", (UUID(report_id).bytes,)
        )

    await intake.database.write(unit)
    reply = await intake.post(f"/v1/incidents/{report_id}/messages", {"text": "Is she safe?"}, token="triager")

    assert [refusal["code"] for refusal in reply.json()["refusals"]] == ["UNSAFE_CONTACT"]


async def test_a_message_goes_to_each_reporter_who_may_be_written_to_and_to_no_other(intake: Any) -> None:
    first, first_code = await reported(intake, reporter={"safe_contact": "never"})
    second, second_code = await reported(intake)
    third, third_code = await reported(intake)
    await join(intake, second, first)
    await join(intake, third, first)
    await intake.post("/v1/cases/messages", {"case_code": third_code, "text": "Mine alone."})
    await intake.post(f"/v1/incidents/{first}/messages", {"text": "Is she safe?"}, token="triager")
    seen = [
        [one["text"] for one in (await intake.status(c))["messages"]] for c in (first_code, second_code, third_code)
    ]
    read = await intake.post(f"/v1/incidents/{first}/sensitive", {"purpose": "TRIAGE"}, token="triager")

    assert seen == [[], ["Is she safe?"], ["Mine alone.", "Is she safe?"]]
    assert [one["text"] for one in read.json()["messages"]] == ["Mine alone.", "Is she safe?"]


async def test_a_message_sent_twice_under_one_key_arrives_once(intake: Any) -> None:
    report_id, code = await reported(intake)
    call = {"text": "Is she safe?", "idempotency_key": "m-1"}
    replies = [await intake.post(f"/v1/incidents/{report_id}/messages", call, token="triager") for _ in range(2)]

    assert replies[0].json() == replies[1].json()
    assert len((await intake.status(code))["messages"]) == 1
    assert len(await audited(intake, "reporter.message")) == 1


# ------------------------------------------------------------------ keeping and erasing


async def test_what_is_held_is_not_erased_until_the_hold_ends(intake: Any) -> None:
    report_id, _ = await reported(intake)
    placed = await intake.post(f"/v1/incidents/{report_id}/holds", HOLD, token="supervisor")
    refused = await intake.post(f"/v1/incidents/{report_id}/erasure", REASON, token="supervisor")
    hold_id = placed.json()["hold"]["hold_id"]
    released = await intake.post(f"/v1/holds/{hold_id}/release", {"reason": "Done."}, token="supervisor")
    listed = (
        await intake.http.get(f"/v1/incidents/{report_id}/holds", headers={"authorization": "Bearer triager"})
    ).json()
    erased = await intake.post(f"/v1/incidents/{report_id}/erasure", REASON, token="supervisor")

    assert placed.json()["hold"]["record_classes"] == ["CGNAT", "LOGIN"]
    assert (refused.status_code, refused.json()["refusals"][0]["code"]) == (409, "ON_HOLD")
    assert released.json()["hold"]["released_at"] == "2026-11-24T06:00:00.000Z"
    assert listed["holds"][0]["requested_by"] == HOLD["requested_by"]
    assert erased.json() == {"erased": True, "report_ids": [report_id]}


async def test_a_hold_ends_by_itself_at_its_time(intake: Any) -> None:
    report_id, _ = await reported(intake)
    await intake.post(f"/v1/incidents/{report_id}/holds", HOLD, token="supervisor")
    intake.clock.move(timedelta(days=31))

    assert (await intake.post(f"/v1/incidents/{report_id}/erasure", REASON, token="supervisor")).status_code == 200


async def test_a_hold_that_would_be_over_already_is_refused(intake: Any) -> None:
    report_id, _ = await reported(intake)
    past = HOLD | {"until": "2026-11-23T00:00:00Z"}
    reply = await intake.post(f"/v1/incidents/{report_id}/holds", past, token="supervisor")

    assert (reply.status_code, reply.json()["refusals"][0]["field"]) == (409, "until")
    assert await intake.count("hold") == 0


async def test_erasing_destroys_the_keys_of_all_joined_reports_and_tells_which(intake: Any) -> None:
    first, first_code = await reported(intake)
    second, _ = await reported(intake)
    kept, _ = await reported(intake)
    await join(intake, second, first)
    await intake.post("/v1/cases/messages", {"case_code": first_code, "text": "More words."})
    await intake.post(f"/v1/incidents/{first}/erasure", REASON, token="supervisor")
    asked = {"ids": [first, second, kept], "purpose": "TRIAGE"}
    states = {i: k["state"] for i, k in (await intake.post("/v1/keys", asked, token="service")).json()["keys"].items()}
    read = await intake.post(f"/v1/incidents/{first}/sensitive", {"purpose": "TRIAGE"}, token="supervisor")
    told = await intake.published()
    (event,) = [one for one in told if isinstance(one.event, ReportsErased)]

    assert states == {first: "destroyed", second: "destroyed", kept: "key"}
    assert [(report["erased"], report["text"]) for report in read.json()["reports"]] == [(True, ""), (True, "")]
    assert read.json()["messages"] == []
    assert {str(report_id) for report_id in event.event.report_ids} == {first, second}
    assert event.envelope.lane is Lane.URGENT
    assert (await intake.status(first_code))["messages"] == []
    (row,) = [
        one.event for one in told if isinstance(one.event, AuditRecorded) and one.event.action == "incident.erase"
    ]
    assert row.subject == reference("AM", of=UUID(first))


async def test_a_destroyed_key_is_in_no_file(start: Start, tmp_path: Path) -> None:
    async with start() as intake:
        report_id, _ = await reported(intake)
        query = "SELECT wrapped FROM data_key"
        (row,) = await intake.rows(query)
        await intake.post(f"/v1/incidents/{report_id}/erasure", REASON, token="supervisor")
        files = [file for file in tmp_path.iterdir() if file.is_file()]
        holding = [file.name for file in files if row["wrapped"] in file.read_bytes()]
        (after,) = await intake.rows(query)

    assert after["wrapped"] is None
    assert holding == []


async def test_erasing_twice_does_no_harm(intake: Any) -> None:
    report_id, _ = await reported(intake)
    replies = [await intake.post(f"/v1/incidents/{report_id}/erasure", REASON, token="supervisor") for _ in range(2)]

    assert [reply.status_code for reply in replies] == [200, 200]
    assert await intake.count("erasure") == 1


@pytest.mark.parametrize("token", [name for name in COLLEAGUES if name != "supervisor"])
async def test_only_a_supervisor_holds_and_erases(intake: Any, token: str) -> None:
    report_id, _ = await reported(intake)
    held = await intake.post(f"/v1/incidents/{report_id}/holds", HOLD, token=token)
    erased = await intake.post(f"/v1/incidents/{report_id}/erasure", REASON, token=token)

    assert (held.status_code, erased.status_code) == (403, 403)
    assert await intake.count("hold") == 0
    assert await audited(intake, "incident.erase") == [(token, False)]


async def test_an_incident_of_another_country_is_not_erased(intake: Any) -> None:
    report_id, _ = await reported(intake, country="GT")
    reply = await intake.post(f"/v1/incidents/{report_id}/erasure", REASON, token="supervisor-bo")

    assert reply.status_code == 404
    assert await intake.count("erasure") == 0
