"""What a role may not read is refused and goes on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from amparo_common import audit, outbox
from amparo_common.auth.principal import Principal
from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio

TWICE = "{ a: incidents(first: 1) { edges { node { id } } } b: incidents(first: 2) { edges { node { id } } } }"


async def test_a_denied_field_is_on_the_audit_chain_with_who_asked(
    gateway: Any, caller: Callable[..., Principal], error_codes: Callable[[dict[str, Any]], list[str]]
) -> None:
    answer = await gateway.ask(caller(Role.PARTNER), TWICE)
    assert error_codes(answer) == ["FORBIDDEN", "FORBIDDEN"]
    query = text("SELECT actor, role, action, subject, allowed FROM audit_entry ORDER BY sequence")
    rows = await gateway.own.read(lambda session: [tuple(row) for row in session.execute(query)])
    assert rows == [("partner", "partner", "Query.incidents", "graph", 0)]
    verdict = await gateway.own.read(lambda session: audit.verify(session, service="gateway"))
    assert verdict.ok
    assert await gateway.own.read(outbox.depth) == 1


async def test_an_allowed_question_leaves_no_denial(gateway: Any, caller: Callable[..., Principal]) -> None:
    await gateway.data(caller(Role.TRIAGER), TWICE)
    assert await gateway.own.read(outbox.depth) == 0
