"""The built-in issuer gives tokens for passwords and client secrets, shaped as Keycloak shapes them."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode, urlsafe_b64decode
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from amparo_common.auth.client_secrets import client_secrets
from amparo_common.auth.issuer.demo import CLIENT_SECRETS, USERS
from amparo_common.auth.issuer.issuer import Issuer
from amparo_common.auth.verifier import TokenError, Verifier
from amparo_common.clock import SetClock
from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio

URL = "http://127.0.0.1:8089"


def password_form(name: str, password: str, **more: str) -> dict[str, str]:
    return {"grant_type": "password", "client_id": "amparo-cli", "username": name, "password": password, **more}


def client_form(client: str, secret: str, **more: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, **more}


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))))


async def token(http: httpx2.AsyncClient, form: dict[str, str]) -> str:
    reply = await http.post("/token", data=form)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["access_token"])


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.name)
async def test_every_demo_user_signs_in_with_its_name(user: Any, http: httpx2.AsyncClient, verifier: Verifier) -> None:
    principal = await verifier.verify(await token(http, password_form(user.name, user.name, scope="openid")))
    assert principal.roles == {user.role}
    assert principal.name == user.name
    assert principal.countries == set(user.countries)
    assert principal.organisation == user.organisation
    assert principal.subject == str(user.id)


async def test_claims_are_those_of_keycloak(http: httpx2.AsyncClient) -> None:
    claims = claims_of(await token(http, password_form("partner", "partner")))
    assert claims["iss"] == URL
    assert claims["aud"] == "amparo"
    assert claims["azp"] == "amparo-cli"
    assert claims["typ"] == "Bearer"
    assert claims["realm_access"] == {"roles": ["partner"]}
    assert claims["organisation"] == "demo-hotline"
    assert 300 <= claims["exp"] - claims["iat"] <= 900
    assert {"sub", "jti", "preferred_username", "countries"} <= set(claims)


async def test_an_identity_token_is_no_bearer_token(http: httpx2.AsyncClient, verifier: Verifier) -> None:
    reply = await http.post("/token", data=password_form("agent", "agent", scope="openid"))
    with pytest.raises(TokenError):
        await verifier.verify(reply.json()["id_token"])


@pytest.mark.parametrize("name", ["triager", "nobody", "", "service-account-amparo-service"])
async def test_a_wrong_password_is_refused_with_the_same_words(name: str, http: httpx2.AsyncClient) -> None:
    reply = await http.post("/token", data=password_form(name or " ", "not-the-password"))
    assert reply.status_code == 400
    assert reply.json() == {"error": "invalid_grant", "error_description": "The name or the password is wrong."}
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("client", CLIENT_SECRETS)
async def test_a_client_gets_its_own_roles_only(client: str, http: httpx2.AsyncClient, verifier: Verifier) -> None:
    asked = client_form(client, CLIENT_SECRETS[client], scope="openid admin supervisor", roles="admin")
    principal = await verifier.verify(await token(http, asked))
    expected = {"amparo-service": Role.SERVICE, "amparo-reporter-app": Role.REPORTER_APP}
    assert principal.roles == {expected.get(client, Role.INTEGRATOR)}
    assert principal.is_client


async def test_an_integrating_client_owns_by_its_client_id(http: httpx2.AsyncClient, verifier: Verifier) -> None:
    form = client_form("amparo-integrator", CLIENT_SECRETS["amparo-integrator"])
    assert (await verifier.verify(await token(http, form))).owner == "integrator:amparo-integrator"


async def test_a_client_may_prove_itself_by_basic(http: httpx2.AsyncClient) -> None:
    credentials = b64encode(b"amparo-service:amparo-service-demo").decode()
    headers = {"authorization": f"Basic {credentials}"}
    reply = await http.post("/token", data={"grant_type": "client_credentials"}, headers=headers)
    assert reply.status_code == 200


REFUSED = {
    "wrong secret": (client_form("amparo-service", "guess"), 401, "invalid_client"),
    "no secret": ({"grant_type": "client_credentials", "client_id": "amparo-service"}, 401, "invalid_client"),
    "unknown client": (client_form("amparo-unknown", "x"), 401, "invalid_client"),
    "a public client for itself": (
        {"grant_type": "client_credentials", "client_id": "amparo-cli"}, 400, "unauthorized_client",
    ),
    "a secret of a public client": (client_form("amparo-cli", "x"), 401, "invalid_client"),
    "password at the console's client": (
        password_form("agent", "agent") | {"client_id": "amparo-console"}, 400, "unauthorized_client",
    ),
    "password at the service's client": (
        password_form("agent", "agent", client_secret="amparo-service-demo") | {"client_id": "amparo-service"},
        400,
        "unauthorized_client",
    ),
    "refresh": ({"grant_type": "refresh_token", "client_id": "amparo-cli"}, 400, "unsupported_grant_type"),
    "implicit": ({"grant_type": "implicit", "client_id": "amparo-cli"}, 400, "unsupported_grant_type"),
    "no grant": ({"client_id": "amparo-cli"}, 400, "unsupported_grant_type"),
    "no password": (
        {"grant_type": "password", "client_id": "amparo-cli", "username": "agent"}, 400, "invalid_request",
    ),
    "a field too long": (password_form("agent", "x" * 2000), 400, "invalid_request"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_oauth_refuses_is_refused_by_its_code(name: str, http: httpx2.AsyncClient) -> None:
    form, status, error = REFUSED[name]
    reply = await http.post("/token", data=form)
    assert (reply.status_code, reply.json()["error"]) == (status, error)
    assert ("www-authenticate" in reply.headers) == (status == 401)


@pytest.mark.parametrize("body", [b"grant_type=password&grant_type=password", b"\xff\xfe", b"a=" + b"b" * 20_000])
async def test_a_form_that_cannot_be_read_is_refused(body: bytes, http: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert (await http.post("/token", content=body, headers=headers)).status_code in {400, 413}


async def test_json_is_no_form(http: httpx2.AsyncClient) -> None:
    assert (await http.post("/token", json=password_form("agent", "agent"))).status_code == 415


async def test_guessing_grows_slow_while_the_right_password_never_waits(
    http: httpx2.AsyncClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def noted(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("amparo_common.auth.issuer.issuer.asyncio.sleep", noted)
    for _ in range(10):
        assert (await http.post("/token", data=password_form("auditor", "guess"))).status_code == 400
    assert pauses == [0, 0, 0, 0, 0, 0.25, 0.5, 1.0, 2.0, 2.0]
    assert (await http.post("/token", data=password_form("auditor", "auditor"))).status_code == 200
    assert len(pauses) == 10


async def test_many_guesses_at_once_are_told_to_slow_down(http: httpx2.AsyncClient) -> None:
    replies = await asyncio.gather(*(http.post("/token", data=password_form("admin", "guess")) for _ in range(16)))
    statuses = {reply.status_code for reply in replies}
    assert statuses == {400, 429}
    assert all(reply.headers["retry-after"] == "1" for reply in replies if reply.status_code == 429)
    assert (await http.post("/token", data=password_form("admin", "admin"))).status_code == 200


async def test_another_host_name_is_not_served(http: httpx2.AsyncClient) -> None:
    for path in ("/.well-known/openid-configuration", "/jwks", "/authorize"):
        reply = await http.get(path, headers={"host": "rebound.example.com:8089"})
        assert reply.status_code == 421
        assert reply.headers["content-type"] == "application/problem+json"


async def test_discovery_names_what_is_there(http: httpx2.AsyncClient) -> None:
    document = (await http.get("/.well-known/openid-configuration")).json()
    assert document["issuer"] == URL
    keys = (await http.get(document["jwks_uri"])).json()["keys"]
    assert [(key["kty"], key["alg"], key["use"]) for key in keys] == [("RSA", "RS256", "sig")]
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(keys[0])
    assert len(urlsafe_b64decode(keys[0]["n"] + "==")) == 256


@pytest.mark.parametrize(
    "url", ["http://0.0.0.0:8089", "http://10.0.0.1:8089", "http://id.example.com", "http://[::]:1"]
)
def test_the_issuer_serves_loopback_only(url: str, tmp_path: Path, clock: SetClock) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Issuer.open(tmp_path, url=url, demo=True, clock=clock)
    assert not list(tmp_path.iterdir())


async def test_rotation_refuses_no_valid_token(
    http: httpx2.AsyncClient, issuer: Issuer, verifier: Verifier, clock: SetClock
) -> None:
    old = await token(http, password_form("agent", "agent"))
    await verifier.verify(old)
    fresh = issuer.keys.rotate(now=clock.now())
    assert await token(http, password_form("agent", "agent")) != old
    assert issuer.keys.signing(now=clock.now()).kid != fresh.kid
    clock.move(timedelta(minutes=9, seconds=59))
    await verifier.verify(old)
    clock.move(timedelta(seconds=2))
    new = await token(http, password_form("agent", "agent"))
    assert issuer.keys.signing(now=clock.now()).kid == fresh.kid
    await verifier.verify(new)
    await verifier.verify(old)


async def test_a_key_goes_once_nothing_depends_on_it(issuer: Issuer, clock: SetClock) -> None:
    first = issuer.keys.public()[0]["kid"]
    issuer.keys.rotate(now=clock.now())
    clock.move(timedelta(hours=1))
    issuer.keys.rotate(now=clock.now())
    assert first not in [key["kid"] for key in issuer.keys.public()]
    assert len(issuer.keys.public()) == 2


async def test_an_old_key_is_rotated_at_the_next_start(directory: Path, clock: SetClock) -> None:
    clock.move(timedelta(days=91))
    issuer = Issuer.open(directory, url=URL, demo=True, clock=clock)
    assert len(issuer.keys.public()) == 2


async def test_a_restart_keeps_keys_and_subjects(
    directory: Path, clock: SetClock, http: httpx2.AsyncClient, verifier: Verifier
) -> None:
    token_before = await token(http, password_form("agent", "agent"))
    again = Issuer.open(directory, url=URL, demo=True, clock=clock)
    assert again.keys.public()[0]["kid"] == json.loads((directory / "signing-keys.json").read_text())["keys"][0]["kid"]
    assert (await verifier.verify(token_before)).subject == str((await again.check_password("agent", "agent")).id)


def test_files_are_private(directory: Path, clock: SetClock, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    Issuer.open(fresh, url=URL, demo=False, clock=clock)
    modes = {file.name: file.stat().st_mode & 0o777 for file in fresh.iterdir() if file.suffix == ".json"}
    assert modes == {"signing-keys.json": 0o600, "client-secrets.json": 0o600}
    assert fresh.stat().st_mode & 0o077 == 0
    (fresh / "signing-keys.json").chmod(0o644)
    with pytest.raises(PermissionError):
        Issuer.open(fresh, url=URL, demo=False, clock=clock)


async def test_outside_demo_neither_demo_users_nor_demo_secrets_open_anything(directory: Path, clock: SetClock) -> None:
    issuer = Issuer.open(directory, url=URL, demo=False, clock=clock)
    assert await issuer.users.list() == []
    assert await issuer.users.signed_in("admin", "admin") is None
    secrets = client_secrets(directory, demo=False)
    assert not set(secrets.values()) & set(CLIENT_SECRETS.values())
    assert secrets == client_secrets(directory, demo=False)
