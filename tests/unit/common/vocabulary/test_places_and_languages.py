"""Countries and languages are those of the standards."""

from __future__ import annotations

import pycountry
import pytest

from amparo_common.vocabulary.countries import COUNTRY_CODES, country_name
from amparo_common.vocabulary.languages import LANGUAGE_CODES, shown_in


def test_languages_are_those_of_iso_639_1() -> None:
    standard = {one.alpha_2 for one in pycountry.languages if hasattr(one, "alpha_2")}

    assert standard == LANGUAGE_CODES


@pytest.mark.parametrize("code", ["BO", "GT", "GH", "SN", "CD", "TZ"])
def test_the_pilot_countries_are_assigned(code: str) -> None:
    assert code in COUNTRY_CODES


@pytest.mark.parametrize("code", ["ZZ", "XX", "UK", "EU", "bo", ""])
def test_an_unassigned_code_is_no_country(code: str) -> None:
    assert code not in COUNTRY_CODES


def test_a_country_is_named_in_the_readers_language() -> None:
    assert country_name("DE", language="es") == "Alemania"
    assert country_name("DE", language="fr") == "Allemagne"
    assert country_name("DE", language="xx") == "Germany"
    assert country_name("BO") == "Bolivia"


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [("es", "es"), ("ES", "es"), ("es-BO", "es"), ("fr_SN", "fr"), ("qu", "en"), ("", "en"), (None, "en")],
)
def test_a_text_is_shown_in_the_wanted_language_or_in_english(wanted: str | None, shown: str) -> None:
    assert shown_in(wanted, available={"en", "es", "fr"}) == shown
