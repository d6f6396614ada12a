from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from amparo_common.inert import inert_address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://chat.example.com/room/4", "hxxps://chat[.]example[.]com/room/4"),
        ("http://example.org", "hxxp://example[.]org"),
        ("HTTPS://Chat.Example.com:8443/a.b?c.d#e.f", "hxxps://Chat[.]Example[.]com:8443/a.b?c.d#e.f"),
        ("hxxps://chat[.]example[.]com/room/4", "hxxps://chat[.]example[.]com/room/4"),
        ("https://user@192.0.2.7/x", "hxxps://user@192[.]0[.]2[.]7/x"),
        ("chat.example.com/room", "chat[.]example[.]com/room"),
        ("ftp://files.example.net", "fxp://files[.]example[.]net"),
    ],
)
def test_an_address_is_shown_so_that_nothing_opens_it(address, shown):
    assert inert_address(address) == shown


@given(host=st.from_regex(r"[a-z]{1,8}(\.[a-z]{2,8}){1,3}", fullmatch=True), path=st.text(max_size=20))
def test_no_web_address_stays_alive(host, path):
    assert f"https://{host}" not in inert_address(f"https://{host}/{path}")
    assert inert_address(f"https://{host}/{path}").endswith(f"/{path}")
