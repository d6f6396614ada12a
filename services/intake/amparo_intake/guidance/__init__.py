"""What a reporter is told at once, by country and language: numbers to call and next steps, from the data files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import auto
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from amparo_common.vocabulary.codes import Code
from amparo_common.vocabulary.languages import shown_in

_DATA: Final = Path(__file__).parent
LANGUAGES: Final = frozenset(file.stem for file in _DATA.glob("??.toml"))


class BodyType(Code):
    """What a listed number is for, in the order in which they are shown."""

    EMERGENCY = auto()
    POLICE = auto()
    CHILD_HELPLINE = auto()
    AUTHORITY = auto()


class Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of the country directory. `verified` is false until somebody called the number, on `last_verified`."""

    country: str
    type: BodyType
    name: str
    number: str
    source: str
    verified: bool
    hours: str | None = None
    last_verified: date | None = None


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """A number to call, with a label in the reporter's language. An unverified one may have changed."""

    label: str
    number: str
    verified: bool
    hours: str | None = None


class Guidance(msgspec.Struct, frozen=True, kw_only=True):
    """What a reporter is told; `language` says which language it is in."""

    language: str
    emergency_numbers: tuple[Number, ...]
    next_steps: tuple[str, ...]


class _Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: dict[str, str]
    steps: dict[str, tuple[str, ...]]


class _Directory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    body: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class Guide:
    """The country directory and the texts, read once."""

    directory: Mapping[str, Sequence[Listed]]
    texts: Mapping[str, _Texts]

    def of(self, *, country: str | None, language: str | None, child: bool = False) -> Guidance:
        """Return the guidance for a reporter; there is always a number to call and always a step to take."""
        shown = shown_in(language, available=LANGUAGES)
        texts = self.texts[shown]
        listed = self.directory.get((country or "").upper(), ())
        numbers = [_number(row, texts) for row in listed]
        if not any(row.type is BodyType.EMERGENCY for row in listed):
            numbers = [*_fallback(texts), *numbers]
        return Guidance(
            language=shown, emergency_numbers=tuple(numbers), next_steps=texts.steps["child" if child else "anyone"]
        )


@cache
def guide() -> Guide:
    """Return the guide of the data files; raises msgspec.ValidationError when one of them is wrong."""
    rows = msgspec.convert(tomllib.loads((_DATA / "directory.toml").read_text(encoding="utf-8")), _Directory).body
    directory: dict[str, list[Listed]] = {}
    for row in sorted(rows, key=lambda row: list(BodyType).index(row.type)):
        directory.setdefault(row.country, []).append(row)
    return Guide(directory, {language: _read(language) for language in LANGUAGES})


def _read(language: str) -> _Texts:
    return msgspec.convert(tomllib.loads((_DATA / f"{language}.toml").read_text(encoding="utf-8")), _Texts)


def _number(row: Listed, texts: _Texts) -> Number:
    label = texts.labels[row.type]
    named = label if row.name.replace("-", "") == row.number else f"{label}: {row.name}"
    return Number(label=named, number=row.number, verified=row.verified, hours=row.hours)


def _fallback(texts: _Texts) -> list[Number]:
    """Name what mobile networks answer (3GPP TS 22.101, 10.1.1: 112 and 911), where no emergency number is listed."""
    return [
        Number(label=texts.labels["MOBILE_112"], number="112", verified=False),
        Number(label=texts.labels["MOBILE_911"], number="911", verified=False),
    ]
