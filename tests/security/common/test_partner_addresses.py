"""Nobody turns the platform against its own network through a partner's address."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from amparo_common.http import AddressJudge, AddressRefusedError, GuardedClient

pytestmark = pytest.mark.anyio

HOSTILE = [
    # not https
    "http://partner.example.org:443/", "http://partner.example.org:8443/", "http://8.8.8.8:443/",
    "http://partner.example.org/", "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:1/",
    "file:///etc/passwd", "gopher://partner.example.org/", "ftp://partner.example.org/", "dict://127.0.0.1:11211/stat",
    "javascript:alert(1)", "data:text/plain,a", "ldap://partner.example.org/", "jar:https://partner.example.org/!/",
    "ws://partner.example.org/", "unix:///var/run/docker.sock", "https:partner.example.org",
    "https:/partner.example.org",
    "partner.example.org", "//partner.example.org/", "/hook", "", " ", "https", "https:", "https://", "https:///hook",
    # somebody else's host in disguise
    "https://user@partner.example.org/", "https://user:word@partner.example.org/", "https://@partner.example.org/",
    "https://partner.example.org@127.0.0.1/", "https://partner.example.org%40127.0.0.1/",
    "https://127.0.0.1#@partner.example.org/", "https://partner.example.org#@127.0.0.1/",
    "https://partner.example.org\\@127.0.0.1/", "https:\\\\127.0.0.1/", "https://127.0.0.1\\.partner.example.org/",
    "https://127.0.0.1?.partner.example.org/", "https://partner.example.org:443:22/", "https://[::1].partner.example.org/",
    "https://partner.example.org\t/", "https://partner.example.org\n.127.0.0.1/", "https://partner.example.org\x00/",
    "https:// partner.example.org/", "\x01https://partner.example.org/", "https://partner.example.org/a b",
    # IPv4 in every notation
    "https://127.0.0.1/", "https://127.1/", "https://127.0.1/", "https://0/", "https://0.0.0.0/", "https://2130706433/",
    "http://2130706433/", "https://0x7f000001/", "http://0x7f000001/", "https://0x7f.0.0.1/", "https://0x7f.1/",
    "https://0177.0.0.1/", "https://017700000001/", "https://127.0.0.0x1/", "https://127.0.0.1./", "https://00000127.0.0.1/",
    "https://134744072/", "https://0x08080808/", "https://8.8.2056/", "https://999.1.1.1/", "https://256.256.256.256/",
    "https://1.2.3.4.5/", "https://127%2e0%2e0%2e1/", "https://10.0.0.8/hook", "https://172.16.0.1/", "https://192.168.1.1/",
    "https://100.64.0.1/", "https://169.254.169.254/", "https://192.0.0.170/", "https://192.0.2.1/", "https://198.18.0.1/",
    "https://198.51.100.1/", "https://203.0.113.9/", "https://192.88.99.1/", "https://224.0.0.1/", "https://240.0.0.1/",
    "https://255.255.255.255/",
    # IPv6
    "https://[::1]/", "https://[::]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:169.254.169.254]/", "https://[::ffff:8.8.8.8]/", "https://[::127.0.0.1]/", "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[ff02::1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b:1::1]/", "https://[2001:db8::1]/",
    "https://[2001::1]/", "https://[2002:7f00:1::]/", "https://[3fff::1]/", "https://[100::1]/", "https://[5f00::1]/",
    "https://[fec0::1]/", "https://[::1", "https://::1/", "https://[127.0.0.1]/", "https://[]/", "https://[v1.a]/",
    "https://[8.8.8.8]/", "https://[2606:4700::1111/",
    # names of the inside
    "https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost/", "https://localhost.localdomain/",
    "https://metadata.google.internal/", "https://printer.local/", "https://router.lan/", "https://nas.home.arpa/",
    "https://intake/", "https://kafka:8443/", "https://hidden.onion/", "https://partner.example.org./",
    # no name
    "https://-a.example.org/", "https://a-.example.org/", "https://a..example.org/", "https://.example.org/",
    "https://a_b.example.org/", "https://a*.example.org/", "https://" + "a" * 64 + ".example.org/",
    "https://" + "a." * 130 + "example.org/", "https://%6cocalhost/",
    # letters that are another host after folding
    "https://\u2460\u2461\u2466.0.0.1/", "https://\uff11\uff12\uff17.0.0.1/", "https://127\u30020\u30020\u30021/",
    "https://ex\u00e4mple.org/", "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/", "https://partner.example.org\u2044@a/",
    # ports
    "https://partner.example.org:22/", "https://partner.example.org:80/", "https://partner.example.org:0/",
    "https://partner.example.org:65536/", "https://partner.example.org:8083/", "https://partner.example.org:-1/",
    "https://partner.example.org:443x/", "https://partner.example.org:\u0664\u0664\u0663/", "https://partner.example.org:/x:y@z",
    "https://partner.example.org/" + "a" * 2050, "https://partner.example.org/hook#part", "https://partner.example.org/#",
]  # fmt: skip

GOOD = [
    "https://partner.example.org",
    "https://partner.example.org/amparo",
    "HTTPS://Partner.Example.ORG/amparo?key=1",
    "https://partner.example.org:443/",
    "https://partner.example.org:8443/",
    "https://xn--exmple-cua.com/",
    "https://8.8.8.8/hook",
    "https://[2606:4700:4700::1111]:8443/hook",
    "https://a1.b-2.example.org/x%20y",
    "https://localhost.example.org/",
    "https://127.0.0.1.example.org/",
    "https://partner.example.org?hook=1",
    "https://partner.example.org/@user",
]


@pytest.mark.parametrize("url", HOSTILE, ids=repr)
async def test_a_hostile_address_is_refused_before_any_question_or_connection(
    url: str, dns: Any, connections: Any
) -> None:
    dns.answers = [["93.184.216.34"]]
    async with GuardedClient(resolver=dns) as client:
        reason = client.judge(url)
        with pytest.raises(AddressRefusedError) as caught:
            await client.post(url, body=b"{}", headers={}, timeout_s=2)
    assert reason == caught.value.reason
    assert len(url) < 9 or url not in str(caught.value), "the reason does not repeat the address"
    assert (dns.asked, connections) == ([], [])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://user:word@partner.example.org/", "user name"),
        ("http://partner.example.org/", "not https"),
        ("https://partner.example.org:22/", "port"),
        ("https://127.1/", "unusual notation"),
        ("https://10.0.0.8/", "public internet"),
        ("https://intake/", "local network"),
        ("https://ex\u00e4mple.org/", "punycode"),
    ],
)
def test_the_reason_helps_the_administrator_who_typed_it(url: str, words: str) -> None:
    assert words in (AddressJudge().judge(url) or "")


def test_there_are_enough_hostile_addresses_and_none_twice() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


@pytest.mark.parametrize("url", GOOD)
def test_an_ordinary_address_passes_without_dns(url: str) -> None:
    assert AddressJudge().judge(url) is None


INNER = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "100.100.100.200", "169.254.169.254", "172.31.255.255", # noqa: S104
    "192.168.0.1", "192.0.0.192", "198.19.0.1", "224.0.0.251", "239.255.255.250", "255.255.255.255", "240.1.1.1",
    "::1", "::",
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "fe80::1", "fe80::1%eth0",
    "fd00:ec2::254", "ff02::1", "2001:db8::1", "2002:a00:1::1", "2001:0:5ef5::1", "fec0::1", "localhost", "127.1",
    "0x7f000001",
    "", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("inner", INNER, ids=repr)
@pytest.mark.parametrize("others", [[], ["93.184.216.34"], ["93.184.216.34", "2606:2800:220:1::1"]], ids=len)
async def test_a_name_with_one_inner_address_among_its_answers_gets_no_connection(
    inner: str, others: list[str], dns: Any, connections: Any
) -> None:
    async with GuardedClient(resolver=dns) as client:
        for answer in ([*others, inner], [inner, *others]):
            dns.answers = [answer]
            with pytest.raises(AddressRefusedError):
                await client.post("https://rebind.example.org/", body=b"", headers={}, timeout_s=2)
    assert connections == []


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_an_ipv4_address_passes_in_its_one_notation_or_not_at_all(number: int, notation: int) -> None:
    ip = ipaddress.IPv4Address(number)
    octets = ip.packed
    written = [
        str(ip),
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(hex(octet) for octet in octets),
        ".".join(f"0{octet:o}" for octet in octets),
        f"{octets[0]}.{int.from_bytes(octets[1:])}",
    ][notation]
    reason = AddressJudge().judge(f"https://{written}/")
    if written != str(ip) or not ip.is_global or ip.is_multicast:
        assert reason is not None
    assert AddressJudge().judge(f"https://[::ffff:{ip}]/") is not None
    assert AddressJudge().judge(f"https://[64:ff9b::{ip}]/") is not None


@given(st.integers(0, 2**128 - 1))
def test_no_ipv6_address_passes_that_is_not_global_unicast(number: int) -> None:
    ip = ipaddress.IPv6Address(number)
    if AddressJudge().judge(f"https://[{ip}]/") is None:
        assert ip.is_global
        assert not ip.is_multicast
        assert number >> 125 == 1


@given(st.text(max_size=40))
def test_no_text_makes_the_judge_fail(text: str) -> None:
    judge = AddressJudge([("127.0.0.1", 80)])
    for url in (text, f"https://{text}", f"https://{text}/", f"https://partner.example.org{text}"):
        reason = judge.judge(url)
        assert reason is None or isinstance(reason, str)


ALLOWED = [("127.0.0.1", 9000), ("::1", 9000), ("partner", 9000), ("Demo.Internal", 9443), ("169.254.169.254", 80)]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/amparo",
        "https://127.0.0.1:9000/",
        "http://[::1]:9000/",
        "http://[0:0:0:0:0:0:0:1]:9000/",
        "http://partner:9000/",
        "HTTP://PARTNER:9000/",
        "https://demo.internal:9443/",
    ],
)
def test_an_allow_listed_pair_may_be_plain_http_and_on_own_ground(url: str) -> None:
    assert AddressJudge(ALLOWED).judge(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9001/",
        "http://127.0.0.2:9000/",
        "http://127.0.0.1/",
        "http://localhost:9000/",
        "http://127.1:9000/",
        "http://2130706433:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
        "http://user@127.0.0.1:9000/",
        "http://127.0.0.1:9000@evil.example.org/",
        "http://partner.example.org:9000/",
        "http://169.254.169.254/",
        "http://169.254.169.254:80/",
        "ftp://127.0.0.1:9000/",
    ],
)
def test_the_allow_list_opens_its_pairs_and_nothing_beside_them(url: str) -> None:
    assert AddressJudge(ALLOWED).judge(url) is not None


@pytest.mark.parametrize(
    "answer",
    ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "::ffff:127.0.0.1", "203.0.113.9"],  # noqa: S104
)
async def test_an_allow_listed_name_still_does_not_lead_to_metadata_or_nowhere(
    answer: str, dns: Any, connections: Any
) -> None:
    dns.answers = [[answer]]
    async with GuardedClient([("partner", 9000)], resolver=dns) as client:
        with pytest.raises(AddressRefusedError):
            await client.post("http://partner:9000/", body=b"", headers={}, timeout_s=2)
    assert connections == []
