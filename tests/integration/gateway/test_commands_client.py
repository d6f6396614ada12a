"""The client to the owning services: whose token, what an answer means, how long it waits."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from amparo_common.auth.principal import Principal
from amparo_common.errors import Problem, Refused, TransientError
from amparo_common.http import service_client
from amparo_common.vocabulary.codes import Role
from amparo_gateway.commands.client import NotVisible, Owners
from amparo_gateway.errors import ForbiddenError

pytestmark = pytest.mark.anyio

PATH = "/v1/incidents/1/claim"
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
async def owners(owning: Any) -> AsyncIterator[Owners]:
    async with service_client() as http:
        yield Owners(http=http, urls={"triage": owning.url})


@pytest.fixture
def triager(caller: Callable[..., Principal]) -> Principal:
    return caller(Role.TRIAGER, token="the-caller's-token")


async def test_a_command_carries_the_callers_token_and_the_trace(owners: Owners, owning: Any, triager: Any) -> None:
    owning.will("POST", PATH, {"incident": None})
    answer = await owners.traced(TRACE).call("triage", "POST", PATH, principal=triager, body={"release": False})
    assert answer == {"incident": None}
    assert owning.asked == [("POST", PATH, {"release": False})]
    assert owning.headers[0]["authorization"] == "Bearer the-caller's-token"
    assert owning.headers[0]["traceparent"] == TRACE


async def test_refusals_keep_code_words_and_field(owners: Owners, owning: Any, triager: Any) -> None:
    owning.will_refuse("POST", PATH, "ALREADY_CLAIMED", "incidentId")
    with pytest.raises(Refused) as caught:
        await owners.call("triage", "POST", PATH, principal=triager, body={})
    assert [(one.code, one.field) for one in caught.value.refusals] == [("ALREADY_CLAIMED", "incidentId")]


@pytest.mark.parametrize(
    ("status", "expected"), [(404, NotVisible), (403, ForbiddenError), (500, TransientError), (503, TransientError)]
)
async def test_statuses_mean_what_the_seam_says(
    owners: Owners, owning: Any, triager: Any, status: int, expected: type[Exception]
) -> None:
    owning.will("POST", PATH, {}, status=status)
    with pytest.raises(expected):
        await owners.call("triage", "POST", PATH, principal=triager, body={})


async def test_a_token_that_ran_out_and_wrong_fields_stay_problems(owners: Owners, owning: Any, triager: Any) -> None:
    owning.will("POST", PATH, {"type": "urn:amparo:problem:invalid-token", "title": "No."}, status=401)
    with pytest.raises(Problem) as caught:
        await owners.call("triage", "POST", PATH, principal=triager, body={})
    assert (caught.value.status, caught.value.slug) == (401, "invalid-token")
    wrong = {"type": "urn:amparo:problem:invalid-body", "errors": [{"pointer": "/release", "detail": "is required"}]}
    owning.will("POST", PATH, wrong, status=422)
    with pytest.raises(Problem) as caught:
        await owners.call("triage", "POST", PATH, principal=triager, body={})
    assert [one.pointer for one in caught.value.errors] == ["/release"]


async def test_a_question_is_asked_twice_and_a_command_once(owners: Owners, owning: Any, triager: Any) -> None:
    for method in ("GET", "POST"):
        owning.will(method, PATH, {}, status=503)
        with pytest.raises(TransientError):
            await owners.call("triage", method, PATH, principal=triager)
    assert [method for method, _, _ in owning.asked] == ["GET", "GET", "POST"]


async def test_nobody_waits_longer_than_two_seconds(owners: Owners, owning: Any, triager: Any) -> None:
    owning.will("GET", PATH, {}, after_s=2.4)
    began = time.monotonic()
    with pytest.raises(TransientError, match="2 s"):
        await owners.call("triage", "GET", PATH, principal=triager)
    assert 1.9 < time.monotonic() - began < 2.35


async def test_no_answer_and_no_json_are_transient_and_quote_nothing(owners: Owners, owning: Any, triager: Any) -> None:
    owning.will("POST", PATH, b"<html>what a child wrote</html>")
    with pytest.raises(TransientError) as caught:
        await owners.call("triage", "POST", PATH, principal=triager, body={})
    assert "child" not in repr(caught.value)
    nobody = Owners(http=owners.http, urls={"triage": "http://127.0.0.1:9"})
    with pytest.raises(TransientError, match="does not answer"):
        await nobody.call("triage", "POST", PATH, principal=triager, body={})


async def test_an_error_page_that_is_no_problem_document_is_still_an_answer(
    owners: Owners, owning: Any, triager: Any
) -> None:
    owning.will("POST", PATH, b"not json at all", status=418)
    with pytest.raises(Problem) as caught:
        await owners.call("triage", "POST", PATH, principal=triager, body={})
    assert (caught.value.status, caught.value.slug) == (418, "refused")
