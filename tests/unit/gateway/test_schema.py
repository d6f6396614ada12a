from __future__ import annotations

from pathlib import Path

import pytest
from graphql import GraphQLObjectType, build_schema, validate_schema
from graphql.utilities import find_breaking_changes, find_dangerous_changes

from amparo_gateway.schema import SCHEMA, sdl

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "graph" / "served.graphql"


@pytest.fixture(scope="module")
def promised():
    return build_schema(GOLDEN.read_text(encoding="utf-8"))


def test_the_served_schema_keeps_what_was_promised(promised):
    assert find_breaking_changes(promised, SCHEMA._schema) == []
    assert find_dangerous_changes(promised, SCHEMA._schema) == []


def test_the_exported_schema_is_the_served_one(promised):
    exported = build_schema(sdl())
    assert validate_schema(exported) == []
    assert find_breaking_changes(promised, exported) == []
    assert find_breaking_changes(SCHEMA._schema, exported) == []


def test_a_removed_field_would_be_noticed(promised):
    less = build_schema(sdl().replace("  reference: String!\n  level: Level!", "  level: Level!"))
    assert find_breaking_changes(promised, less)


def test_every_type_of_the_served_schema_but_pages_and_payloads_is_described():
    undescribed = [
        name
        for name, kind in SCHEMA._schema.type_map.items()
        if isinstance(kind, GraphQLObjectType)
        and not name.startswith("__")
        and not name.endswith(("Edge", "Connection", "Payload"))
        and name not in {"Query", "Mutation"}
        and not kind.description
    ]
    assert undescribed == []
