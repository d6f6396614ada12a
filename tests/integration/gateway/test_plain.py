"""The short way of plain facts answers what the general steps do, byte for byte."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from sqlalchemy import update
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from amparo_common.vocabulary.codes import Channel, Level, Role
from amparo_gateway.schema.plain import ShortWay
from amparo_gateway.schema.referral import Referral
from amparo_gateway.tables import projection_metadata

pytestmark = pytest.mark.anyio

DOCUMENTS = {
    "plain facts": """{ incidents(first: 9) { edges { node { dueAt id level reference channels provisional version
      claimedBy secondaryCategories } cursor } pageInfo { hasNextPage endCursor startCursor hasPreviousPage } } }""",
    "objects and lists": """{ incidents(first: 9) { edges { node { decision { rules { id floor guidelines { id } }
      factors { factor confirmed source } decidedAt proposedLowering { by } } clocks { kind dueAt } } } } }""",
    "other fields between plain ones": """{ incidents(first: 9) { edges { node { level
      referrals(first: 2) { edges { node { reference partner { name waiting countries } status } } } reference
      history(first: 1) { edges { node { summary at } } } version } } } }""",
    "arguments": """{ incidents(first: 9) { edges { node { decision { es: reasons(language: "es")
      en: reasons(language: "en") level } } } } }""",
    "aliases and names of types": """{ __typename a: incidents(first: 1) { __typename edges { x: node { y: level
      __typename z: level decision { __typename } } } } }""",
    "fragments": """{ incidents(first: 9) { edges { node { ...A ... on Incident { version level } } } } }
      fragment A on Incident { reference level decision { ...B pack } } fragment B on TriageDecision { level score }""",
    "directives": """query($no: Boolean! = false) { incidents(first: 9) { edges { node {
      level @include(if: $no) reference @skip(if: $no) decision @include(if: true) { level } } } } }""",
    "interfaces": """{ referrals(first: 9) { edges { node { ... on Node { id } incident { reference } isTest
      attempts { number at } acknowledgements { code by partnerReference } } } } }""",
    "nothing found": '{ incidents(first: 9, filter: {reference: "none"}) { edges { cursor } pageInfo { endCursor } } }',
}


async def both_ways(gateway, monkeypatch, principal, document):
    """Return the answer of the short way and of the general steps, as bytes that keep the order of fields."""
    short = json.dumps(await gateway.ask(principal, document))
    monkeypatch.setattr(ShortWay, "execute_fields", StrawberryGraphQLCoreExecutionContext.execute_fields)
    general = json.dumps(await gateway.ask(principal, document))
    monkeypatch.undo()
    return short, general


@pytest.fixture
async def stocked(gateway, invented):
    for level in (Level.P1, Level.P3):
        incident = invented.incident(level=level, channels=(Channel.SMS, Channel.WEB))
        await gateway.learn(incident, invented.referral(incident.incident_id), invented.partner(UUID(int=3)))
    return gateway


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("role", [Role.TRIAGER, Role.INTEGRATOR])
async def test_every_kind_of_selection_is_answered_alike(stocked, monkeypatch, caller, name, role):
    short, general = await both_ways(stocked, monkeypatch, caller(role), DOCUMENTS[name])
    assert short == general


async def test_a_value_that_is_not_as_the_schema_says_fails_alike(stocked, monkeypatch, caller):
    document = "{ referrals(first: 9) { edges { node { reference level version } } } }"
    made = Referral.of

    def spoilt(state):
        referral = made(state)
        referral.version = "not a number"
        return referral

    with monkeypatch.context() as spoiling:
        spoiling.setattr(Referral, "of", spoilt)
        short = json.dumps(await stocked.ask(caller(Role.TRIAGER), document))
        spoiling.setattr(ShortWay, "execute_fields", StrawberryGraphQLCoreExecutionContext.execute_fields)
        general = json.dumps(await stocked.ask(caller(Role.TRIAGER), document))
    assert short == general
    assert '"path": ["referrals", "edges", 0, "node", "version"]' in short
    assert "not a number" not in short


async def test_a_missing_value_that_may_not_be_null_is_told_at_its_place(stocked, monkeypatch, caller):
    partner = projection_metadata.tables["partner"]
    await stocked.projection.write(lambda c: c.execute(update(partner).values(state=b"{}")))
    document = "{ partners(first: 9) { edges { node { name } } } }"
    short, general = await both_ways(stocked, monkeypatch, caller(Role.TRIAGER), document)
    assert short == general
    assert "INTERNAL" in short


async def test_plain_facts_do_not_take_the_general_steps(stocked, monkeypatch, caller):
    """Else the short way could fall away without anybody noticing."""
    walked = []
    general = ShortWay.execute_field

    def counted(self, parent_type, *rest):
        walked.append(parent_type.name)
        return general(self, parent_type, *rest)

    monkeypatch.setattr(ShortWay, "execute_field", counted)
    document = """{ referrals(first: 9) { edges { cursor node { id level createdAt partner { name }
      attempts { number } } } pageInfo { endCursor } } }"""
    await stocked.data(caller(Role.TRIAGER), document)
    assert walked == ["Query"]
