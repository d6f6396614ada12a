"""Equal facts found without storing them: canonical forms of a fact, and a keyed hash of the form."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import unicodedata
from typing import Final
from urllib.parse import SplitResult, urlsplit

import idna
import phonenumbers

_INDEX_BYTES: Final = 16
#: A number of nothing but national prefixes gets shorter each time it is read, until it is a form or none.
_MOST_READINGS: Final = 16
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ftp": 21}
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: RFC 3986 sub-delims, ":" and "@", and the separators inside a path or query: kept as they stand.
_KEPT: Final = _UNRESERVED | frozenset(b"!$&'()*+,;=:@/?")
_ESCAPE_OR_BYTE: Final = re.compile(rb"%([0-9A-Fa-f]{2})|(.)", re.DOTALL)
_NO_HOST: Final = re.compile(r"[\s/?#@:\[\]\\%]")
_SCHEME: Final = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*):(?=//)")
_FANGS: Final = (("[.]", "."), ("(.)", "."), ("[dot]", "."), ("[:]", ":"), ("[://]", "://"))


class BlindIndex:
    """A keyed hash over canonical facts. Equality of two values tells that two facts are equal, and nothing else.

    Never index the name of a child; the values stay in the database of the service that owns the key.
    """

    def __init__(self, key: bytes) -> None:
        """Take the secret that the key provider derived for the blind index (32 bytes)."""
        self._key = bytes(key)
        self._kinds: dict[str, hmac.HMAC] = {}

    def of(self, kind: str, canonical: str) -> bytes:
        """Return the 16-byte value of a canonical fact.

        `kind` is `address`, `handle`, `phone` or `hash`; each has its own subkey.
        """
        started = self._kinds.get(kind)
        if started is None:
            subkey = hmac.digest(self._key, b"amparo.blind-index\x00" + kind.encode(), "sha256")
            started = self._kinds[kind] = hmac.new(subkey, digestmod=hashlib.sha256)
        mac = started.copy()
        mac.update(canonical.encode("utf-8", "surrogatepass"))
        return mac.digest()[:_INDEX_BYTES]

    def __repr__(self) -> str:
        return "BlindIndex(hidden)"


def canonical_address(url: str) -> str:
    """Return the one form of a web address however it was written down; nothing is fetched or resolved.

    Made equal: case of scheme and host, Unicode and punycode hosts, a trailing dot of the host, default ports, `hxxps`,
    `[.]`, a missing scheme (read as https), http and https, user names, dot segments, needless escapes, an
    empty query, and the place inside a page (fragment). Kept: path case, query order and tracking parameters, which can
    name the very page; a fragment that itself names the page (`#!`, `#/`, or with neither path nor query beside it).
    What is no address comes back as its folded text; empty means that there is nothing to index.
    """
    form = _address_form(url)
    if form is None:
        folded = _folded(url)
        return _address_form(folded) or folded
    return form


def _address_form(url: str) -> str | None:
    text = _refanged(url)
    try:
        parts = urlsplit(text)
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:
        return None
    if host is None:
        return None
    is_web = parts.scheme in {"http", "https"}
    default_ports = {_DEFAULT_PORTS.get(parts.scheme), 443 if is_web else None}
    shown_port = "" if port is None or port in default_ports else f":{port}"
    return f"{'https' if is_web else parts.scheme}://{host}{shown_port}{_page(parts)}"


def _refanged(url: str) -> str:
    text = "".join(mark for mark in url if unicodedata.category(mark) not in {"Cc", "Cf"}).strip()
    for fanged, plain in _FANGS:
        text = text.replace(fanged, plain)
    text = re.sub(r"\A(?i:hxxp(s?))(?=://)", r"http\1", text)
    if text.startswith("//"):
        return f"https:{text}"
    return text if _SCHEME.match(text) else f"https://{text}"


def _host(written: str) -> str | None:
    """Return the form of a host name or address; None when it is neither."""
    if ":" in written:
        try:
            return f"[{ipaddress.IPv6Address(written)}]"
        except ValueError:
            return None
    host = ".".join(label for label in _folded(written).split(".") if label)
    if not host or _NO_HOST.search(host):
        return None
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        return host


def _page(parts: SplitResult) -> str:
    path = _without_dots(_escaped(parts.path) or "/")
    query = f"?{_escaped(parts.query)}" if parts.query else ""
    names_page = parts.fragment.startswith(("!", "/")) or (path == "/" and not query)
    return path + query + (f"#{_escaped(parts.fragment)}" if parts.fragment and names_page else "")


def _escaped(text: str) -> str:
    """Write escapes in upper case, decode those of unreserved characters, escape what must be."""
    raw = unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
    return _ESCAPE_OR_BYTE.sub(_one_escaped, raw).decode("ascii")


def _one_escaped(match: re.Match[bytes]) -> bytes:
    escape, plain = match.groups()
    byte = int(escape, 16) if escape else plain[0]
    return bytes([byte]) if byte in (_UNRESERVED if escape else _KEPT) else b"%%%02X" % byte


def _without_dots(path: str) -> str:
    """Remove `.` and `..` segments (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def canonical_handle(platform: str | None, handle: str) -> str:
    """Return the one form of an account name on a platform, without case, invisible marks or a leading `@`.

    Empty when the name is: there is nothing to index then.
    """
    name = _folded(handle)
    while name.startswith("@"):
        name = name[1:].lstrip()
    return f"{_folded(platform or '')}\n{name}" if name else ""


def canonical_phone(text: str, *, region: str | None = None) -> str | None:
    """Return a phone number as E.164 (`+59171234567`), or None when the text is no possible number.

    `region` is the ISO 3166-1 country that a number without country code belongs to; without it only international
    numbers (`+` or `00`) are read. An extension is left out.
    """
    written = text.strip()
    if region is None and written.startswith("00"):
        written = "+" + written[2:]
    form = _e164(written, region=region)
    for _ in range(_MOST_READINGS):
        again = None if form is None else _e164(form, region=None)
        if again == form:
            return form
        form = again
    return None


def _e164(text: str, *, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def canonical_hash(algorithm: str, value: str) -> str:
    """Return the one form of a hash, `sha256:` and lower-case digits; base 64 keeps its case. Empty without value."""
    name = re.sub(r"[^a-z0-9]", "", _folded(algorithm))
    digest = "".join(value.split())
    if re.fullmatch(r"[0-9A-Fa-f]+", digest):
        digest = digest.lower()
    return f"{name}:{digest}" if digest else ""


def _folded(text: str) -> str:
    """Fold case and compatibility forms, drop invisible marks, join white space; stable under repetition."""
    folded = text
    while True:
        visible = "".join(mark for mark in folded.casefold() if unicodedata.category(mark) != "Cf")
        again = " ".join(unicodedata.normalize("NFKC", visible).split())
        if again == folded:
            return folded
        folded = again
