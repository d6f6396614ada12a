from __future__ import annotations

import time

import pytest
from graphql import get_introspection_query
from sqlalchemy import event
from sqlalchemy.engine import Engine

from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio

CYCLE = "query { ...A } fragment A on Query { ...B } fragment B on Query { ...A }"


def incidents(first: int, inner: str) -> str:
    return f"incidents(first: {first}) {{ edges {{ node {{ {inner} }} }} }} "


def through_referrals(first: int, inner: str) -> str:
    return f"referrals(first: {first}) {{ edges {{ node {{ incident {{ {inner} }} }} }} }} "


def nested(count: int, *, inner: str = "id") -> str:
    for _ in range(count):
        inner = through_referrals(1, inner)
    return inner


def doubled(count: int) -> str:
    branches = [through_referrals(1, f"...F{n}") for n in range(count + 1)]
    fragments = [f"fragment F{n} on Incident {{ {branches[n + 1]} b: {branches[n + 1]} }}" for n in range(count)]
    return f"{{ {incidents(1, '...F0')} }} {' '.join(fragments)} fragment F{count} on Incident {{ id }}"


def doubled_inline(count: int) -> str:
    fragments = [f"fragment F{n} on Query {{ ...F{n + 1} ... {{ ...F{n + 1} }} }}" for n in range(count)]
    return f"{{ ...F0 }} {' '.join(fragments)} fragment F{count} on Query {{ me {{ name }} }}"


WIDE = incidents(100, through_referrals(100, "id"))
HOSTILE = {
    "depth of 120": f"{{ {incidents(1, nested(30))} }}",
    "depth just over": f"{{ {incidents(1, nested(3, inner='decision { proposedLowering { level } }'))} }}",
    "1000 aliases": f"{{ {' '.join(f'a{n}: {incidents(1, chr(105) + chr(100))}' for n in range(1000))} }}",
    "100 aliases of me": f"{{ {' '.join(f'a{n}: me {{ name }}' for n in range(100))} }}",
    "aliases hidden in a fragment": "{ "
    + " ".join(f"a{n}: me {{ ...V }}" for n in range(20))
    + " } fragment V on Viewer { a: name b: name c: name d: name }",
    "a million nodes": f"{{ {incidents(100, through_referrals(100, through_referrals(100, 'id')))} }}",
    "a million nodes by alias": f"{{ {' '.join(f'a{n}: {WIDE}' for n in range(100))} }}",
    "ten thousand nodes": f"{{ {WIDE} }}",
    "three pages of twenty": f"{{ {incidents(20, through_referrals(20, through_referrals(20, 'id')))} }}",
    "a page of 101": f"{{ {incidents(101, 'id')} }}",
    "a page of two billion": f"{{ {incidents(2_000_000_000, 'id')} }}",
    "a page beyond any integer": f"{{ {incidents(10**30, 'id')} }}",
    "fragments that double": doubled(12),
    "fragments that double without a node": doubled_inline(30),
    "5000 directives": f"{{ me {{ name {'@skip(if: false) ' * 5000} }} }}",
    "5000 repeated fields": f"{{ me {{ {'name ' * 5000} }} }}",
    "inline fragments in each other": "{ " + "... on Query { " * 200 + "me { name }" + " }" * 200 + " }",
    "inline fragments, fewer": "{ " + "... on Query { " * 60 + "me { name }" + " }" * 60 + " }",
    "selections in each other": "{ " + "me { " * 800 + "name" + " }" * 800 + " }",
    "lists in each other": "{ incidents(first: 1, filter: {levels: "
    + "[" * 1100
    + "]" * 1100
    + "}) { edges { cursor } } }",
    "too many fields on a page": f"{{ {incidents(100, ' '.join('decision { rules { guidelines { id } } }' for _ in range(60)))} }}",  # noqa: E501
    "many operations": " ".join(f"query Q{n} {{ {incidents(100, 'id')} }}" for n in range(21)),
}
INVALID = {
    "a fragment cycle": CYCLE,
    "a fragment that names itself": "query { ...A } fragment A on Query { ...A }",
    "an unknown field": "{ incidents(first: 1) { edges { node { narrative } } } }",
    "no page size": "{ incidents { edges { node { id } } } }",
    "not GraphQL": "SELECT * FROM incident",
    "half a document": "{ incidents(first: 1) { ",
    "a lone surrogate": "{ me { \ud800 } }",
}


@pytest.fixture
def statements():
    noted = []

    def note(connection, cursor, statement, *rest):
        noted.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield noted
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_document_is_refused_before_it_runs(gateway, caller, statements, error_codes, name):
    begun = time.perf_counter()
    answer = await gateway.ask(caller(Role.TRIAGER), HOSTILE[name])
    took = time.perf_counter() - begun
    assert error_codes(answer) == ["LIMIT_EXCEEDED"]
    assert answer["data"] is None or set(answer["data"].values()) == {None}
    assert statements == []
    assert took < 0.5


@pytest.mark.parametrize("name", INVALID)
async def test_what_makes_no_sense_is_refused_before_it_runs(gateway, caller, statements, name):
    answer = await gateway.ask(caller(Role.TRIAGER), INVALID[name])
    assert answer["data"] is None
    assert answer["errors"]
    assert "traceId" not in str(answer["errors"])
    assert statements == []


@pytest.mark.parametrize("role", list(Role))
async def test_the_schema_is_told_to_those_who_may_know_it(gateway, caller, error_codes, role):
    told = role in {Role.TRIAGER, Role.SUPERVISOR, Role.ADMIN}
    hidden = "{ ...A } fragment A on Query { ... on Query { x: __schema { types { name } } } }"
    for document in (get_introspection_query(), '{ __type(name: "Incident") { name } }', hidden):
        answer = await gateway.ask(caller(role), document)
        assert error_codes(answer) == ([] if told else ["FORBIDDEN"])
        assert bool(answer["data"]) is told


async def test_a_misspelt_field_is_not_answered_with_the_right_one(gateway, caller):
    answer = await gateway.ask(caller(Role.INTEGRATOR), "{ incidents(first: 1) { edges { node { refrence } } } }")
    assert "reference" not in str(answer["errors"])


async def test_a_thousand_nodes_and_a_depth_of_twelve_are_answered(gateway, caller):
    deep = "id"
    for _ in range(2):
        deep = f"referrals(first: 3) {{ edges {{ node {{ incident {{ {deep} }} }} }} }}"
    data = await gateway.data(caller(Role.TRIAGER), f"{{ {incidents(10, deep)} b: {incidents(100, 'id')} }}")
    assert data["incidents"] == {"edges": []}
