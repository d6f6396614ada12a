"""The issuer's keys: fetched rarely, never replaced by rubbish, new ones known before anybody is turned away."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from amparo_common.auth.verifier import TokenError, Verifier
from amparo_common.clock import SetClock
from amparo_common.errors import TransientError
from amparo_common.telemetry import Telemetry

pytestmark = pytest.mark.anyio

ISSUER = "http://127.0.0.1:8089"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"


async def test_a_thousand_good_tokens_cost_one_fetch(verifier: Verifier, forger: Any, issuer: Any) -> None:
    await asyncio.gather(*(verifier.verify(forger.token(jti=str(number))) for number in range(200)))
    assert issuer.fetches == 1


async def test_a_flood_of_unknown_keys_costs_one_fetch_a_cooldown(
    verifier: Verifier, forger: Any, issuer: Any, clock: SetClock
) -> None:
    await verifier.verify(forger.token())
    for wave in range(3):
        before = issuer.fetches
        tokens = [forger.token(header={"kid": f"made-up-{wave}-{number}"}) for number in range(100)]
        answers = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
        assert all(isinstance(answer, TokenError) for answer in answers)
        for token in tokens[:20]:
            with pytest.raises(TokenError, match="unknown-key"):
                await verifier.verify(token)
        assert issuer.fetches - before == 1
        clock.move(timedelta(seconds=31))


async def test_a_clock_set_back_does_not_lengthen_the_cooldown(
    verifier: Verifier, forger: Any, issuer: Any, clock: SetClock
) -> None:
    with pytest.raises(TokenError):
        await verifier.verify(forger.token(header={"kid": "made-up"}))
    clock.move(timedelta(hours=-2))
    with pytest.raises(TokenError):
        await verifier.verify(forger.token(header={"kid": "made-up"}))
    assert issuer.fetches == 2


async def test_rotation_refuses_no_valid_token(
    verifier: Verifier, forger: Any, issuer: Any, new_jwk: Any, other_key: rsa.RSAPrivateKey
) -> None:
    old = [forger.token(jti=str(number)) for number in range(20)]
    new = [forger.token(header={"kid": "second"}, key=other_key, jti=str(number)) for number in range(20)]
    await verifier.verify(old[0])
    issuer.keys.append(new_jwk(other_key, kid="second"))
    principals = await asyncio.gather(
        *map(verifier.verify, [token for pair in zip(old, new, strict=True) for token in pair])
    )
    assert len(principals) == 40
    assert issuer.fetches == 2


async def test_two_rotations_within_a_cooldown_refuse_no_valid_token(
    verifier: Verifier, forger: Any, issuer: Any, new_jwk: Any, other_key: rsa.RSAPrivateKey
) -> None:
    await verifier.verify(forger.token())
    for kid in ("second", "third"):
        issuer.keys.append(new_jwk(other_key, kid=kid))
        await verifier.verify(forger.token(header={"kid": kid}, key=other_key))


async def test_a_withdrawn_key_is_refused_even_for_remembered_tokens(
    verifier: Verifier, forger: Any, issuer: Any, new_jwk: Any, other_key: rsa.RSAPrivateKey
) -> None:
    token = forger.token()
    await verifier.verify(token)
    issuer.keys = [new_jwk(other_key, kid="second")]
    assert await verifier.keys.refresh()
    with pytest.raises(TokenError, match="unknown-key"):
        await verifier.verify(token)


RUBBISH = {
    "no JSON": b"<html>",
    "an empty set": b'{"keys": []}',
    "keys no list": b'{"keys": {"kid": "first"}}',
    "a list": b"[]",
    "nested deep": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe\xfa",
    "too much": b" " * 300_000,
}


@pytest.mark.parametrize("name", RUBBISH)
async def test_rubbish_never_replaces_good_keys(name: str, verifier: Verifier, forger: Any, issuer: Any) -> None:
    await verifier.verify(forger.token())
    issuer.body = RUBBISH[name]
    assert not await verifier.keys.refresh()
    await verifier.verify(forger.token(jti="after"))


@pytest.mark.parametrize("status", [302, 404, 500, 503])
async def test_an_error_never_replaces_good_keys(status: int, verifier: Verifier, forger: Any, issuer: Any) -> None:
    await verifier.verify(forger.token())
    issuer.status = status
    assert not await verifier.keys.refresh()
    await verifier.verify(forger.token(jti="after"))


async def test_while_the_issuer_is_down_known_keys_serve_and_unknown_ones_may_be_tried_again(
    verifier: Verifier, forger: Any, issuer: Any, clock: SetClock
) -> None:
    await verifier.verify(forger.token())
    issuer.status = 503
    for _ in range(3):
        with pytest.raises(TransientError):
            await verifier.verify(forger.token(header={"kid": "second"}))
        clock.move(timedelta(seconds=5))
    await verifier.verify(forger.token(jti="after"))
    assert issuer.fetches <= 2


async def test_an_unfit_key_is_not_used(
    verifier: Verifier, forger: Any, issuer: Any, new_jwk: Any, other_key: rsa.RSAPrivateKey
) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - the weakness is the test
    modulus = weak.public_key().public_numbers().n
    point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    issuer.keys += [
        new_jwk(other_key, kid="for encryption", use="enc"),
        new_jwk(other_key, kid="for another algorithm", alg="RS512"),
        new_jwk(other_key, kid=7),
        new_jwk(other_key, kid="broken", n="***"),
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        {"kty": "EC", "kid": "curve", "crv": "P-256", "x": str(point.x), "y": str(point.y)},
        new_jwk(other_key, kid="weak", n=urlsafe_b64encode(modulus.to_bytes(128)).rstrip(b"=").decode()),
        "no key",
    ]
    await verifier.verify(forger.token())
    for kid, key in (("for encryption", other_key), ("for another algorithm", other_key), ("weak", weak)):
        with pytest.raises(TokenError, match="unknown-key"):
            await verifier.verify(forger.token(header={"kid": kid}, key=key))


async def test_the_discovery_document_of_another_issuer_is_not_believed(
    verifier: Verifier, forger: Any, issuer: Any
) -> None:
    issuer.discovery["issuer"] = "http://127.0.0.1:9999"
    with pytest.raises(TransientError):
        await verifier.verify(forger.token())
    assert issuer.fetches == 0


async def test_keys_are_fetched_where_the_issuer_is_reached(issuer: Any, forger: Any, clock: SetClock) -> None:
    issuer.discovery = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(issuer)) as http:
        inside = "http://keycloak:8080/.well-known/openid-configuration"
        await Verifier(ISSUER, discovery_url=inside, http=http, clock=clock).verify(forger.token())
    assert issuer.asked == ["keycloak:8080/.well-known/openid-configuration", "keycloak:8080/jwks"]


async def test_a_start_without_the_issuer_uses_the_keys_on_disk(
    http: httpx2.AsyncClient, issuer: Any, forger: Any, clock: SetClock, tmp_path: Path
) -> None:
    file = tmp_path / "jwks.json"

    def verifier() -> Verifier:
        return Verifier(ISSUER, discovery_url=DISCOVERY, http=http, clock=clock, keys_file=file)

    await verifier().verify(forger.token())
    issuer.status = 503
    await verifier().verify(forger.token())
    assert json.loads(file.read_text())["keys"][0]["kid"] == "first"
    file.write_text("{")
    with pytest.raises(TransientError):
        await verifier().verify(forger.token())


async def test_the_background_keeps_keys_fresh(verifier: Verifier, forger: Any, issuer: Any) -> None:
    running = asyncio.create_task(verifier.run())
    while not verifier.keys.ready:
        await asyncio.sleep(0.005)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await verifier.verify(forger.token())
    assert issuer.fetches == 1


async def test_fetches_are_counted_by_outcome(
    http: httpx2.AsyncClient, issuer: Any, forger: Any, clock: SetClock
) -> None:
    telemetry = Telemetry("gateway")
    verifier = Verifier(ISSUER, discovery_url=DISCOVERY, http=http, clock=clock, telemetry=telemetry)
    await verifier.verify(forger.token())
    issuer.status = 503
    await verifier.keys.refresh()
    text = telemetry.prometheus().decode()
    assert 'amparo_jwks_fetches_total{outcome="fetched"} 1.0' in text
    assert 'amparo_jwks_fetches_total{outcome="failed"} 1.0' in text
