"""Documents made to hurt are refused before anything is read, each against the composed steps of the real desk."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from benchmarks.hostile import NO_SENSE, TOO_MUCH

pytestmark = pytest.mark.anyio


@pytest.fixture
def statements():
    noted = []

    def note(connection, cursor, statement, *rest):
        noted.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield noted
    event.remove(Engine, "before_cursor_execute", note)


def test_there_are_at_least_thirty_of_them():
    assert len(TOO_MUCH) >= 30
    assert not TOO_MUCH.keys() & NO_SENSE.keys()


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_what_asks_for_too_much_is_refused_before_it_runs(desk, triager, statements, name):
    answer = await desk(triager, TOO_MUCH[name])
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["LIMIT_EXCEEDED"]
    assert answer["data"] is None
    assert statements == []


@pytest.mark.parametrize("name", NO_SENSE)
async def test_what_makes_no_sense_is_refused_before_it_runs(desk, triager, statements, name):
    answer = await desk(triager, NO_SENSE[name])
    assert answer["errors"]
    assert answer["data"] is None or set(answer["data"].values()) == {None}
    assert "traceId" not in str(answer["errors"]), "it is the caller's fault, and said to be"
    assert statements == []


async def test_who_sends_many_of_them_is_refused_unread_and_nobody_else_is(desk, triager, supervisor):
    hostile, well = TOO_MUCH["fragments that double"], {"query": "{ me { name } }"}
    for _ in range(600):
        answer = await desk(triager, hostile)
    (error,) = answer["errors"]
    assert error["extensions"]["retryAfter"] >= 1
    assert "retryAfter" in (await desk(triager, well))["errors"][0]["extensions"]
    assert (await desk(supervisor, well))["data"] == {"me": {"name": "supervisor"}}
