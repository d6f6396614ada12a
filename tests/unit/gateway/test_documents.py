from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from graphql import get_operation_ast, parse, validate

from amparo_common.auth.principal import Principal
from amparo_common.vocabulary.codes import Role
from amparo_gateway.budget import DEFAULT_REFILL, DEFAULT_SIZE
from amparo_gateway.documents import BY_ID, BY_NAME, document_id
from amparo_gateway.documents.trust import Trust
from amparo_gateway.errors import DocumentError
from amparo_gateway.live.admission import SocketLimits
from amparo_gateway.schema import SCHEMA, limits
from amparo_gateway.schema.limits import cost_of
from amparo_gateway.schema.paging import LARGEST_PAGE

OWN = "{ me { name } }"


def test_the_integrators_page_lists_every_trusted_document():
    page = (Path(__file__).resolve().parents[3] / "docs" / "integrators.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([\w-]+)` \| `([0-9a-f]{64})` \|$", page, re.MULTILINE))
    assert listed == {name: document_id(text) for name, text in BY_NAME.items()}


def test_the_integrators_page_tells_the_limits_that_count():
    page = (Path(__file__).resolve().parents[3] / "docs" / "integrators.md").read_text(encoding="utf-8")
    rows = [
        (limits.MOST_DEPTH, limits.MOST_NODES, limits.MOST_ALIASES),
        (
            limits.MOST_TOKENS,
            limits.MOST_CHARACTERS,
            limits.MOST_WRITTEN,
            limits.MOST_DIRECTIVES,
            limits.MOST_FRAGMENTS,
        ),
        (limits.MOST_VALUES, LARGEST_PAGE),
        (limits.MOST_FIELDS, DEFAULT_SIZE, DEFAULT_REFILL),
        (SocketLimits().sockets_per_principal, SocketLimits().subscriptions_per_socket),
    ]
    for row in rows:
        assert f"| {'; '.join(f'{number:,}'.replace(',', ' ') for number in row)} |" in page


def caller(role: Role) -> Principal:
    return Principal(
        subject="s", name="n", roles=frozenset({role}), expires_at=datetime(2026, 3, 1, tzinfo=UTC), token="t"
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_every_trusted_document_is_valid_and_within_the_limits(name):
    document = parse(BY_NAME[name])
    assert validate(SCHEMA._schema, document) == []
    assert cost_of(document, schema=SCHEMA._schema, variables={}).excess() is None
    assert get_operation_ast(document) is not None, "one operation, so that no name is needed"


def test_an_id_is_the_hash_of_the_bytes():
    name, text = next(iter(BY_NAME.items()))
    assert BY_ID[hashlib.sha256(text.encode()).hexdigest()] == BY_NAME[name]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("production", [True, False])
def test_own_documents_run_in_production_for_integrators_and_supervisors_only(production, role):
    trust = Trust(production=production)
    if not production or role in {Role.INTEGRATOR, Role.SUPERVISOR}:
        assert trust.document(OWN, None, principal=caller(role)) == OWN
        return
    with pytest.raises(DocumentError) as refused:
        trust.document(OWN, None, principal=caller(role))
    assert refused.value.extensions == {"code": "UNTRUSTED_DOCUMENT"}


@pytest.mark.parametrize("written", ["{}", "sha256:{}", " {} "])
def test_a_trusted_document_runs_for_everyone_by_its_id_or_by_its_text(written):
    trust = Trust(production=True)
    for known, text in BY_ID.items():
        assert trust.document(None, written.format(known), principal=caller(Role.PARTNER)) == text
        assert trust.document(text, None, principal=caller(Role.PARTNER)) == text
        assert trust.document(text, known.upper(), principal=caller(Role.PARTNER)) == text


@pytest.mark.parametrize(
    ("query", "given", "code"),
    [
        (None, "0" * 64, "UNKNOWN_DOCUMENT"),
        (None, "", "UNKNOWN_DOCUMENT"),
        (None, "../me.graphql", "UNKNOWN_DOCUMENT"),
        (OWN, next(iter(BY_ID)), "DOCUMENT_MISMATCH"),
        (OWN, document_id(OWN), "UNKNOWN_DOCUMENT"),
        (None, None, "NO_DOCUMENT"),
    ],
)
@pytest.mark.parametrize("role", [Role.SUPERVISOR, Role.PARTNER])
def test_an_id_that_is_not_known_or_not_the_texts_own_is_refused(query, given, code, role):
    with pytest.raises(DocumentError) as refused:
        Trust(production=True).document(query, given, principal=caller(role))
    assert refused.value.extensions["code"] == code
