"""Reports that come through the graph reach intake as its own HTTP has them."""

from __future__ import annotations

from typing import Any

import pytest

from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio

REPORT = """mutation($input: ReportIncidentInput!) { reportIncident(input: $input) {
    receipt { reportId caseCode lane receivedAt guidance } errors { code message field } } }"""
FOUR = {"channel": "CALL_CENTRE", "language": "es", "country": "GT", "text": "Someone writes to my son."}
RECEIPT = {
    "report_id": "01970000-0000-7000-8000-000000000001",
    "case_code": "1111 2222 3333 4444",
    "lane": "urgent",
    "received_at": "2026-03-01T12:00:00Z",
    "status_url": "/v1/cases/status",
    "guidance": {"language": "es", "emergency_numbers": [], "next_steps": ["Guarde los mensajes."]},
}
EVERYTHING = FOUR | {
    "category": "GROOMING",
    "factors": ["ADULT_UNKNOWN"],
    "victim": {"age": 11, "count": None},
    "imminentDanger": False,
    "urls": ["https://chat.example.com/room/4"],
    "platform": "game",
    "reportedAccounts": [{"platform": "game", "handle": "user_example_417"}],
    "hashes": [{"algorithm": "sha256", "value": "00", "source": "a list"}],
    "reporter": {"type": "PARENT", "contact": None, "safeContact": "code_only"},
    "network": {"ip": "192.0.2.1", "port": 4000, "observedAt": "2026-03-01T11:00:00+01:00"},
    "occurredAt": "2026-03-01T10:00:00Z",
}


@pytest.fixture
def owner_urls(owning: Any) -> dict[str, str]:
    owning.will("POST", "/v1/reports", RECEIPT, status=202)
    return dict.fromkeys(("intake", "triage", "referral"), owning.url)


async def test_every_role_may_report_and_gets_the_receipt(gateway: Any, caller: Any) -> None:
    for role in (Role.AGENT, Role.TRIAGER, Role.SUPERVISOR, Role.PARTNER, Role.INTEGRATOR, Role.AUDITOR, Role.ADMIN):
        payload = (await gateway.data(caller(role), REPORT, input=FOUR))["reportIncident"]
        assert payload["errors"] == []
        assert payload["receipt"] == {
            "reportId": RECEIPT["report_id"],
            "caseCode": RECEIPT["case_code"],
            "lane": "URGENT",
            "receivedAt": "2026-03-01T12:00:00.000Z",
            "guidance": RECEIPT["guidance"],
        }


async def test_the_report_is_passed_on_word_for_word_in_small_codes(gateway: Any, owning: Any, caller: Any) -> None:
    await gateway.data(caller(Role.AGENT, token="mine"), REPORT, input=FOUR | {"idempotencyKey": "once"})
    assert owning.asked == [("POST", "/v1/reports", FOUR | {"channel": "call_centre"})]
    assert (owning.headers[0]["authorization"], owning.headers[0]["idempotency-key"]) == ("Bearer mine", "once")


async def test_all_that_was_answered_is_sent_and_nothing_that_was_not(gateway: Any, owning: Any, caller: Any) -> None:
    await gateway.data(caller(Role.AGENT), REPORT, input=EVERYTHING)
    assert owning.asked[0][2] == FOUR | {
        "channel": "call_centre",
        "category": "GROOMING",
        "factors": ["ADULT_UNKNOWN"],
        "victim": {"age": 11},
        "imminent_danger": False,
        "urls": ["https://chat.example.com/room/4"],
        "platform": "game",
        "reported_accounts": [{"platform": "game", "handle": "user_example_417"}],
        "hashes": [{"algorithm": "sha256", "value": "00", "source": "a list"}],
        "reporter": {"type": "parent", "safe_contact": "code_only"},
        "network": {"ip": "192.0.2.1", "port": 4000, "observed_at": "2026-03-01T10:00:00Z"},
        "occurred_at": "2026-03-01T10:00:00Z",
    }
    assert "idempotency-key" not in owning.headers[0]


async def test_wrong_fields_are_named_and_never_quoted(gateway: Any, owning: Any, caller: Any) -> None:
    errors = [{"pointer": "/victim/age", "detail": "must be 0 or more"}, {"pointer": "/reporter/safe_contact"}]
    owning.will("POST", "/v1/reports", {"type": "urn:amparo:problem:invalid-body", "errors": errors}, status=422)
    payload = (await gateway.data(caller(Role.AGENT), REPORT, input=FOUR))["reportIncident"]
    assert payload["receipt"] is None
    assert [(one["code"], one["field"]) for one in payload["errors"]] == [
        ("INVALID", "victim.age"),
        ("INVALID", "reporter.safeContact"),
    ]


@pytest.mark.parametrize("key", ["", "x" * 256, "clé", "a\nb", "a\0b"])
async def test_an_idempotency_key_that_no_header_can_carry_is_invalid(
    gateway: Any, owning: Any, caller: Any, key: str
) -> None:
    payload = (await gateway.data(caller(Role.AGENT), REPORT, input=FOUR | {"idempotencyKey": key}))["reportIncident"]
    assert [(one["code"], one["field"]) for one in payload["errors"]] == [("INVALID", "idempotencyKey")]
    assert owning.asked == []


async def test_the_same_key_with_another_report_is_told_about_the_key(gateway: Any, owning: Any, caller: Any) -> None:
    owning.will("POST", "/v1/reports", {"type": "urn:amparo:problem:idempotency-key-reused"}, status=409)
    payload = (await gateway.data(caller(Role.AGENT), REPORT, input=FOUR | {"idempotencyKey": "k"}))["reportIncident"]
    assert [(one["code"], one["field"]) for one in payload["errors"]] == [("INVALID", "idempotencyKey")]


async def test_a_crowded_intake_still_gives_the_guidance_and_when_to_come_again(
    gateway: Any, owning: Any, caller: Any
) -> None:
    owning.will("POST", "/v1/reports", {"guidance": RECEIPT["guidance"]}, status=429)
    answer = await gateway.ask(caller(Role.AGENT), REPORT, input=FOUR)
    extensions = answer["errors"][0]["extensions"]
    assert (extensions["code"], extensions["guidance"]) == ("UNAVAILABLE", RECEIPT["guidance"])
