from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest

from amparo_gateway.ide import page

FIELDS = {"input", "textarea"}


class Read(HTMLParser):
    """Collects tags, and the text of styles and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        self.inside[self._open] = self.inside.get(self._open, "") + data

    def handle_endtag(self, tag):
        self._open = ""


@pytest.fixture(params=[True, False], ids=["with sign-in", "without"])
def shown(request):
    return page(with_sign_in=request.param)


def test_the_policy_lets_the_pages_own_style_and_script_run_and_nothing_else(shown):
    read = Read(shown.html)
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        digest = b64encode(hashlib.sha256(read.inside[tag].encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in shown.policy
    assert shown.policy.startswith("default-src 'none'")
    assert "unsafe" not in shown.policy
    assert "http" not in shown.policy


def test_nothing_is_loaded_from_anywhere_and_no_handler_or_style_stands_in_a_tag(shown):
    for tag, attributes in Read(shown.html).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert not {"src", "style", "action"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://", shown.html)


def test_every_field_has_its_label_and_the_page_its_landmarks(shown):
    tags = Read(shown.html).tags
    labelled = {attributes["for"] for tag, attributes in tags if tag == "label"}
    assert {attributes["id"] for tag, attributes in tags if tag in FIELDS} == labelled
    names = [tag for tag, _ in tags]
    assert (names.count("h1"), names.count("main")) == (1, 1)
    assert ("html", {"lang": "en"}) in tags


def test_no_word_says_what_the_platform_is_about(shown):
    read = " ".join(text for tag, text in Read(shown.html).inside.items() if tag != "script")
    assert "Graph explorer" in read
    assert not re.search(r"child|abuse|incident|report", read, re.IGNORECASE)


def test_a_password_is_asked_for_where_the_issuer_takes_one_only():
    assert 'id="password"' in page(with_sign_in=True).html
    assert 'id="password"' not in page(with_sign_in=False).html
