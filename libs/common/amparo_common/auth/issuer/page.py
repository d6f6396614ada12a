"""The sign-in page: one form, no script, nothing from elsewhere, and no word of what the platform is about."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import Final
from urllib.parse import urlsplit

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1b1f;--paper:#fff;--line:#5c5f66;--act:#0b57d0;--act-ink:#fff;--wrong:#a8071a}
@media (prefers-color-scheme:dark){:root{--ink:#ececf0;--paper:#17181b;--line:#9a9ca3;--act:#a8c7fa;--act-ink:#062e6f;
--wrong:#ffb4ab}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--paper);color:var(--ink);
font:1.0625rem/1.5 system-ui,sans-serif}
main{width:100%;max-width:22rem}
h1{font-size:1.5rem;margin:0 0 1rem}
label{display:block;margin:1rem 0 .25rem}
input,button{width:100%;font:inherit;padding:.7rem;border:1px solid var(--line);border-radius:.4rem}
input{background:var(--paper);color:var(--ink)}
button{margin-top:1.5rem;border-color:var(--act);background:var(--act);color:var(--act-ink);font-weight:600}
:focus-visible{outline:3px solid var(--act);outline-offset:2px}
[role=alert]{margin:0;padding:.7rem;border:1px solid var(--wrong);border-radius:.4rem;color:var(--wrong)}
"""
_STYLE_HASH: Final = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "title": "Sign in",
        "name": "Name",
        "password": "Password",
        "send": "Sign in",
        "wrong": "The name or the password is wrong.",
        "busy": "Too many attempts at once. Wait a moment and try again.",
        "link": "This link does not work",
        "back": "Go back to where you came from and start again.",
    },
    "es": {
        "title": "Iniciar sesión",
        "name": "Nombre",
        "password": "Contraseña",
        "send": "Entrar",
        "wrong": "El nombre o la contraseña no son correctos.",
        "busy": "Demasiados intentos a la vez. Espere un momento e inténtelo de nuevo.",
        "link": "Este enlace no funciona",
        "back": "Vuelva a la página anterior y empiece de nuevo.",
    },
    "fr": {
        "title": "Connexion",
        "name": "Nom",
        "password": "Mot de passe",
        "send": "Se connecter",
        "wrong": "Le nom ou le mot de passe est incorrect.",
        "busy": "Trop de tentatives à la fois. Patientez un instant et réessayez.",
        "link": "Ce lien ne fonctionne pas",
        "back": "Revenez à la page précédente et recommencez.",
    },
}


def language(accepted: str) -> str:
    """Return the first language of an `accept-language` header that there are words for; English of none."""
    wanted = (part.partition(";")[0].strip()[:2].lower() for part in accepted.split(","))
    return next((code for code in wanted if code in _WORDS), "en")


def policy(*, redirect_uri: str | None = None) -> str:
    """Return the content security policy; the form may lead on to the client's address alone."""
    after = ""
    if redirect_uri is not None:
        parts = urlsplit(redirect_uri)
        after = f" {parts.scheme}://{parts.netloc}"
    return (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'{after}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


def sign_in(parameters: Mapping[str, str], *, language: str, name: str = "", wrong: str | None = None) -> str:
    """Write the form; `parameters` go on as hidden fields, `wrong` is the key of what to say about the last attempt."""
    words = _WORDS[language]
    hidden = "".join(
        f'<input type="hidden" name="{escape(key)}" value="{escape(value)}">' for key, value in parameters.items()
    )
    said = f'<p role="alert" id="wrong">{escape(words[wrong])}</p>' if wrong else ""
    described = ' aria-describedby="wrong" aria-invalid="true"' if wrong else ""
    form = (
        f'<form method="post" action="/authorize">{hidden}{said}'
        f'<label for="username">{words["name"]}</label>'
        f'<input id="username" name="username" value="{escape(name)}" autocomplete="username" autocapitalize="none" '
        f'spellcheck="false" required maxlength="64"{described}>'
        f'<label for="password">{words["password"]}</label>'
        f'<input id="password" name="password" type="password" autocomplete="current-password" required '
        f'maxlength="256"{described}>'
        f'<button type="submit">{words["send"]}</button></form>'
    )
    return _page(words["title"], form, language=language)


def broken_link(*, language: str) -> str:
    """Write the page for a request that must not be answered to where it asks."""
    words = _WORDS[language]
    return _page(words["link"], f"<p>{words['back']}</p>", language=language)


def _page(title: str, content: str, *, language: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{content}</main></body></html>"
    )
