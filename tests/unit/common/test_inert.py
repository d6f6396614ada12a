"""No address that people are shown can be opened by a click or a paste."""

from __future__ import annotations

import pytest

from amparo_common.inert import inert, inert_everywhere


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://chat.example.com/room/4", "hxxps://chat[.]example[.]com/room/4"),
        ("HTTP://Chat.Example.com:8080/a.b?c=d.e#f", "hxxp://Chat[.]Example[.]com:8080/a.b?c=d.e#f"),
        (
            "look: (https://a.example.org) and http://b.example.net.",
            "look: (hxxps://a[.]example[.]org) and hxxp://b[.]example[.]net[.]",
        ),
        ("ftp://files.example.com/x", "fxp://files[.]example[.]com/x"),
        ("wss://live.example.com", "wxss://live[.]example[.]com"),
        ("hxxps://chat.example.com/", "hxxps://chat[.]example[.]com/"),
        ("https://u:p@chat.example.com", "hxxps://u:p@chat[.]example[.]com"),
        ("no address, 3.5 of them. None.", "no address, 3.5 of them. None."),
    ],
)
def test_an_address_in_a_text_is_made_inert_and_nothing_else_changes(text: str, shown: str) -> None:
    assert inert(text) == shown
    assert inert(shown) == shown


def test_a_json_value_is_made_inert_however_deep() -> None:
    value = {"reports": [{"urls": ("https://a.example.com",), "n": 1, "none": None}], "https://key.example.com": True}
    assert inert_everywhere(value) == {
        "reports": [{"urls": ["hxxps://a[.]example[.]com"], "n": 1, "none": None}],
        "https://key.example.com": True,
    }
