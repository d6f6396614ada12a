"""The guideline references that decisions cite, in Amparo's own words."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final

import msgspec


class GuidelineReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reference into the ITU/UNICEF industry guidelines. `id` is Amparo's own handle, not a printed number.

    `edition` is the year, `area` one of the five key areas (`A1` to `A5`). `verified` is false where the line was not
    yet compared with the published text.
    """

    id: str
    edition: str
    area: str
    paraphrase: str
    verified: bool


def _loaded() -> Mapping[str, GuidelineReference]:
    text = resources.files(__package__).joinpath("guidelines.toml").read_text(encoding="utf-8")
    references = msgspec.convert(tomllib.loads(text)["guideline"], type=list[GuidelineReference])
    by_id = {reference.id: reference for reference in references}
    if len(by_id) != len(references):
        raise ValueError("guidelines.toml names an id twice")
    return MappingProxyType(by_id)


#: Every reference by its id.
GUIDELINES: Final[Mapping[str, GuidelineReference]] = _loaded()


def guideline(reference_id: str) -> GuidelineReference:
    """Return a reference; raises KeyError when there is none of this id."""
    return GUIDELINES[reference_id]
