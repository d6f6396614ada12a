"""The in-browser page to ask the graph: one document, nothing from elsewhere, kept out of production."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Final


@dataclass(frozen=True, slots=True)
class Page:
    """The page, and the content security policy that lets it alone run."""

    html: str
    policy: str


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE: Final = _text("page.css")
_SCRIPT: Final = _text("page.js")
_SIGN_IN: Final = _text("sign_in.html")
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(_STYLE)}",
        f"script-src {_hash(_SCRIPT)}",
        "connect-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)


def page(*, with_sign_in: bool) -> Page:
    """Return the page, with the form for a name and a password where the issuer takes those."""
    html = Template(_text("page.html")).substitute(
        style=_STYLE, script=_SCRIPT, sign_in=_SIGN_IN if with_sign_in else ""
    )
    return Page(html, _POLICY)
