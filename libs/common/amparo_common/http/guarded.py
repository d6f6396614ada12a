"""The guarded client: the only way to a partner's address (law 8)."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Self, TypeAlias
from weakref import WeakValueDictionary

import httpcore2

from amparo_common.errors import TransientError
from amparo_common.http.addresses import AddressJudge, AddressRefusedError, PartnerAddress

BODY_READ: Final = 64 * 1024
_AT_ONCE_PER_PARTNER: Final = 4
_MOST_ADDRESSES: Final = 32
_ADDRESSES_TRIED: Final = 3
_CONNECT_S: Final = 4.0
_KEPT_ALIVE: Final = 32
_KEEPALIVE_S: Final = 15.0
#: The client sets these itself; a caller who did could speak to another host or smuggle a second request.
_OWN_HEADERS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "te", "upgrade", "expect"}
)

#: Gives the addresses of a host name, as text.
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
IpAddress: TypeAlias = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class GuardedReply:
    """What a partner answered. `body_prefix` is at most 64 KiB, as sent; `retry_after_s` when it asked for a pause."""

    status: int
    body_prefix: bytes
    retry_after_s: int | None = None


class PartnerUnreachableError(TransientError):
    """No answer came. `outcome` is a slug: `timed_out`, `not_resolved`, `not_connected`, `tls_failed`, `broken_answer`.

    The partner may have taken what was sent all the same; send it again under the same id.
    """

    def __init__(self, outcome: str) -> None:
        super().__init__(f"the partner does not answer: {outcome}")
        self.outcome = outcome


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=0)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedClient:
    """Posts to partners, and to nothing else.

    A name is resolved once for a connection, every address found is checked, and the connection goes to a checked
    address with the original name in `Host` and TLS; what DNS answers later changes nothing. No redirect is followed,
    no proxy, netrc or cookie used, nothing decompressed. Idle connections stay open for 15 s; at most 4 requests run to
    one host and port at once, so that a slow partner holds up itself alone. For use in one event loop.
    """

    def __init__(
        self,
        allow: Iterable[tuple[str, int]] = (),
        *,
        resolver: Resolver = system_resolver,
        ssl_context: ssl.SSLContext | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        """Take the pairs that may be private and plain http.

        `ssl_context` may carry a client certificate. `resolver` and `network` are the machine's own but in tests;
        `network` is only ever asked for checked addresses.
        """
        self._addresses = AddressJudge(allow)
        self._gates: WeakValueDictionary[tuple[str, int], asyncio.Semaphore] = WeakValueDictionary()
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or httpcore2.default_ssl_context(),
            max_connections=None,
            max_keepalive_connections=_KEPT_ALIVE,
            keepalive_expiry=_KEEPALIVE_S,
            network_backend=_CheckedBackend(self._addresses, resolver, network or httpcore2.AnyIOBackend()),
        )

    def judge(self, url: str) -> str | None:
        """Return why `url` is refused, or None. Asks no DNS: names are checked again, resolved, at each connection."""
        return self._addresses.judge(url)

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str], timeout_s: float) -> GuardedReply:
        """Post `body` and return the answer, of any status; `timeout_s` bounds all, resolving and reading too.

        Raises AddressRefusedError, with nothing sent, and PartnerUnreachableError; ValueError for headers that are the
        client's own.
        """
        address = self._addresses.read(url)
        request_headers = _headers(headers, address)
        gate = self._gates.setdefault((address.host, address.port), asyncio.Semaphore(_AT_ONCE_PER_PARTNER))
        try:
            async with asyncio.timeout(timeout_s), gate:
                return await self._exchange(address, body=body, headers=request_headers)
        except (TimeoutError, httpcore2.TimeoutException) as error:
            raise PartnerUnreachableError("timed_out") from error
        except httpcore2.ConnectError as error:
            raise PartnerUnreachableError(_connect_outcome(error)) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise PartnerUnreachableError("broken_answer") from error

    async def _exchange(
        self, address: PartnerAddress, *, body: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> GuardedReply:
        url = httpcore2.URL(
            scheme=address.scheme.encode(),
            host=address.host.encode(),
            port=address.port,
            target=address.target.encode(),
        )
        async with self._pool.stream("POST", url, headers=headers, content=body) as response:
            prefix = await _prefix(response)
            return GuardedReply(status=response.status, body_prefix=prefix, retry_after_s=_retry_after(response))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to checked addresses only. All connections of the client's pool come from here."""

    def __init__(self, addresses: AddressJudge, resolver: Resolver, network: httpcore2.AsyncNetworkBackend) -> None:
        self._addresses, self._resolver, self._network = addresses, resolver, network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the backend's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception = _NotResolvedError("the name has no address")
        for ip in (await self._checked(host, port))[:_ADDRESSES_TRIED]:
            try:
                return await self._network.connect_tcp(
                    str(ip), port, timeout or _CONNECT_S, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _checked(self, host: str, port: int) -> Sequence[IpAddress]:
        """Return the addresses of `host`, all of them permitted; one that is not refuses the host altogether."""
        found = [_ip(text) for text in await self._resolved(host, port)]
        for_allowed = self._addresses.allows(host, port)
        if len(found) > _MOST_ADDRESSES:
            raise AddressRefusedError("the host has too many addresses")
        if not all(ip is not None and self._addresses.permits(ip, for_allowed=for_allowed) for ip in found):
            raise AddressRefusedError("the host resolves to an address that is not on the public internet")
        return [ip for ip in found if ip is not None]

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        if _ip(host) is not None:
            return [host]
        try:
            return await self._resolver(host, port)
        except OSError as error:
            raise _NotResolvedError("the name is not known") from error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _NotResolvedError(httpcore2.ConnectError):
    """The name gave no address."""


def _connect_outcome(error: httpcore2.ConnectError) -> str:
    if isinstance(error, _NotResolvedError):
        return "not_resolved"
    causes = (error.__cause__, error.__context__)
    return "tls_failed" if any(isinstance(cause, ssl.SSLError) for cause in causes) else "not_connected"


def _headers(given: Mapping[str, str], address: PartnerAddress) -> list[tuple[bytes, bytes]]:
    own = _OWN_HEADERS & {name.lower() for name in given}
    if own:
        raise ValueError(f"the guarded client sets {', '.join(sorted(own))} itself")
    if not all(text.isascii() and text.isprintable() for header in given.items() for text in header):
        raise ValueError("a header of a partner's delivery is not printable ASCII")
    headers = {"Host": address.authority, "Accept-Encoding": "identity", **given}
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


async def _prefix(response: httpcore2.Response) -> bytes:
    """Read at most BODY_READ bytes; a longer body is left unread, which closes its connection."""
    read = bytearray()
    async with aclosing(response.aiter_stream()) as chunks:
        async for chunk in chunks:
            read += chunk[: BODY_READ - len(read)]
            if len(read) >= BODY_READ:
                break
    return bytes(read)


def _retry_after(response: httpcore2.Response) -> int | None:
    for name, value in response.headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 8:  # noqa: PLR2004 - a hundred days
            return int(value)
    return None


def _ip(text: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
