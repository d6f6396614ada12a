"""Addresses that nobody opens by accident."""

from __future__ import annotations

import re
from typing import Final

_ADDRESS: Final = re.compile(r"(?i:h(?:tt|xx)p)(s?)(://)([^/?#]*)(.*)", re.DOTALL | re.IGNORECASE)


def inert(address: str) -> str:
    """Return a reported web address as it is shown: `hxxps://chat[.]example[.]com/room/4`."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return address.replace(".", "[.]").replace("://", "[://]")
    secure, slashes, place, rest = found.groups()
    return f"hxxp{secure.lower()}{slashes}{place.replace('[.]', '.').replace('.', '[.]')}{rest}"
