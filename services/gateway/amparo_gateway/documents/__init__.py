"""Trusted documents: the files of this folder, each known by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

_PREFIX: Final = "sha256:"


def document_id(text: str) -> str:
    """Return the id of a document: the SHA-256 of its UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def plain_id(given: str) -> str:
    """Return `given` as the registry writes ids: `sha256:` may stand before it, capitals are taken."""
    return given.strip().lower().removeprefix(_PREFIX)


def _registered() -> dict[str, str]:
    found = sorted(entry.name for entry in files(__name__).iterdir() if entry.name.endswith(".graphql"))
    return {name.removesuffix(".graphql"): files(__name__).joinpath(name).read_text("utf-8") for name in found}


#: The registered documents by name.
BY_NAME: Final[Mapping[str, str]] = _registered()
#: The registered documents by id.
BY_ID: Final[Mapping[str, str]] = {document_id(text): text for text in BY_NAME.values()}
