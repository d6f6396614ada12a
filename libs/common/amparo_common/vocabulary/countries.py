"""Countries: the assigned codes of ISO 3166-1 and their names."""

from __future__ import annotations

import gettext
from functools import cache
from typing import Final

import pycountry

from amparo_common.vocabulary.languages import FALLBACK, LANGUAGE_CODES

_COUNTRIES: Final = {country.alpha_2: country for country in pycountry.countries}

#: Every assigned two-letter code, in upper case.
COUNTRY_CODES: Final[frozenset[str]] = frozenset(_COUNTRIES)


def country_name(code: str, *, language: str = FALLBACK) -> str:
    """Return the usual name of a country in `language`, in English where there is none; KeyError when unassigned."""
    country = _COUNTRIES[code]
    return _names(language if language in LANGUAGE_CODES else FALLBACK).gettext(
        getattr(country, "common_name", country.name)
    )


@cache
def _names(language: str) -> gettext.NullTranslations:
    return gettext.translation("iso3166-1", pycountry.LOCALES_DIR, languages=[language], fallback=True)
