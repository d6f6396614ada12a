from __future__ import annotations

import pytest
import structlog.testing
from sqlalchemy import update

from amparo_common.vocabulary.codes import Role
from amparo_gateway.tables import projection_metadata

pytestmark = pytest.mark.anyio

LIST = "{ incidents(first: 5) { edges { node { id } } } }"


async def test_what_was_not_foreseen_is_masked_with_a_trace_and_logged_by_type(gateway, invented, caller):
    await gateway.learn(invented.incident())
    incident = projection_metadata.tables["incident"]
    await gateway.projection.write(lambda c: c.execute(update(incident).values(state=b'{"marked": "secret words"}')))
    with structlog.testing.capture_logs() as logged:
        answer = await gateway.ask(caller(Role.TRIAGER), LIST)
    assert answer["data"] == {"incidents": None}
    assert answer["errors"] == [
        {
            "message": "Something went wrong on our side.",
            "locations": [{"line": 1, "column": 3}],
            "path": ["incidents"],
            "extensions": {"code": "INTERNAL", "traceId": "0" * 31 + "1"},
        }
    ]
    assert [entry["trace_id"] for entry in logged] == ["0" * 31 + "1"]
    assert "secret" not in str(answer)


async def test_a_database_that_does_not_answer_says_try_again(gateway, caller, error_codes):
    await gateway.projection.close()
    answer = await gateway.ask(caller(Role.TRIAGER), LIST)
    assert error_codes(answer) == ["UNAVAILABLE"]
    assert answer["errors"][0]["extensions"]["traceId"]


async def test_a_wrong_variable_is_told_to_its_sender(gateway, caller):
    document = "query($f: IncidentFilter) { incidents(first: 1, filter: $f) { edges { cursor } } }"
    answer = await gateway.ask(caller(Role.TRIAGER), document, f={"receivedAfter": "yesterday"})
    assert "RFC 3339" in answer["errors"][0]["message"]
    answer = await gateway.ask(caller(Role.TRIAGER), document, f={"levels": ["P9"]})
    assert "P9" in answer["errors"][0]["message"]


async def test_a_forbidden_field_beside_an_allowed_one_leaves_that_one_answered(gateway, caller, error_codes):
    answer = await gateway.ask(caller(Role.PARTNER), "{ me { name } " + LIST[2:])
    assert error_codes(answer) == ["FORBIDDEN"]
    assert answer["data"] == {"me": {"name": "partner"}, "incidents": None}
