"""`POST /v1/acknowledgements`: who may answer, what is understood, and that an answer is taken once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import msgspec
import pytest

from amparo_common import webhooks
from amparo_common.auth.principal import Principal
from amparo_common.auth.verifier import TokenError
from amparo_common.crypto.parts import open_text
from amparo_common.db.tables import AUDIT_ENTRY
from amparo_common.ids import reference, uuid7
from amparo_common.vocabulary.codes import AcknowledgementCode, Level, ReferralStatus, Release, Role
from amparo_referral.api import create_app
from amparo_referral.tables import ACKNOWLEDGEMENT

pytestmark = pytest.mark.anyio

PRINCIPAL = Principal(
    subject="s",
    name="partner",
    roles=frozenset({Role.PARTNER}),
    organisation="demo-hotline",
    expires_at=datetime.max.replace(tzinfo=UTC),
    token="",
)
PRINCIPALS = {
    "partner": PRINCIPAL,
    "stranger": replace(PRINCIPAL, name="stranger", organisation="another"),
    "nobody": replace(PRINCIPAL, name="nobody", organisation=None),
    "supervisor": replace(
        PRINCIPAL, name="supervisor", roles=frozenset({Role.SUPERVISOR}), organisation=None, countries=frozenset({"*"})
    ),
    "abroad": replace(
        PRINCIPAL, name="abroad", roles=frozenset({Role.SUPERVISOR}), organisation=None, countries=frozenset({"IS"})
    ),
    "triager": replace(PRINCIPAL, name="triager", roles=frozenset({Role.TRIAGER}), organisation=None),
}


class Verifier:
    """Knows the bearer tokens of the table above."""

    async def verify(self, token: str) -> Principal:
        if token not in PRINCIPALS:
            raise TokenError("unknown")
        return PRINCIPALS[token]


@dataclass
class Answers:
    """Posts answers to the service of a world."""

    world: Any
    http: httpx2.AsyncClient
    secret: str

    async def signed(self, body: Any, *, partner: Any, secret: str | None = None, age_s: int = 0, **given: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        message_id = given.get("message_id") or f"msg_{uuid7()}"
        timestamp = int(self.world.clock.now().timestamp()) - age_s
        key = webhooks.secret_bytes(secret or self.secret)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": webhooks.sign(key, message_id=message_id, timestamp=timestamp, body=content),
        }
        path = f"/v1/acknowledgements?partner={partner.id}" if partner else "/v1/acknowledgements"
        return await self.http.post(path, content=content, headers=headers)

    async def bearing(self, token: str, body: Any) -> Any:
        headers = {"authorization": f"Bearer {token}"}
        return await self.http.post("/v1/acknowledgements", json=body, headers=headers)


@pytest.fixture
async def answers(world: Any, tmp_path: Any) -> AsyncIterator[Answers]:
    app = create_app(world.desk, verifier=Verifier(), telemetry=world.telemetry, readiness=lambda: ())
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://referral.test") as http:
        yield Answers(world, http, world.secret)


@pytest.fixture
async def sent(world: Any) -> tuple[Any, Any]:
    """Give a delivered referral and its partner."""
    partner = await world.routed(organisation="demo-hotline")
    case, _ = await world.open()
    await world.send()
    return (await world.of(case))[0], partner


def answer(referral: Any, code: str = "RECEIVED", **fields: Any) -> dict[str, Any]:
    unused = ("partner_reference", "note", "until", "forwarded_to", "classification")
    given = {"referral_reference": referral.reference, "code": code, "at": "2026-11-24T12:00:00.000Z"}
    return given | dict.fromkeys(unused) | fields


async def test_a_signed_answer_is_taken_once_even_under_another_webhook_id(
    world: Any, answers: Answers, sent: Any
) -> None:
    referral, partner = sent
    for _ in range(3):
        reply = await answers.signed(answer(referral), partner=partner)
        assert reply.status_code == 200
        assert reply.json() == {"referral_reference": referral.reference, "status": "ACKNOWLEDGED"}
    assert len(await world.rows(ACKNOWLEDGEMENT)) == 1
    event = (await world.told())[-1]
    assert [(one.code, one.by) for one in event.acknowledgements] == [(AcknowledgementCode.RECEIVED, partner.name)]
    stored = await world.referral(referral.id)
    assert (stored.status, stored.acknowledged_at) == (ReferralStatus.ACKNOWLEDGED, world.clock.now())
    assert stored.escalate_at is None


async def test_the_same_content_in_another_order_and_spacing_is_the_same_answer(
    world: Any, answers: Answers, sent: Any
) -> None:
    referral, partner = sent
    body = answer(referral)
    shuffled = dict(reversed(body.items()))
    await answers.signed(body, partner=partner)
    await answers.signed(json.dumps(shuffled, indent=2).encode(), partner=partner)
    del shuffled["note"]
    await answers.signed(shuffled, partner=partner)
    assert len(await world.rows(ACKNOWLEDGEMENT)) == 1


async def test_forged_old_and_missing_signatures_are_refused_and_nothing_is_stored(
    world: Any, answers: Answers, sent: Any
) -> None:
    referral, partner = sent
    forged = await answers.signed(answer(referral), partner=partner, secret=webhooks.new_secret())
    old = await answers.signed(answer(referral), partner=partner, age_s=301)
    ahead = await answers.signed(answer(referral), partner=partner, age_s=-301)
    unknown = await answers.signed(answer(referral), partner=replace_id(partner))
    bare = await answers.http.post("/v1/acknowledgements", json=answer(referral))
    replies = [forged, old, ahead, unknown, bare]
    assert [reply.status_code for reply in replies] == [401] * 5
    assert {reply.headers["content-type"] for reply in replies} == {"application/problem+json"}
    assert await world.rows(ACKNOWLEDGEMENT) == []


def replace_id(partner: Any) -> Any:
    return msgspec.structs.replace(partner, id=uuid7())


async def test_an_unknown_and_another_partners_reference_look_the_same(world: Any, answers: Answers, sent: Any) -> None:
    referral, partner = sent
    other = await world.partner("Other")
    foreign = await answers.signed(answer(referral), partner=other)
    invented = await answers.signed(answer(referral) | {"referral_reference": "RF-0000-0000"}, partner=partner)
    assert (foreign.status_code, foreign.json()) == (404, invented.json())
    assert invented.status_code == 404
    assert await world.rows(ACKNOWLEDGEMENT) == []


async def test_without_the_partner_in_the_address_the_referrals_own_partner_must_have_signed(
    answers: Answers, sent: Any
) -> None:
    referral, _ = sent
    assert (await answers.signed(answer(referral), partner=None)).status_code == 200
    forged = await answers.signed(answer(referral), partner=None, secret=webhooks.new_secret())
    assert forged.status_code == 401


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("partner", 200),
        ("supervisor", 200),
        ("stranger", 404),
        ("abroad", 404),
        ("nobody", 403),
        ("triager", 403),
        ("forged", 401),
    ],
)
async def test_a_token_answers_for_its_own_organisation_only(
    world: Any, answers: Answers, sent: Any, token: str, status: int
) -> None:
    referral, _ = sent
    incident = reference("AM", of=referral.incident_id)
    reply = await answers.bearing(token, answer(referral))
    assert reply.status_code == status
    assert len(await world.rows(ACKNOWLEDGEMENT)) == (1 if status == 200 else 0)
    if status == 200:
        acknowledged = [row for row in await world.rows(AUDIT_ENTRY) if row["action"] == "referral.acknowledged"]
        assert [(row["actor"], row["subject"]) for row in acknowledged] == [(token, incident)]


async def test_after_the_end_only_destruction_and_exact_repeats_are_taken(
    world: Any, answers: Answers, sent: Any
) -> None:
    referral, partner = sent
    closing = answer(referral, "CLOSED_ACTION_TAKEN")
    assert (await answers.signed(closing, partner=partner)).json()["status"] == "CLOSED"
    late = await answers.signed(answer(referral, "ACCEPTED"), partner=partner)
    assert (late.status_code, late.json()["type"]) == (409, "urn:amparo:problem:transition-not-allowed")
    assert (await answers.signed(closing, partner=partner)).status_code == 200
    destroyed = await answers.signed(answer(referral, "DESTROY_CONFIRMED"), partner=partner)
    assert (destroyed.status_code, destroyed.json()["status"]) == (200, "CLOSED")
    assert len(await world.rows(ACKNOWLEDGEMENT)) == 2


async def test_nothing_can_be_answered_before_it_was_sent(world: Any, answers: Answers) -> None:
    partner = await world.routed(release=Release.AFTER_REVIEW)
    _, referral = await world.open(level=Level.P3)
    reply = await answers.signed(answer(referral), partner=partner)
    assert (reply.status_code, await world.rows(ACKNOWLEDGEMENT)) == (409, [])


async def test_a_rejection_asks_the_next_partner(world: Any, answers: Answers) -> None:
    first = await world.routed("First", priority=1)
    second = await world.routed("Second", priority=2)
    case, referral = await world.open()
    await world.send()
    reply = await answers.signed(answer(referral, "REJECTED_JURISDICTION"), partner=first)
    assert reply.json()["status"] == "REJECTED"
    await world.build()
    await world.send()
    rejected, fresh = await world.of(case)
    assert (rejected.status, fresh.partner_id, fresh.status) == (
        ReferralStatus.REJECTED,
        second.id,
        ReferralStatus.DELIVERED,
    )


async def test_an_answer_before_our_own_note_of_the_delivery_is_not_lowered_by_it(world: Any, answers: Answers) -> None:
    partner = await world.routed()
    case, referral = await world.open()
    reply = await answers.signed(answer(referral), partner=partner)
    assert reply.json()["status"] == "ACKNOWLEDGED"
    await world.send()
    stored = (await world.of(case))[0]
    assert (stored.status, stored.delivered_at) == (ReferralStatus.ACKNOWLEDGED, world.clock.now())


async def test_a_note_is_sealed_and_goes_with_an_erasure(world: Any, answers: Answers, sent: Any) -> None:
    referral, partner = sent
    note = "The account holder is known to us: Marzipan."
    await answers.signed(answer(referral, "IN_PROGRESS", note=note), partner=partner)
    (row,) = await world.rows(ACKNOWLEDGEMENT)
    assert b"Marzipan" not in row["note"]
    key = world.keys.held[referral.incident_id]
    assert open_text(key, row["note"], name=f"note:{row['id']}", report_id=referral.incident_id) == note
    await world.take(world.erased_incident(referral.incident_id))
    assert [row["note"] for row in await world.rows(ACKNOWLEDGEMENT)] == [None]


async def test_a_note_that_cannot_be_sealed_now_is_asked_for_again_and_not_lost(
    world: Any, answers: Answers, sent: Any
) -> None:
    referral, partner = sent
    world.keys.down = True
    reply = await answers.signed(answer(referral, note="Please send the port."), partner=partner)
    assert (reply.status_code, await world.rows(ACKNOWLEDGEMENT)) == (503, [])
    assert reply.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"code": "PERHAPS"}, "/code"),
        ({"code": None}, "/code"),
        ({"at": None}, "/at"),
        ({"at": "yesterday"}, "/at"),
        ({"at": "2026-11-24T12:00:00"}, "/at"),
        ({"at": 1764000000}, "/at"),
        ({"until": "soon"}, "/until"),
        ({"note": ""}, "/note"),
        ({"note": "x" * 20_001}, "/note"),
        ({"note": "a\x00b"}, "/note"),
        ({"partner_reference": ["x"]}, "/partner_reference"),
        ({"forwarded_to": "MARS"}, "/forwarded_to"),
        ({"classification": "A1"}, "/classification"),
        ({"classification": {"scheme": "INHOPE", "version": "1"}}, "/classification/value"),
        ({"classification": {"scheme": "I", "version": "1", "value": "B", "more": 1}}, "/classification/more"),
        ({"referral_reference": 7}, "/referral_reference"),
        ({"surprise": 1}, "/surprise"),
        ({"a/b": 1}, "/a~1b"),
    ],
)
async def test_a_wrong_field_is_named(
    world: Any, answers: Answers, sent: Any, change: dict[str, Any], pointer: str
) -> None:
    referral, partner = sent
    reply = await answers.signed(answer(referral) | change, partner=partner)
    assert reply.status_code == 422
    assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]
    assert await world.rows(ACKNOWLEDGEMENT) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b'{"code": "\\ud800"}', b"[" * 5000])
async def test_what_is_no_json_object_is_refused_in_words(answers: Answers, sent: Any, body: bytes) -> None:
    _, partner = sent
    reply = await answers.signed(body, partner=partner)
    assert reply.status_code in {400, 422}
    assert reply.headers["content-type"] == "application/problem+json"


async def test_every_code_is_taken_with_what_it_tells(world: Any, answers: Answers, sent: Any) -> None:
    referral, partner = sent
    body = answer(
        referral,
        "CLASSIFIED",
        classification={"scheme": "INHOPE", "version": "2", "value": "BASELINE"},
        until="2026-12-24T00:00:00Z",
        forwarded_to="HOTLINE",
        partner_reference="P-417",
    )
    assert (await answers.signed(body, partner=partner)).json()["status"] == "DELIVERED"
    (row,) = await world.rows(ACKNOWLEDGEMENT)
    assert (row["partner_reference"], row["forwarded_to"]) == ("P-417", "HOTLINE")
    assert row["until"] == datetime(2026, 12, 24, tzinfo=UTC)
    assert json.loads(row["classification"])["value"] == "BASELINE"
    assert (await world.referral(referral.id)).escalate_at is None
    assert timedelta(0) <= world.clock.now() - row["taken_at"]
