"""What people wrote: asked of who owns it, as the caller, only when it is selected, never twice."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text

from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Role
from amparo_gateway.domain import Kind, global_id

pytestmark = pytest.mark.anyio

REPORT, OLDER = UUID(int=31), UUID(int=30)
TEXT = "A stranger asks my son «for photographs» 🙁."
AT = "2026-03-01T12:00:00.000Z"


def opened_report(report_id=REPORT, **fields):
    return {
        "report_id": str(report_id),
        "received_at": AT,
        "channel": "api",
        "language": "en",
        "country": "GT",
        "erased": False,
        "text": TEXT,
        "urls": ["https://chat.example.com/room/4"],
        "platform": "game chat",
        "reported_accounts": [{"platform": "game", "handle": "user_example_417"}],
        "hashes": [{"algorithm": "sha256", "value": "00ff", "source": "a hotline"}],
        "occurred_at": None,
        "victim": {"age": 11, "count": None},
        "imminent_danger": None,
        "reporter": {"type": "parent", "name": None, "contact": None, "safe_contact": "code_only"},
    } | fields


NOTES = {
    "notes": [{"at": AT, "by": "triager", "kind": "decision", "text": "Seen together with the caller."}],
    "links": [{"incident_id": str(UUID(int=8)), "reason": "The same handle."}],
    "evidence": [
        {"report_id": str(REPORT), "factor": "ADULT_UNKNOWN", "category": None, "start": 2, "end": 10},
        {"report_id": str(REPORT), "factor": None, "category": "GROOMING", "start": 25, "end": 40},
        {"report_id": str(REPORT), "factor": "UNDER13", "category": None, "start": 40, "end": 4_000},
        {"report_id": str(OLDER), "factor": "UNDER13", "category": None, "start": 0, "end": 1},
    ],
}
SENSITIVE = (
    """query($id: ID!, $purpose: Purpose! = TRIAGE) { incident(id: $id) { sensitive(purpose: $purpose) { %s } } }"""
)
READ = SENSITIVE % "reports { text urls } messages { text }"


@pytest.fixture
def owner_urls(owning):
    return dict.fromkeys(("intake", "triage", "referral"), owning.url)


@pytest.fixture
async def incident(gateway, invented, owning):
    """An incident that intake and triage answer about."""
    one = invented.incident(owners=("agent:sub-agent", "integrator:sub-integrator"))
    await gateway.learn(one)
    path = f"/v1/incidents/{one.incident_id}"
    messages = [{"message_id": str(uuid7()), "at": AT, "from_reporter": True, "text": "It happened again."}]
    older = opened_report(OLDER, received_at="2026-02-28T12:00:00.000Z", text="Earlier.")
    owning.will("POST", f"{path}/sensitive", {"reports": [older, opened_report()], "messages": messages})
    owning.will("GET", f"{path}/notes", NOTES)
    return one


def key_of(incident):
    return global_id(Kind.INCIDENT, incident.incident_id)


async def recorded(gateway):
    query = text("SELECT actor, role, action, subject, purpose, allowed FROM audit_entry ORDER BY sequence")
    return await gateway.own.read(lambda session: [tuple(row) for row in session.execute(query)])


async def test_a_report_is_opened_whole_with_its_addresses_inert(gateway, incident, caller):
    selection = """reports { id channel language receivedAt text urls platform reportedAccounts { platform handle }
      hashes { algorithm value source } victimAge victimCount imminentDanger
      reporter { type name contact safeContact } } messages { at fromReporter text }"""
    data = await gateway.data(caller(Role.TRIAGER), SENSITIVE % selection, id=key_of(incident))
    opened = data["incident"]["sensitive"]
    assert opened["reports"][0] == {
        "id": str(REPORT),
        "channel": "API",
        "language": "en",
        "receivedAt": AT,
        "text": TEXT,
        "urls": ["hxxps://chat[.]example[.]com/room/4"],
        "platform": "game chat",
        "reportedAccounts": [{"platform": "game", "handle": "user_example_417"}],
        "hashes": [{"algorithm": "sha256", "value": "00ff", "source": "a hotline"}],
        "victimAge": 11,
        "victimCount": None,
        "imminentDanger": None,
        "reporter": {"type": "parent", "name": None, "contact": None, "safeContact": "code_only"},
    }
    assert [report["text"] for report in opened["reports"]] == [TEXT, "Earlier."]
    assert opened["messages"] == [{"at": AT, "fromReporter": True, "text": "It happened again."}]


async def test_it_costs_one_call_with_the_purpose_and_the_callers_token(gateway, owning, incident, caller):
    document = """query($id: ID!, $purpose: Purpose!) { incident(id: $id) {
      a: sensitive(purpose: $purpose) { reports { text } } b: sensitive(purpose: $purpose) { reports { id } } } }"""
    principal = caller(Role.TRIAGER, token="the-callers-token")
    await gateway.data(principal, document, id=key_of(incident), purpose="QUALITY_REVIEW")
    path = f"/v1/incidents/{incident.incident_id}/sensitive"
    assert owning.asked == [("POST", path, {"purpose": "QUALITY_REVIEW"})]
    assert owning.headers[0]["authorization"] == "Bearer the-callers-token"
    # Intake records what it opened; a second row here would make one reading look like two.
    assert await recorded(gateway) == []


async def test_notes_and_evidence_are_asked_of_triage_once_and_only_when_selected(gateway, owning, incident, caller):
    selection = "notes { by kind text at } reports { evidence { factor category passage start end } }"
    data = await gateway.data(caller(Role.TRIAGER), SENSITIVE % selection, id=key_of(incident))
    opened = data["incident"]["sensitive"]
    assert opened["notes"] == [NOTES["notes"][0]]
    assert opened["reports"][0]["evidence"] == [
        {"factor": "ADULT_UNKNOWN", "category": None, "passage": "stranger", "start": 2, "end": 10},
        {"factor": None, "category": "GROOMING", "passage": TEXT[25:40], "start": 25, "end": 40},
    ]
    assert [method for method, _, _ in owning.asked] == ["POST", "GET"]


@pytest.mark.parametrize("role", [Role.AGENT, Role.SUPERVISOR])
async def test_whoever_may_read_it_reads_it(gateway, incident, caller, role):
    data = await gateway.data(caller(role), READ, id=key_of(incident))
    assert data["incident"]["sensitive"]["reports"]


async def test_a_denied_reading_is_null_with_a_code_and_on_record(gateway, owning, incident, caller, error_codes):
    answer = await gateway.ask(caller(Role.INTEGRATOR), READ, id=key_of(incident), purpose="LEGAL_REQUEST")
    assert answer["data"] == {"incident": {"sensitive": None}}
    assert error_codes(answer) == ["FORBIDDEN"]
    assert owning.asked == []
    reference = incident.reference
    assert await recorded(gateway) == [("integrator", "integrator", "incident.reveal", reference, "LEGAL_REQUEST", 0)]


async def test_an_incident_that_is_not_seen_is_not_asked_about(gateway, owning, incident, caller):
    stranger = caller(Role.AGENT, subject="sub-stranger")
    assert await gateway.data(stranger, READ, id=key_of(incident)) == {"incident": None}
    assert owning.asked == []


async def test_what_the_owner_does_not_answer_is_null_with_a_code(gateway, owning, incident, caller, error_codes):
    expected = {404: "NOT_FOUND", 403: "FORBIDDEN", 401: "UNAUTHENTICATED"}
    for status in (404, 403, 401, 429, 500, 503):
        owning.will("POST", f"/v1/incidents/{incident.incident_id}/sensitive", {"title": "marked words"}, status=status)
        answer = await gateway.ask(caller(Role.TRIAGER), READ, id=key_of(incident))
        assert answer["data"] == {"incident": {"sensitive": None}}
        assert error_codes(answer) == [expected.get(status, "UNAVAILABLE")], status
        assert "marked" not in str(answer)


async def test_a_rule_of_the_owner_that_says_no_is_told_with_its_code(gateway, owning, incident, caller, error_codes):
    owning.will_refuse("POST", f"/v1/incidents/{incident.incident_id}/sensitive", "EXPOSURE_LIMIT")
    answer = await gateway.ask(caller(Role.TRIAGER), READ, id=key_of(incident))
    assert answer["data"] == {"incident": {"sensitive": None}}
    assert error_codes(answer) == ["EXPOSURE_LIMIT"]


async def test_an_answer_of_another_shape_shows_nothing_of_itself(gateway, owning, incident, caller, error_codes):
    path = f"/v1/incidents/{incident.incident_id}/sensitive"
    owning.will("POST", path, {"reports": [opened_report(text=["marked words"])], "messages": []})
    answer = await gateway.ask(caller(Role.TRIAGER), READ, id=key_of(incident))
    assert error_codes(answer) == ["UNAVAILABLE"]
    assert "marked" not in str(answer)


@pytest.mark.parametrize("purpose", ["CURIOSITY", "", None, 5])
async def test_without_a_purpose_nothing_is_asked(gateway, owning, incident, caller, purpose):
    answer = await gateway.ask(caller(Role.TRIAGER), READ, id=key_of(incident), purpose=purpose)
    assert answer["errors"]
    assert not answer["data"]
    assert owning.asked == []
