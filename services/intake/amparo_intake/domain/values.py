"""Rules for single values of a report: each returns the clean value or raises ValueError, which never repeats it."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from amparo_common.vocabulary.countries import COUNTRY_CODES
from amparo_common.vocabulary.languages import LANGUAGE_CODES

#: Hexadecimal digits of each kind of hash that is taken; `pdq` is the perceptual hash of 256 bits.
HASH_DIGITS: Final = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128, "pdq": 64}
LONGEST_ADDRESS: Final = 2_048
_HIGHEST_PORT: Final = 65_535
_WEB: Final = frozenset({"http", "https", "hxxp", "hxxps"})
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BARE_HOST: Final = re.compile(
    r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_][\w-]*[^\W_]\.?(?::\d{1,5})?(?:[/?#].*)?", re.DOTALL
)
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_PHONE: Final = re.compile(r"\+?[0-9][0-9 ().\-]*[0-9]")
_PHONE_DIGITS: Final = range(5, 16)


def language(value: str) -> str:
    """Take a two-letter ISO 639-1 code in either case."""
    code = value.lower()
    if code not in LANGUAGE_CODES:
        raise ValueError("must be a two-letter language code of ISO 639-1")
    return code


def country(value: str) -> str:
    """Take an assigned two-letter ISO 3166-1 code in either case."""
    code = value.upper()
    if code not in COUNTRY_CODES:
        raise ValueError("must be an assigned two-letter country code of ISO 3166-1")
    return code


def web_address(value: str) -> str:
    """Take the address of a web page as it was written: http or https, also defanged or without a scheme."""
    if len(value) > LONGEST_ADDRESS:
        raise ValueError(f"must have at most {LONGEST_ADDRESS} characters")
    if any(mark.isspace() or not mark.isprintable() for mark in value):
        raise ValueError("must be a web address without spaces or control characters")
    scheme = _SCHEME.match(value)
    if scheme is None:
        if not _BARE_HOST.fullmatch(value.replace("[.]", ".")):
            raise ValueError("must be a web address that starts with http:// or https://")
    elif scheme[1].lower() not in _WEB or not _has_host(value):
        raise ValueError("must be a web address that starts with http:// or https:// and names a host")
    return value


def _has_host(value: str) -> bool:
    try:
        parts = urlsplit(value.replace("[.]", "."))
        return bool(parts.hostname) and "\\" not in parts.netloc and (parts.port or 0) <= _HIGHEST_PORT
    except ValueError:
        return False


def hash_algorithm(value: str) -> str:
    """Take the name of a hash algorithm, `SHA-256` as well as `sha256`."""
    name = value.lower().replace("-", "").replace("_", "")
    if name not in HASH_DIGITS:
        raise ValueError(f"must be one of {', '.join(HASH_DIGITS)}")
    return name


def hash_value(value: str, *, algorithm: str) -> str:
    """Take the hexadecimal digits of a hash, exactly as many as its algorithm has."""
    if len(value) != HASH_DIGITS[algorithm] or not _HEX.fullmatch(value):
        raise ValueError(f"must be the {HASH_DIGITS[algorithm]} hexadecimal digits of a {algorithm} hash")
    return value.lower()


def phone_number(value: str) -> str:
    """Take a telephone number of 5 to 15 digits as people write it."""
    digits = sum(mark.isdigit() for mark in value)
    if not _PHONE.fullmatch(value) or digits not in _PHONE_DIGITS:
        raise ValueError("must be a telephone number of 5 to 15 digits")
    return value


def ip_address(value: str) -> str:
    """Take an IPv4 or IPv6 address and write it in its one short form."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("must be an IP address") from None


def without_nul(value: str) -> str:
    """Take any text that holds no NUL, which no database column may hold."""
    if "\0" in value:
        raise ValueError("must not contain the NUL character")
    return value
