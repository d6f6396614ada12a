"""The questions that each channel asks, as JSON Schema: ordered properties with titles in the reporter's language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from amparo_common.vocabulary.codes import Category, Channel, Code, Factor, ReporterType, SafeContact
from amparo_common.vocabulary.countries import COUNTRY_CODES, country_name
from amparo_common.vocabulary.labels import terms
from amparo_common.vocabulary.languages import shown_in
from amparo_intake import reading
from amparo_intake.domain.facts import NOT_FOR_REPORTERS
from amparo_intake.domain.values import HASH_DIGITS, LONGEST_ADDRESS

_DATA: Final = Path(__file__).parent
LANGUAGES: Final = frozenset(file.stem for file in _DATA.glob("??.toml"))
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ASKED_BY: Final[Mapping[str, Channel]] = {channel.lower(): channel for channel in Channel}


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ask: tuple[str, ...]
    required: tuple[str, ...]


class _Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    titles: dict[str, str]
    help: dict[str, str]


def _object(**members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members}


def _list(items: dict[str, Any], *, most: int) -> dict[str, Any]:
    return {"type": "array", "maxItems": most, "items": items}


def _whole(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


_LINE: Final = {"type": "string", "minLength": 1, "maxLength": 500}
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": reading.LONGEST_TEXT}
_ADDRESS: Final = {"type": "string", "format": "uri", "maxLength": LONGEST_ADDRESS}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_HASH: Final = _object(
    algorithm={"type": "string", "enum": list(HASH_DIGITS)},
    value={"type": "string", "pattern": "^[0-9A-Fa-f]+$"},
    source=_LINE,
) | {"required": ["algorithm", "value", "source"]}


def form(channel: str, *, language: str | None) -> Mapping[str, Any] | None:
    """Return the form of a channel (named as on HTTP, in lower case) in `language`; None for an unknown channel."""
    if channel not in _ASKED_BY:
        return None
    return _form(channel, shown_in(language, available=LANGUAGES))


@cache
def _form(channel: str, language: str) -> Mapping[str, Any]:
    asked, texts = _channels()[channel], _texts(language)
    return {
        "$schema": _DIALECT,
        "title": texts.titles["form"],
        "type": "object",
        "properties": {name: _question(name, texts=texts, language=language) for name in asked.ask},
        "required": list(asked.required),
        "x-channel": channel,
        "x-language": language,
    }


@cache
def _channels() -> Mapping[str, _Asked]:
    return msgspec.convert(tomllib.loads((_DATA / "channels.toml").read_text(encoding="utf-8")), dict[str, _Asked])


@cache
def _texts(language: str) -> _Texts:
    return msgspec.convert(tomllib.loads((_DATA / f"{language}.toml").read_text(encoding="utf-8")), _Texts)


def _question(name: str, *, texts: _Texts, language: str) -> dict[str, Any]:
    question = {"title": texts.titles[name]}
    if name in texts.help:
        question["description"] = texts.help[name]
    return question | _titled(name, _shapes(language)[name], texts=texts)


def _titled(name: str, shape: dict[str, Any], *, texts: _Texts) -> dict[str, Any]:
    """Give each member of an object (or of a list's objects) its own title."""
    if "properties" in shape:
        members = {
            part: {"title": texts.titles[f"{name}.{part}"]} | member for part, member in shape["properties"].items()
        }
        return shape | {"properties": members}
    if shape["type"] == "array":
        return shape | {"items": _titled(name, shape["items"], texts=texts)}
    return shape


@cache
def _shapes(language: str) -> Mapping[str, dict[str, Any]]:
    """Return what an answer to each question may be; the bounds are those that a report is read with."""
    return {
        "text": _TEXT,
        "country": {"type": "string", "oneOf": _countries(language)},
        "language": {"type": "string", "pattern": "^[a-z]{2}$", "default": language},
        "category": {"type": "string", "oneOf": _choices(Category, language=language)},
        "factors": {"type": "array", "uniqueItems": True, "items": _tickable(language)},
        "imminent_danger": {"type": "boolean"},
        "is_test": {"type": "boolean"},
        "platform": _LINE,
        "urls": _list(_ADDRESS, most=reading.MOST_ADDRESSES),
        "occurred_at": _MOMENT,
        "victim": _object(age=_whole(0, reading.OLDEST_AGE), count=_whole(1, reading.MOST_CHILDREN)),
        "reported_accounts": _list(
            _object(platform=_LINE, handle=_LINE) | {"required": ["handle"]}, most=reading.MOST_ACCOUNTS
        ),
        "hashes": _list(_HASH, most=reading.MOST_HASHES),
        "reporter": _object(
            type={"type": "string", "oneOf": _choices(ReporterType, language=language, lower=True)},
            name=_LINE,
            contact=_LINE,
            safe_contact={"type": "string", "oneOf": _choices(SafeContact, language=language, lower=True)},
        ),
        "network": _object(msisdn=_LINE, ip=_LINE, port=_whole(1, 65_535), observed_at=_MOMENT),
    }


def _tickable(language: str) -> dict[str, Any]:
    choices = [one for one in _choices(Factor, language=language) if one["const"] not in NOT_FOR_REPORTERS]
    return {"type": "string", "oneOf": choices}


def _choices(kind: type[Code], *, language: str, lower: bool = False) -> list[dict[str, str]]:
    return [
        {"const": code.lower() if lower else code.value, "title": label}
        for code, label in terms(kind, language=language)
    ]


@cache
def _countries(language: str) -> list[dict[str, str]]:
    named = sorted((country_name(code, language=language), code) for code in COUNTRY_CODES)
    return [{"const": code, "title": name} for name, code in named]
