"""Standard Webhooks: what we sign others verify, what others sign we verify, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from amparo_common.webhooks import SignatureError, new_secret, secret_bytes, sign, verify

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
SECRET, OTHER = bytes(range(32)), bytes(32)
BODY = b'{"code": "RECEIVED"}'


def _headers(*, signature: str | None = None, message_id: str = "msg_1", at: int | str = AT) -> dict[str, str]:
    made = sign(SECRET, message_id=message_id, timestamp=AT, body=BODY) if signature is None else signature
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": made}


def _reason(headers: dict[str, str], *, body: bytes = BODY, secrets: tuple[bytes, ...] = (SECRET,)) -> str | None:
    try:
        verify(secrets, headers=headers, body=body, now=NOW)
    except SignatureError as error:
        return error.reason
    return None


def test_the_signature_is_the_published_one() -> None:
    # The worked example of the Standard Webhooks specification.
    secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signature = sign(secret, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(body=st.binary(max_size=200), secret=st.binary(min_size=24, max_size=64))
def test_what_was_signed_verifies_and_a_changed_byte_does_not(body: bytes, secret: bytes) -> None:
    headers = _headers(signature=sign(secret, message_id="msg_1", timestamp=AT, body=body))
    assert _reason(headers, body=body, secrets=(secret,)) is None
    assert _reason(headers, body=body + b" ", secrets=(secret,)) == "no_match"


def test_it_is_hmac_sha256_over_id_timestamp_and_body() -> None:
    mac = hmac.new(SECRET, b"msg_1." + str(AT).encode() + b"." + BODY, hashlib.sha256).digest()
    assert sign(SECRET, message_id="msg_1", timestamp=AT, body=BODY) == "v1," + base64.b64encode(mac).decode()


def test_any_of_several_secrets_and_any_of_several_signatures_may_match() -> None:
    good = _headers()["webhook-signature"]
    bad = sign(OTHER, message_id="msg_1", timestamp=AT, body=BODY)
    assert _reason(_headers(), secrets=(OTHER, SECRET)) is None
    assert _reason(_headers(signature=f"{bad} v1a,AAAA {good}")) is None
    assert _reason(_headers(signature=f"{bad} {bad}")) == "no_match"
    assert _reason(_headers(), secrets=()) == "no_match"


def test_header_names_are_read_in_any_case() -> None:
    assert _reason({name.title(): value for name, value in _headers().items()}) is None


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_told(missing: str) -> None:
    assert _reason({name: value for name, value in _headers().items() if name != missing}) == "missing_header"


@pytest.mark.parametrize(("off", "reason"), [(-301, "too_old"), (-300, None), (300, None), (301, "too_new")])
def test_five_minutes_off_is_the_limit(off: int, reason: str | None) -> None:
    at = AT + off
    signature = sign(SECRET, message_id="msg_1", timestamp=at, body=BODY)
    assert _reason(_headers(signature=signature, at=at)) == reason


@pytest.mark.parametrize("at", ["", "now", "1.7e9", f"{AT}.0", f"+{AT}", f"0{AT}", f" {AT}", "-1", "9" * 400, "١٢٣"])
def test_a_timestamp_in_another_form_is_refused(at: str) -> None:
    assert _reason(_headers(at=at)) == "bad_timestamp"


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "v1",
        "v1,",
        "v1,!!!!",
        "v1,é",
        "v2," + _headers()["webhook-signature"].partition(",")[2],
        _headers()["webhook-signature"][:-4],
        _headers()["webhook-signature"].partition(",")[2],
    ],
)
def test_what_is_no_signature_of_ours_does_not_match(signature: str) -> None:
    assert _reason(_headers(signature=signature)) == "no_match"


def test_a_flood_of_signatures_is_not_computed() -> None:
    assert _reason(_headers(signature=" ".join(["v1,AAAA"] * 17))) == "too_many_signatures"


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "é", "a\n", "x" * 257])
def test_an_id_that_could_be_read_in_two_ways_is_neither_signed_nor_taken(message_id: str) -> None:
    with pytest.raises(ValueError, match="webhook-id"):
        sign(SECRET, message_id=message_id, timestamp=AT, body=BODY)
    assert _reason(_headers(signature="v1,AAAA") | {"webhook-id": message_id}) == "bad_id"


def test_moving_the_border_between_id_and_timestamp_does_not_reuse_a_signature() -> None:
    signature = sign(SECRET, message_id="1", timestamp=AT, body=b"5.x")
    moved = {"webhook-id": f"1.{AT}", "webhook-timestamp": "5", "webhook-signature": signature}
    assert _reason(moved, body=b"x") == "bad_id"


def test_a_new_secret_is_random_and_read_back() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert len(secret_bytes(first)) == 32


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_canary!", "whsec_Y2FuYXJ5", "Y2FuYXJ5" * 8, "whsec_" + "Y2Fu" * 22]
)
def test_what_is_no_secret_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="webhook secret") as caught:
        secret_bytes(text)
    assert "canary" not in str(caught.value)
    assert "Y2F" not in str(caught.value)
