"""The guarded client over real sockets: it connects where it checked, and no partner can hurt it."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from amparo_common.errors import TransientError
from amparo_common.http import AddressRefusedError, GuardedClient, PartnerUnreachableError

pytestmark = pytest.mark.anyio

PUBLIC, OTHER_PUBLIC, METADATA = "93.184.216.34", "93.184.216.35", "169.254.169.254"
NAME = "partner.example.org"


def _allowing(partner: Any, **options: Any) -> GuardedClient:
    return GuardedClient([("127.0.0.1", partner.port)], **options)


async def _outcome(client: GuardedClient, url: str, *, timeout_s: float = 2.0) -> str:
    with pytest.raises(PartnerUnreachableError) as caught:
        await client.post(url, body=b"{}", headers={}, timeout_s=timeout_s)
    assert isinstance(caught.value, TransientError)
    return caught.value.outcome


async def test_a_delivery_arrives_whole_with_its_own_host_and_headers(serving: Any, connections: Any) -> None:
    async with serving() as partner, _allowing(partner) as client:
        reply = await client.post(
            f"{partner.url}?a=%20b",
            body=b'{"a": 1}',
            headers={"content-type": "application/json", "webhook-id": "m1"},
            timeout_s=2,
        )
    head, _, body = partner.requests[0].partition(b"\r\n\r\n")
    assert (reply.status, reply.body_prefix, body) == (204, b"", b'{"a": 1}')
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /hook?a=%20b http/1.1"
    assert sorted(lines[1:]) == [
        "accept-encoding: identity",
        "content-length: 8",
        "content-type: application/json",
        f"host: 127.0.0.1:{partner.port}",
        "webhook-id: m1",
    ]
    assert connections == [("127.0.0.1", partner.port)]


async def test_a_name_that_changes_its_answer_is_reached_at_the_checked_address(
    serving: Any, dns: Any, nat: Any, certified: Any, connections: Any
) -> None:
    dns.answers = [[PUBLIC], [METADATA], ["127.0.0.1"]]
    async with serving(tls=certified.server) as partner:
        ways = nat({PUBLIC: partner.port})
        async with GuardedClient(resolver=dns, network=ways, ssl_context=certified.client) as client:
            first = await client.post(f"https://{NAME}/hook", body=b"1", headers={}, timeout_s=5)
            # The open connection goes on to the checked address and asks nothing anew.
            second = await client.post(f"https://{NAME}/hook", body=b"2", headers={}, timeout_s=5)
            assert (first.status, second.status, dns.asked) == (204, 204, [(NAME, 443)])
            # Another port is another connection: the name is asked again, answers with metadata, and gets nothing.
            for _ in range(2):
                with pytest.raises(AddressRefusedError):
                    await client.post(f"https://{NAME}:8443/hook", body=b"3", headers={}, timeout_s=5)
    assert ways.asked == [(PUBLIC, 443)]
    assert connections == [("127.0.0.1", partner.port)]
    assert [request.rpartition(b"\r\n")[2] for request in partner.requests] == [b"1", b"2"]
    assert f"host: {NAME}\r\n".encode() in partner.requests[0].lower()


async def test_after_its_connection_closed_a_rebound_name_gets_no_second_one(
    serving: Any, dns: Any, connections: Any
) -> None:
    closing = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    async with serving(closing) as partner:
        dns.answers = [["127.0.0.1"], [METADATA]]
        async with GuardedClient([("partner", partner.port)], resolver=dns) as client:
            url = f"http://partner:{partner.port}/"
            assert (await client.post(url, body=b"", headers={}, timeout_s=2)).status == 204
            with pytest.raises(AddressRefusedError):
                await client.post(url, body=b"", headers={}, timeout_s=2)
    assert connections == [("127.0.0.1", partner.port)]


async def test_tls_is_verified_for_the_original_name(serving: Any, dns: Any, nat: Any, certified: Any) -> None:
    dns.answers = [[PUBLIC]]
    async with serving(tls=certified.server) as partner:
        async with GuardedClient(
            resolver=dns, network=nat({PUBLIC: partner.port}), ssl_context=certified.client
        ) as client:
            assert await _outcome(client, "https://other.example.org/") == "tls_failed"
            assert certified.names_asked == ["other.example.org"]
        async with GuardedClient(resolver=dns, network=nat({PUBLIC: partner.port})) as client:
            assert await _outcome(client, f"https://{NAME}/") == "tls_failed"
    assert partner.requests == []


async def test_the_next_checked_address_is_tried_when_the_first_does_not_answer(
    serving: Any, dns: Any, nat: Any, certified: Any
) -> None:
    dns.answers = [[OTHER_PUBLIC, PUBLIC]]
    async with serving(tls=certified.server) as partner:
        ways = nat({PUBLIC: partner.port})
        async with GuardedClient(resolver=dns, network=ways, ssl_context=certified.client) as client:
            assert (await client.post(f"https://{NAME}/", body=b"", headers={}, timeout_s=5)).status == 204
    assert ways.asked == [(OTHER_PUBLIC, 443), (PUBLIC, 443)]


async def test_a_name_with_very_many_addresses_is_refused(dns: Any, connections: Any) -> None:
    dns.answers = [[f"93.184.216.{number}" for number in range(1, 40)]]
    async with GuardedClient(resolver=dns) as client:
        with pytest.raises(AddressRefusedError):
            await client.post(f"https://{NAME}/", body=b"", headers={}, timeout_s=2)
    assert connections == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(serving: Any, connections: Any, status: int) -> None:
    async with serving() as inner:
        answer = f"HTTP/1.1 {status} Go\r\nlocation: http://127.0.0.1:{inner.port}/\r\ncontent-length: 0\r\n\r\n"
        async with serving(answer.encode()) as partner, _allowing(partner) as client:
            assert (await client.post(partner.url, body=b"", headers={}, timeout_s=2)).status == status
    assert inner.requests == []
    assert connections == [("127.0.0.1", partner.port)]


async def test_proxies_of_the_environment_are_not_used(
    serving: Any, connections: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as proxy, serving() as partner:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with _allowing(partner) as client:
            assert (await client.post(partner.url, body=b"", headers={}, timeout_s=2)).status == 204
    assert proxy.requests == []
    assert connections == [("127.0.0.1", partner.port)]


async def _for_ever(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def test_an_endless_answer_is_read_to_64_kib_and_its_connection_dropped(serving: Any) -> None:
    async with serving(_for_ever) as partner, _allowing(partner) as client:
        for _ in range(3):
            reply = await client.post(partner.url, body=b"", headers={}, timeout_s=5)
            assert (reply.status, reply.body_prefix) == (200, b"x" * 65536)
    assert partner.connections == 3


async def test_a_packed_answer_is_not_unpacked(serving: Any) -> None:
    bomb = b"\x1f\x8b\x08 not really"
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(bomb), bomb)
    async with serving(answer) as partner, _allowing(partner) as client:
        assert (await client.post(partner.url, body=b"", headers={}, timeout_s=2)).body_prefix == bomb


async def _dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _dripping_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _interim(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("answer", [_dripping, _dripping_head, _interim, _silent])
async def test_the_time_limit_is_for_the_whole_exchange(serving: Any, answer: Any) -> None:
    async with serving(answer) as partner, _allowing(partner) as client:
        started = time.monotonic()
        assert await _outcome(client, partner.url, timeout_s=0.4) == "timed_out"
        assert time.monotonic() - started < 3


async def test_a_resolver_that_hangs_counts_against_the_same_limit(connections: Any) -> None:
    async def hanging(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return [PUBLIC]

    async with GuardedClient(resolver=hanging) as client:
        assert await _outcome(client, f"https://{NAME}/", timeout_s=0.2) == "timed_out"
    assert connections == []


@pytest.mark.parametrize(
    "answer",
    [
        b"no http at all\r\n\r\n",
        b"HTTP/1.1 99999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 300_000,
    ],
)
async def test_a_broken_answer_is_told_as_such(serving: Any, answer: bytes) -> None:
    async with serving(answer) as partner, _allowing(partner) as client:
        assert await _outcome(client, partner.url) == "broken_answer"


async def test_a_partner_that_hangs_up_is_a_broken_answer(serving: Any) -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(hang_up) as partner, _allowing(partner) as client:
        assert await _outcome(client, partner.url) == "broken_answer"


async def test_a_closed_port_and_an_unknown_name_are_told_apart(serving: Any, dns: Any) -> None:
    async with serving() as partner:
        pass
    async with _allowing(partner, resolver=dns) as client:
        assert await _outcome(client, partner.url) == "not_connected"
        assert await _outcome(client, f"https://{NAME}/") == "not_resolved"
        dns.answers = [[]]
        assert await _outcome(client, f"https://{NAME}/") == "not_resolved"


async def test_a_pause_that_the_partner_asks_for_is_passed_on(serving: Any) -> None:
    for value, wanted in ((b"120", 120), (b"soon", None), (b"-1", None), (b"9" * 40, None)):
        answer = b"HTTP/1.1 429 Slow Down\r\nRetry-After: %b\r\ncontent-length: 0\r\n\r\n" % value
        async with serving(answer) as partner, _allowing(partner) as client:
            reply = await client.post(partner.url, body=b"", headers={}, timeout_s=2)
            assert (reply.status, reply.retry_after_s) == (429, wanted)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection", "Accept-Encoding"])
async def test_headers_that_are_the_clients_own_cannot_be_set(serving: Any, name: str) -> None:
    async with serving() as partner, _allowing(partner) as client:
        with pytest.raises(ValueError, match=name.lower()):
            await client.post(partner.url, body=b"", headers={name: "1"}, timeout_s=2)
    assert partner.connections == 0


@pytest.mark.parametrize("header", [("a", "b\r\nx: y"), ("a\r\nx", "b"), ("a", "b\x00"), ("a", "é")])
async def test_a_header_cannot_smuggle_another(serving: Any, header: tuple[str, str]) -> None:
    async with serving() as partner, _allowing(partner) as client:
        with pytest.raises(ValueError, match="ASCII"):
            await client.post(partner.url, body=b"", headers=dict([header]), timeout_s=2)
    assert partner.connections == 0


async def test_a_slow_partner_holds_up_four_of_its_own_requests_and_nobody_else(serving: Any) -> None:
    async with (
        serving(_silent) as slow,
        serving() as quick,
        GuardedClient([("127.0.0.1", slow.port), ("127.0.0.1", quick.port)]) as client,
    ):
        waiting = [asyncio.create_task(_outcome(client, slow.url, timeout_s=30)) for _ in range(40)]
        async with asyncio.timeout(10):
            while slow.connections < 4:
                await asyncio.sleep(0.01)
            for _ in range(20):
                assert (await client.post(quick.url, body=b"", headers={}, timeout_s=5)).status == 204
        assert slow.connections == 4
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (await client.post(quick.url, body=b"", headers={}, timeout_s=5)).status == 204


async def test_waiting_for_a_slow_partners_turn_counts_against_the_limit(serving: Any) -> None:
    async with serving(_silent) as slow, _allowing(slow) as client:
        outcomes = await asyncio.gather(*(_outcome(client, slow.url, timeout_s=0.3) for _ in range(9)))
    assert set(outcomes) == {"timed_out"}
    assert slow.connections == 4


async def test_requests_one_after_the_other_share_a_connection(serving: Any) -> None:
    async with serving() as partner, _allowing(partner) as client:
        for _ in range(10):
            await client.post(partner.url, body=b"", headers={}, timeout_s=2)
    assert (partner.connections, len(partner.requests)) == (1, 10)


async def test_errors_tell_neither_address_nor_body(serving: Any) -> None:
    async with serving(_silent) as partner, _allowing(partner) as client:
        with pytest.raises(PartnerUnreachableError) as caught:
            await client.post(f"{partner.url}/canary", body=b"canary", headers={"x": "canary"}, timeout_s=0.2)
    assert str(caught.value) == "the partner does not answer: timed_out"


class Certified:
    """A certificate for NAME, a client that trusts it, and the names that clients asked for (SNI)."""

    def __init__(self, folder: Path) -> None:
        self.names_asked: list[str] = []
        self._write(folder)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.server.sni_callback = lambda _, name, __: self.names_asked.append(name)
        self.client = ssl.create_default_context(cafile=str(folder / "cert.pem"))

    def _write(self, folder: Path) -> None:
        key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return Certified(tmp_path)
