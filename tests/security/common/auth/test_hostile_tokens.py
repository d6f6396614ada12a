"""No token that anybody but the issuer made, or made for something else, is ever accepted."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from amparo_common.auth.verifier import TokenError, Verifier
from amparo_common.clock import SetClock
from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio

NOW = 1795521600  # noon of 24 November 2026, as the clock of these tests stands
MINUTE = 60
Forge = Callable[[Any, rsa.RSAPrivateKey], str]


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(forger: Any, **header: Any) -> str:
    """Header and claims of a good token, with `header` changed, up to the second dot."""
    written = {"alg": "RS256", "typ": "JWT", "kid": "first"} | header
    kept = {name: value for name, value in written.items() if value is not ...}
    return f"{b64(json.dumps(kept).encode())}.{b64(json.dumps(forger.claims()).encode())}"


def with_public_key_as_secret(forger: Any, algorithm: str) -> str:
    pem = forger.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = unsigned(forger, alg=algorithm)
    return f"{signed}.{b64(hmac.new(pem, signed.encode(), f'sha{algorithm[2:]}').digest())}"


def with_rsa_of(forger: Any, algorithm: str, digest: hashes.HashAlgorithm) -> str:
    signed = unsigned(forger, alg=algorithm)
    return f"{signed}.{b64(forger.key.sign(signed.encode(), padding.PKCS1v15(), digest))}"


def with_pss(forger: Any) -> str:
    signed = unsigned(forger, alg="PS256")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return f"{signed}.{b64(forger.key.sign(signed.encode(), pss, hashes.SHA256()))}"


def with_curve(forger: Any) -> str:
    signed = unsigned(forger, alg="ES256")
    return f"{signed}.{b64(ec.generate_private_key(ec.SECP256R1()).sign(signed.encode(), ec.ECDSA(hashes.SHA256())))}"


def with_edwards(forger: Any) -> str:
    signed = unsigned(forger, alg="EdDSA")
    return f"{signed}.{b64(ed25519.Ed25519PrivateKey.generate().sign(signed.encode()))}"


def with_own_key_in_header(forger: Any, other: rsa.RSAPrivateKey, name: str) -> str:
    numbers = other.public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": "first", "n": b64(numbers.n.to_bytes(256)), "e": "AQAB"}
    return forger.token(header={name: jwk if name == "jwk" else "https://evil.example.com/jwks"}, key=other)


def with_header_text(forger: Any, text: str) -> str:
    _, payload, signature = forger.token().split(".")
    return f"{b64(text.encode())}.{payload}.{signature}"


def with_other_claims_under_the_signature(forger: Any) -> str:
    header, _, signature = forger.token().split(".")
    return f"{header}.{b64(json.dumps(forger.claims(realm_access={'roles': ['admin']})).encode())}.{signature}"


def claims(**changed: Any) -> Forge:
    return lambda forger, _: forger.token(**changed)


def header(**changed: Any) -> Forge:
    return lambda forger, _: forger.token(header=changed)


def parts(change: Callable[[list[str]], str]) -> Forge:
    return lambda forger, _: change(forger.token().split("."))


HOSTILE: dict[str, Forge] = {
    "alg none, no signature": lambda f, _: unsigned(f, alg="none") + ".",
    "alg none, some signature": lambda f, _: unsigned(f, alg="none") + ".AAAA",
    "alg None in other letters": lambda f, _: unsigned(f, alg="nOnE") + ".AAAA",
    "alg missing": header(alg=...),
    "alg null": header(alg=None),
    "alg a list": header(alg=["RS256"]),
    "alg twice, the last none": lambda f, _: with_header_text(f, '{"kid":"first","alg":"RS256","alg":"none"}'),
    "HS256 with the public key": lambda f, _: with_public_key_as_secret(f, "HS256"),
    "HS512 with the public key": lambda f, _: with_public_key_as_secret(f, "HS512"),
    "RS384 with the right key": lambda f, _: with_rsa_of(f, "RS384", hashes.SHA384()),
    "RS512 with the right key": lambda f, _: with_rsa_of(f, "RS512", hashes.SHA512()),
    "RS256 over SHA-1": lambda f, _: with_rsa_of(f, "RS256", hashes.SHA1()),  # noqa: S303
    "PS256 with the right key": lambda f, _: with_pss(f),
    "ES256": lambda f, _: with_curve(f),
    "EdDSA": lambda f, _: with_edwards(f),
    "kid missing": header(kid=...),
    "kid null": header(kid=None),
    "kid a number": header(kid=1),
    "kid empty": header(kid=""),
    "kid unknown": header(kid="second"),
    "kid a path": header(kid="../../../../dev/null"),
    "kid of 300 characters": header(kid="k" * 300),
    "crit": header(crit=["b64"], b64=False),
    "header type JWE": header(typ="JWE"),
    "own key in the header": lambda f, other: with_own_key_in_header(f, other, "jwk"),
    "own key behind jku": lambda f, other: with_own_key_in_header(f, other, "jku"),
    "own key behind x5u": lambda f, other: with_own_key_in_header(f, other, "x5u"),
    "header a list": lambda f, _: with_header_text(f, '["RS256"]'),
    "header no JSON": lambda f, _: with_header_text(f, '{"alg":'),
    "header nested 2000 deep": lambda f, _: with_header_text(f, "[" * 2000),
    "header no base64": parts(lambda p: f"*{p[0]}.{p[1]}.{p[2]}"),
    "another's key, the right kid": lambda f, other: f.token(key=other),
    "other claims under the signature": lambda f, _: with_other_claims_under_the_signature(f),
    "signature cut short": parts(lambda p: f"{p[0]}.{p[1]}.{p[2][:-4]}"),
    "signature empty": parts(lambda p: f"{p[0]}.{p[1]}."),
    "signature of zeros": parts(lambda p: f"{p[0]}.{p[1]}.{b64(bytes(256))}"),
    "no signature at all": parts(lambda p: f"{p[0]}.{p[1]}"),
    "a fourth part": parts(lambda p: ".".join([*p, p[2]])),
    "five parts": parts(lambda p: ".".join([*p, p[1], p[2]])),
    "a space inside": parts(lambda p: f"{p[0]}. {p[1]}.{p[2]}"),
    "a NUL behind": parts(lambda p: ".".join(p) + "\x00"),
    "a letter outside ASCII": parts(lambda p: ".".join(p) + "é"),
    "nothing": lambda _, __: "",
    "dots": lambda _, __: "..",
    "one megabyte": lambda _, __: "a." * 500_000,
    "signed, over 8 KiB": claims(padding="x" * 8192),
    "payload no JSON": lambda f, _: f.raw(b"{"),
    "payload a list": lambda f, _: f.raw(b"[]"),
    "payload nested 2000 deep": lambda f, _: f.raw(b"[" * 2000),
    "payload not UTF-8": lambda f, _: f.raw(b'{"iss":"\xff"}'),
    "iss another": claims(iss="http://127.0.0.1:8090"),
    "iss with a slash more": claims(iss="http://127.0.0.1:8089/"),
    "iss missing": claims(iss=...),
    "iss a list": claims(iss=["http://127.0.0.1:8089"]),
    "aud another": claims(aud="account"),
    "aud a longer name": claims(aud="amparo-console"),
    "aud missing": claims(aud=...),
    "aud a list without us": claims(aud=["account", "broker"]),
    "aud an object": claims(aud={"amparo": True}),
    "exp past": claims(exp=NOW - 31),
    "exp missing": claims(exp=...),
    "exp null": claims(exp=None),
    "exp text": claims(exp=str(NOW + MINUTE)),
    "exp true": claims(exp=True),
    "exp not a number": claims(exp=float("nan")),
    "exp endless": claims(exp=float("inf")),
    "exp beyond any calendar": claims(exp=10**30),
    "exp negative": claims(exp=-1),
    "nbf to come": claims(nbf=NOW + 31),
    "nbf text": claims(nbf="now"),
    "iat to come": claims(iat=NOW + 31),
    "typ ID": claims(typ="ID"),
    "typ Refresh": claims(typ="Refresh"),
    "typ in small letters": claims(typ="bearer"),
    "typ missing": claims(typ=...),
    "azp unknown": claims(azp="account-console"),
    "azp missing": claims(azp=...),
    "azp a list": claims(azp=["amparo-cli"]),
    "sub missing": claims(sub=...),
    "sub empty": claims(sub=""),
    "sub a number": claims(sub=7),
    "sub with a line break": claims(sub="a\nb"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_token_is_refused(
    name: str, verifier: Verifier, forger: Any, issuer: Any, other_key: rsa.RSAPrivateKey
) -> None:
    await verifier.verify(forger.token())
    with pytest.raises(TokenError) as refused:
        await verifier.verify(HOSTILE[name](forger, other_key))
    assert refused.value.reason.replace("-", "").isalpha()
    assert issuer.fetches <= 2
    assert not [address for address in issuer.asked if "evil" in address]


def test_the_table_is_long_enough() -> None:
    assert len(HOSTILE) >= 40


ACCEPTED: dict[str, Forge] = {
    "as the issuer makes it": claims(),
    "aud a list with us": claims(aud=["account", "amparo"]),
    "exp within the leeway": claims(exp=NOW - 29),
    "nbf within the leeway": claims(nbf=NOW + 29),
    "header type of RFC 9068": header(typ="at+jwt"),
}


@pytest.mark.parametrize("name", ACCEPTED)
async def test_a_good_token_is_accepted(name: str, verifier: Verifier, forger: Any, rsa_key: rsa.RSAPrivateKey) -> None:
    principal = await verifier.verify(ACCEPTED[name](forger, rsa_key))
    assert principal.name == "triager"
    assert principal.roles == {Role.TRIAGER}
    assert principal.countries == {"BO", "GT"}


async def test_a_person_with_the_role_service_is_no_service(verifier: Verifier, forger: Any) -> None:
    both = {"roles": ["service", "triager"]}
    person = await verifier.verify(forger.token(realm_access=both))
    client = await verifier.verify(
        forger.token(realm_access=both, azp="amparo-service", preferred_username="service-account-amparo-service")
    )
    assert Role.SERVICE not in person.roles
    assert Role.SERVICE in client.roles


@pytest.mark.parametrize("roles", [None, "admin", {"admin": True}, [["admin"]], ["ADMIN", "anonymous", 7]])
async def test_roles_of_another_shape_are_no_roles(roles: Any, verifier: Verifier, forger: Any) -> None:
    principal = await verifier.verify(forger.token(realm_access={"roles": roles}))
    assert principal.roles == frozenset()


@pytest.mark.parametrize("countries", [..., None, {}, [7], [""]])
async def test_without_countries_no_country_is_seen(countries: Any, verifier: Verifier, forger: Any) -> None:
    principal = await verifier.verify(forger.token(countries=countries))
    assert not principal.sees_country("BO")


async def test_a_remembered_token_ends_with_its_own_end(verifier: Verifier, forger: Any, clock: SetClock) -> None:
    token = forger.token(exp=NOW + 20)
    await verifier.verify(token)
    clock.move(timedelta(seconds=51))
    with pytest.raises(TokenError, match="exp"):
        await verifier.verify(token)


async def test_a_token_is_remembered_by_its_whole_text(verifier: Verifier, forger: Any) -> None:
    token = forger.token()
    await verifier.verify(token)
    for index in range(len(token) - 342, len(token) - 2, 20):
        changed = token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]
        with pytest.raises(TokenError):
            await verifier.verify(changed)


async def test_the_token_does_not_show_in_what_is_printed(verifier: Verifier, forger: Any) -> None:
    token = forger.token()
    principal = await verifier.verify(token)
    assert principal.token == token
    assert token not in repr(principal)
    assert hashlib.sha256(token.encode()).hexdigest() not in repr(principal)
