from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Channel, IncidentStatus, Level, ReferralStatus
from amparo_gateway import domain
from amparo_gateway.domain import Kind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
FACTS = st.tuples(
    st.sampled_from(Level), st.none() | MOMENTS, st.integers(-(2**31) + 1, 2**31 - 1), MOMENTS, st.uuids(version=4)
)
FIXTURE_IS_PURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)


@FIXTURE_IS_PURE
@given(facts=st.lists(FACTS, max_size=20))
def test_the_queue_place_orders_as_level_due_score_receipt_and_id_do(incident, facts):
    def as_said(one):
        level, due_at, score, received_at, key = one
        return level, due_at is None, due_at or NOON, -score, received_at, key

    def place(one):
        level, due_at, score, received_at, key = one
        return domain.queue_place(
            incident(level=level, due_at=due_at, score=score, received_at=received_at, incident_id=key)
        )

    assert sorted(facts, key=place) == sorted(facts, key=as_said)


def test_a_score_beyond_all_measure_still_has_a_place(incident):
    places = [domain.queue_place(incident(score=score)) for score in (10**12, 1, -(10**12))]
    assert places == sorted(places)
    assert len({len(place) for place in places}) == 1


@FIXTURE_IS_PURE
@given(moments=st.lists(MOMENTS, min_size=2, max_size=10, unique=True))
def test_referrals_stand_newest_first_and_incidents_in_order_of_receipt(incident, referral, moments):
    newest = sorted(moments, key=lambda at: domain.newest_place(referral(created_at=at)))
    assert newest == sorted(moments, reverse=True)
    assert sorted(moments, key=lambda at: domain.receipt_place(incident(received_at=at))) == sorted(moments)


@pytest.mark.parametrize(
    ("status", "provisional", "awaiting", "waits"),
    [
        (IncidentStatus.OPEN, True, False, True),
        (IncidentStatus.REFERRED, True, False, True),
        (IncidentStatus.IN_REVIEW, False, True, True),
        (IncidentStatus.DECIDED, False, False, False),
        (IncidentStatus.CLOSED, True, True, False),
    ],
)
def test_what_no_human_settled_stays_in_the_queue(incident, status, provisional, awaiting, waits):
    one = incident(status=status, provisional=provisional, awaiting_signature=awaiting)
    assert domain.in_queue(one) is waits


@pytest.mark.parametrize("status", list(ReferralStatus))
def test_a_partner_learns_of_a_referral_only_once_it_was_released(referral, status):
    waits = {ReferralStatus.AWAITING_REVIEW, ReferralStatus.AWAITING_APPROVAL, ReferralStatus.REVOKED}
    assert domain.partner_sees(referral(status=status)) is (status not in waits)


def test_a_partner_still_sees_what_was_revoked_after_it_came(referral):
    assert domain.partner_sees(referral(status=ReferralStatus.REVOKED, delivered_at=NOON))


@pytest.mark.parametrize("kind", list(Kind))
def test_a_global_id_comes_back_as_what_it_was_made_of(kind):
    key = uuid7()
    text = domain.global_id(kind, key)
    assert domain.from_global_id(text) == (kind, key)
    assert domain.key_of(kind, text) == key
    assert all(domain.key_of(other, text) is None for other in Kind if other is not kind)


def test_a_global_id_shows_neither_type_nor_uuid():
    key = UUID("0197f000-0000-7000-8000-000000000001")
    text = domain.global_id(Kind.INCIDENT, key)
    assert "Incident" not in text
    assert key.hex not in text
    assert str(key) not in text


def _others() -> list[str]:
    key = UUID(int=7)
    good = domain.global_id(Kind.INCIDENT, key)
    return [
        "",
        "I",
        str(key),
        good + "=",
        good[:-1],
        good + "A",
        good.replace("A", "+", 1),
        good[:-1] + chr(ord(good[-1]) + 1),
        " " + good,
        good + "\n",
        "é" * 23,
        "\x00" * 23,
        base64.urlsafe_b64encode(b"X" + key.bytes).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\xff" + key.bytes).decode().rstrip("="),
        base64.b64encode(b"Incident:" + str(key).encode()).decode(),
        "A" * 100_000,
    ]


@pytest.mark.parametrize("text", _others(), ids=lambda text: repr(text[:24]))
def test_what_is_no_global_id_names_nothing(text):
    assert domain.from_global_id(text) is None


@given(text=st.text(max_size=40))
def test_any_text_is_an_id_only_when_it_was_written_as_one(text):
    found = domain.from_global_id(text)
    assert found is None or domain.global_id(*found) == text


@given(one=st.sets(st.sampled_from(Channel)), other=st.sets(st.sampled_from(Channel)))
def test_channel_bits_meet_when_the_channels_do(one, other):
    meet = domain.channel_bits(tuple(one)) & domain.channel_bits(tuple(other))
    assert bool(meet) is bool(one & other)


def test_a_place_holds_microseconds(incident):
    early, late = NOON, NOON + timedelta(microseconds=1)
    assert domain.receipt_place(incident(received_at=early)) < domain.receipt_place(incident(received_at=late))
