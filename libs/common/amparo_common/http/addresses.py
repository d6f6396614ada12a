"""Which addresses of partners may be reached, judged by their text and by what their names resolve to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

_LONGEST: Final = 2048
_LONGEST_HOST: Final = 253
_PORTS: Final = frozenset({443, 8443})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_URL: Final = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?]*)(?P<target>(?:[/?].*)?)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?"
)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: A host whose last label looks like a number is an IPv4 address to most resolvers, whatever its notation.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
#: Names that never belong to a partner on the internet (RFC 6761, 6762, 7686, 8375, 9476, ICANN's `internal`).
_INNER_ZONES: Final = (
    "localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa", "onion", "alt",
)  # fmt: skip

#: IANA's special-purpose IPv4 registry. `ipaddress.is_global` alone differs between Python releases.
_SPECIAL_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
#: Global unicast. All outside is refused whole: mapped, NAT64, unique local, link local, multicast.
_GLOBAL_V6: Final = IPv6Network("2000::/3")
#: Inside it: protocol assignments with Teredo and ORCHID, documentation, 6to4, AS112.
_SPECIAL_V6: Final = tuple(
    IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)  # fmt: skip
#: What an allow-listed pair may be besides global: loopback and private. Never link local, where cloud metadata stands.
_OWN_V4: Final = tuple(
    IPv4Network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_OWN_V6: Final = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))


@dataclass(frozen=True, slots=True)
class PartnerAddress:
    """An address that passed: where to connect and what to ask for. `host` is lower case, IPv6 without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class AddressRefusedError(Exception):
    """The address may not be reached; nothing was sent. `reason` is in words and does not repeat the address."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the partner's address is refused: {reason}")
        self.reason = reason


class AddressJudge:
    """Judges partner addresses. `allow` are host and port pairs that may be loopback or private, and plain http."""

    def __init__(self, allow: Iterable[tuple[str, int]] = ()) -> None:
        self._allow = frozenset((_one_form(host.lower().strip("[]")), port) for host, port in allow)

    def judge(self, url: str) -> str | None:
        """Return why `url` is refused, or None when it may be reached as far as its text tells. Asks no DNS."""
        try:
            self.read(url)
        except AddressRefusedError as error:
            return error.reason
        return None

    def read(self, url: str) -> PartnerAddress:
        """Take `url` apart; raises AddressRefusedError. One reading serves the judgement and the connection alike."""
        _check_text(url)
        parts = _URL.fullmatch(url)
        if parts is None:
            raise AddressRefusedError("it does not start with https://")
        scheme, target = parts["scheme"].lower(), parts["target"]
        host, written_port = _host_and_port(parts["authority"])
        port = _DEFAULT_PORTS[scheme] if written_port is None else written_port
        is_allowed = self.allows(host, port)
        _check_host(host, is_allowed=is_allowed)
        if scheme == "http" and not is_allowed:
            raise AddressRefusedError("it is not https")
        if port not in _PORTS and not is_allowed:
            raise AddressRefusedError("its port is neither 443 nor 8443")
        return PartnerAddress(
            scheme=scheme, host=host, port=port, target=target if target.startswith("/") else f"/{target}"
        )

    def allows(self, host: str, port: int) -> bool:
        """Say whether the pair is allow-listed."""
        return (host, port) in self._allow

    def permits(self, ip: IPv4Address | IPv6Address, *, for_allowed: bool) -> bool:
        """Say whether a connection to `ip` may be opened: a global one, and for an allow-listed pair one of our own."""
        return _is_global(ip) or (for_allowed and _is_own(ip))


def _check_text(url: str) -> None:
    if not url:
        raise AddressRefusedError("it is missing")
    if len(url) > _LONGEST:
        raise AddressRefusedError(f"it is longer than {_LONGEST} characters")
    if any(not "!" <= mark <= "~" for mark in url):
        raise AddressRefusedError("it has spaces or characters that are not ASCII; write the host in punycode")
    if "\\" in url or "#" in url:
        raise AddressRefusedError("it has a backslash or a fragment")


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise AddressRefusedError("it carries a user name")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise AddressRefusedError("it has no host, or a port that is no number")
    host = _one_form((parts["v6"] or parts["host"]).lower())
    return host, int(parts["port"]) if parts["port"] else None


def _check_host(host: str, *, is_allowed: bool) -> None:
    literal = _literal(host)
    if literal is not None:
        if not (_is_global(literal) or (is_allowed and _is_own(literal))):
            raise AddressRefusedError("it is not on the public internet")
        return
    labels = host.split(".")
    if ":" in host or _NUMBER.fullmatch(labels[-1]):
        raise AddressRefusedError("its host is an IP address in an unusual notation")
    if len(host) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressRefusedError("its host is no valid name")
    is_inner = len(labels) == 1 or any(host.endswith(f".{zone}") for zone in _INNER_ZONES)
    if is_inner and not is_allowed:
        raise AddressRefusedError("its host is a name of a local network")


def _one_form(host: str) -> str:
    literal = _literal(host)
    return host if literal is None else str(literal)


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_global(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv4Address):
        return ip.is_global and not any(ip in network for network in _SPECIAL_V4)
    return ip.is_global and ip in _GLOBAL_V6 and not any(ip in network for network in _SPECIAL_V6)


def _is_own(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv4Address):
        return any(ip in network for network in _OWN_V4)
    return any(ip in network for network in _OWN_V6)
