from __future__ import annotations

import time

import pytest
from graphql import get_introspection_query, parse

from amparo_gateway.schema import SCHEMA
from amparo_gateway.schema.limits import MOST_DEPTH, MOST_NODES, Cost, cost_of


def cost(document: str, **variables: object) -> Cost:
    return cost_of(parse(document, no_location=True), schema=SCHEMA._schema, variables=variables)


def incidents(first: object, inner: str) -> str:
    return f"incidents(first: {first}) {{ edges {{ node {{ {inner} }} }} }}"


def referrals(first: object, inner: str) -> str:
    return f"referrals(first: {first}) {{ edges {{ node {{ {inner} }} }} }}"


def test_nodes_are_the_product_of_the_pages_above():
    document = f"{{ {incidents(10, referrals(5, 'incident { ' + referrals(2, 'id') + ' }'))} }}"
    assert cost(document).nodes == 10 + 10 * 5 + 10 * 5 * 2


def test_fields_count_for_each_entry_of_a_page_and_of_a_short_list():
    # incidents, edges of it, and for each of 10: node, reference, decision, rules, and for each of 4: id.
    assert cost(f"{{ {incidents(10, 'reference decision { rules { id } }')} }}").fields == 1 + 10 * (
        1 + 1 + 1 + 1 + 1 + 4
    )


def test_a_page_size_is_read_from_variables_and_their_defaults():
    document = "query($n: Int! = 7) { incidents(first: $n) { edges { node { id } } } }"
    assert cost(document).nodes == 7
    assert cost(document, n=3).nodes == 3


@pytest.mark.parametrize("size", [None, "12", 3.5, [1], {}])
def test_a_page_size_that_cannot_be_told_counts_as_the_largest(size):
    assert cost("query($n: Int!) { incidents(first: $n) { edges { node { id } } } }", n=size).nodes == 100


def test_a_negative_page_size_takes_nothing_off():
    document = f"{{ a: {incidents(-1000, 'id')} b: {incidents(50, 'id')} }}"
    assert cost(document).nodes == 50


def test_aliases_and_depth_are_counted_through_fragments():
    document = "{ ...A b: me { ...V } } fragment A on Query { a: me { ...V } } fragment V on Viewer { c: name d: name }"
    measured = cost(document)
    assert (measured.aliases, measured.depth) == (6, 2)


def test_introspection_is_seen_wherever_it_hides():
    hidden = "{ ...A } fragment A on Query { ... on Query { x: __schema { types { name } } } }"
    assert cost(hidden).introspects
    assert cost('{ __type(name: "Query") { name } }').introspects
    assert not cost("{ __typename me { __typename } }").introspects


def test_the_introspection_of_common_tools_is_within_the_limits():
    document = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    assert cost(document).excess() is None
    assert cost(document).introspects


def test_what_is_promised_is_always_allowed():
    """Depth 12 and 1 000 nodes, and the selection that the platform's own checks use."""
    selection = """
      id reference level provisional status category secondaryCategories country version reportCount claimedBy
      decision {
        pack packDigest baseLevel level human awaitingSignature proposedDestinations reasons(language: "en")
        rules { id floor factors } factors { factor source confirmed } guidelines { id edition area paraphrase }
      }
      referrals(first: 9) { edges { node { id reference status acknowledgements { code } } } }
    """
    wide = cost(f"{{ {incidents(100, selection)} }}")
    assert wide.nodes == 1_000
    assert wide.excess() is None
    deep = cost(
        "{ referral(id: 1) { incident { referrals(first: 1) { edges { node { incident { referrals(first: 1) {"
        " edges { node { incident { decision { level } } } } } } } } } } } }"
    )
    assert deep.depth == 12
    assert deep.excess() is None


def test_a_document_just_over_a_limit_is_refused():
    assert cost(f"{{ {incidents(100, referrals(19, 'id'))} }}").nodes == MOST_NODES
    assert cost(f"{{ {incidents(100, referrals(19, 'id'))} }}").excess() is None
    assert cost(f"{{ {incidents(100, referrals(20, 'id'))} }}").excess() is not None
    levels = "{ a " * (MOST_DEPTH + 1) + "}" * (MOST_DEPTH + 1)
    assert cost(levels).excess() is not None


def test_fragments_that_double_are_measured_in_linear_time():
    count = 60
    doubled = [f"fragment F{n} on Query {{ ...F{n + 1} ... {{ ...F{n + 1} }} }}" for n in range(count)]
    document = "{ ...F0 } " + " ".join(doubled) + f" fragment F{count} on Query {{ me {{ name }} }}"
    begun = time.perf_counter()
    measured = cost(document)
    assert time.perf_counter() - begun < 0.5
    assert measured.fields == 2 * 2**count
    assert measured.excess() is not None


@pytest.mark.parametrize(
    "document",
    [
        "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
        "{ ...A } fragment A on Query { ...A }",
        "{ ...Nowhere }",
        "{ nothing { of { this { exists } } } }",
        "{ ... on Nothing { id } }",
        "fragment A on Query { me { name } }",
    ],
)
def test_what_validation_will_refuse_is_measured_all_the_same(document):
    assert cost(document).excess() is None
