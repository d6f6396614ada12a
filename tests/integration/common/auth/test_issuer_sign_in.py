"""The code flow: a sign-in page that gives nothing away and a code that works once, for whom it was made."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode, urlsafe_b64encode
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from amparo_common.auth.issuer.issuer import Issuer
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SetClock

pytestmark = pytest.mark.anyio

VERIFIER = "v" * 64
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
BACK = "http://127.0.0.1:8080/callback"
ASKED = {
    "client_id": "amparo-console",
    "redirect_uri": BACK,
    "response_type": "code",
    "scope": "openid",
    "state": 'st"<&>',
    "nonce": "n-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


async def signed(http: httpx2.AsyncClient, **changed: str) -> httpx2.Response:
    return await http.post("/authorize", data=ASKED | {"username": "triager", "password": "triager"} | changed)


async def code(http: httpx2.AsyncClient) -> str:
    return parse_qs(urlsplit((await signed(http)).headers["location"]).query)["code"][0]


async def exchanged(http: httpx2.AsyncClient, made: str, **changed: str) -> httpx2.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": "amparo-console",
        "code": made,
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
    }
    return await http.post("/token", data=form | changed)


class _Page(HTMLParser):
    """Collects what the page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


async def test_a_person_signs_in_and_the_console_gets_a_token(http: httpx2.AsyncClient, verifier: Verifier) -> None:
    reply = await signed(http)
    assert reply.status_code == 303
    query = parse_qs(urlsplit(reply.headers["location"]).query)
    assert reply.headers["location"].startswith(f"{BACK}?")
    assert query["state"] == [ASKED["state"]]
    assert query["iss"] == ["http://127.0.0.1:8089"]
    answer = (await exchanged(http, query["code"][0])).json()
    principal = await verifier.verify(answer["access_token"])
    assert (principal.name, principal.azp) == ("triager", "amparo-console")
    assert answer["id_token"]


async def test_a_code_works_once(http: httpx2.AsyncClient) -> None:
    made = await code(http)
    assert (await exchanged(http, made)).status_code == 200
    assert (await exchanged(http, made)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": "w" * 64},
        {"code_verifier": CHALLENGE},
        {"redirect_uri": "http://127.0.0.1:8081/callback"},
        {"code": "guess"},
    ],
)
async def test_a_code_is_spent_by_a_wrong_exchange(changed: dict[str, str], http: httpx2.AsyncClient) -> None:
    made = await code(http)
    assert (await exchanged(http, made, **changed)).json()["error"] == "invalid_grant"
    assert ((await exchanged(http, made)).status_code == 200) == ("code" in changed)


async def test_a_code_ends_after_a_minute(http: httpx2.AsyncClient, clock: SetClock) -> None:
    made = await code(http)
    clock.move(timedelta(seconds=60))
    assert (await exchanged(http, made)).json()["error"] == "invalid_grant"


async def test_a_user_disabled_meanwhile_gets_no_token(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    made = await code(http)
    await issuer.users.disable("triager")
    assert (await exchanged(http, made)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example.com/callback",
        "http://127.0.0.1.example.com:8080/callback",
        "http://127.0.0.1:8080@evil.example.com/callback",
        "http://evil.example.com#@127.0.0.1/callback",
        "http://127.0.0.1:8080/callback/",
        "http://127.0.0.1:8080/callback?next=https://evil.example.com",
        "http://127.0.0.1:8080/callback#x",
        "http://127.0.0.1:8080//evil.example.com",
        "http://127.0.0.1:8080/../callback",
        "http://127.0.0.1:8080\\@evil.example.com/callback",
        "https://127.0.0.1:8080/callback",
        "javascript:alert(1)",
        "HTTP://127.0.0.1:8080/callback",
        "http://127.0.0.1:99999/callback",
        "http://[::1/callback",
        "",
    ],
)
async def test_an_address_that_is_not_listed_gets_no_answer(uri: str, http: httpx2.AsyncClient) -> None:
    for reply in (
        await http.get("/authorize", params=ASKED | {"redirect_uri": uri}),
        await signed(http, redirect_uri=uri),
    ):
        assert reply.status_code == 400
        assert "location" not in reply.headers
        assert not _Page(reply.text).all("form")


@pytest.mark.parametrize("host", ["127.0.0.1:18080", "localhost:8380", "[::1]:8080"])
async def test_the_console_may_be_on_any_loopback_port(host: str, http: httpx2.AsyncClient) -> None:
    reply = await http.get("/authorize", params=ASKED | {"redirect_uri": f"http://{host}/callback"})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
    ],
)
async def test_other_flows_are_refused_towards_the_client(
    changed: dict[str, str], error: str, http: httpx2.AsyncClient
) -> None:
    reply = await http.get("/authorize", params=ASKED | changed)
    assert reply.status_code == 303
    assert parse_qs(urlsplit(reply.headers["location"]).query)["error"] == [error]


@pytest.mark.parametrize("client", ["amparo-cli", "amparo-service", "nobody"])
async def test_other_clients_have_no_sign_in(client: str, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/authorize", params=ASKED | {"client_id": client})).status_code == 400


async def test_the_page_has_labels_and_nothing_from_elsewhere(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/authorize", params=ASKED)
    page = _Page(reply.text)
    asked = {field["id"] for field in page.all("input") if field.get("type") != "hidden"}
    assert asked == {label["for"] for label in page.all("label")} == {"username", "password"}
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "img", "iframe", "object"}]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert "width=device-width" in reply.text
    assert page.all("html") == [{"lang": "en"}]
    assert not re.search("amparo|child|report", re.sub(r'value="[^"]*"', "", reply.text), re.IGNORECASE)


async def test_the_policy_lets_the_form_lead_to_the_client_alone(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/authorize", params=ASKED)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:8080;" in policy
    assert "frame-ancestors 'none'" in policy
    style = re.search("<style>(.*)</style>", reply.text, re.DOTALL)
    assert style
    allowed = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{allowed}'" in policy
    assert reply.headers["cache-control"] == "no-store"


async def test_what_was_asked_is_written_inert(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/authorize", params=ASKED | {"state": '"><script>alert(1)</script>'})
    assert "<script" not in reply.text
    hidden = {
        field["name"]: field["value"] for field in _Page(reply.text).all("input") if field.get("type") == "hidden"
    }
    assert hidden["state"] == '"><script>alert(1)</script>'


async def test_a_wrong_password_shows_the_form_again_and_says_so(http: httpx2.AsyncClient) -> None:
    reply = await signed(http, password="wrong", username='"><b>')
    assert reply.status_code == 400
    page = _Page(reply.text)
    assert page.all("p") == [{"role": "alert", "id": "wrong"}]
    assert not page.all("b")
    assert not [field for field in page.all("input") if field.get("value") == "wrong"]


@pytest.mark.parametrize(
    ("accepted", "title"), [("es-BO,en", "Iniciar sesión"), ("fr", "Connexion"), ("qu,xx", "Sign in")]
)
async def test_the_page_speaks_the_readers_language(accepted: str, title: str, http: httpx2.AsyncClient) -> None:
    reply = await http.get("/authorize", params=ASKED, headers={"accept-language": accepted})
    assert f"<title>{title}</title>" in reply.text
