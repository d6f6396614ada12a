"""Addresses as people may see them: nothing that a click, a paste or a preview would open (safeguard SG-01)."""

from __future__ import annotations

import re
from typing import Any, Final

#: An address with its scheme, in running text: the scheme, then its authority, then the rest up to a space.
_ADDRESS: Final = re.compile(r"\b(?P<scheme>h[tx]{2}ps?|ftps?|wss?)://(?P<host>[^\s/?#<>\"']*)", re.IGNORECASE)
_INERT_SCHEMES: Final = {"http": "hxxp", "https": "hxxps", "ftp": "fxp", "ftps": "fxps", "ws": "wxs", "wss": "wxss"}


def inert(text: str) -> str:
    """Return `text` with each address in it made inert: `hxxps://chat[.]example[.]com/room/4`; a second time alike."""
    return _ADDRESS.sub(_replaced, text)


def inert_address(address: str) -> str:
    """Return one reported address made inert, also when it has no scheme: `chat[.]example[.]com/room/4`."""
    if _ADDRESS.match(address):
        return inert(address)
    return address.replace(".", "[.]").replace("://", "[://]")


def inert_everywhere(value: Any) -> Any:
    """Return a JSON value with every text in it, however deep, made inert. Keys of objects stay as they are."""
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, list | tuple):
        return [inert_everywhere(one) for one in value]
    if isinstance(value, dict):
        return {name: inert_everywhere(one) for name, one in value.items()}
    return value


def _replaced(found: re.Match[str]) -> str:
    scheme = found["scheme"].lower()
    host = re.sub(r"(?<!\[)\.(?!\])", "[.]", found["host"])
    return f"{_INERT_SCHEMES.get(scheme, scheme)}://{host}"
