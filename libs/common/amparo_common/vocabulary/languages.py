"""Languages: the two-letter codes of ISO 639-1, and the language that a text is shown in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

#: Every code of ISO 639-1, `sh` (deprecated there, still sent by old phones) included.
LANGUAGE_CODES: Final[frozenset[str]] = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
    et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki
    kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no
    nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta
    te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()  # noqa: SIM905 - a table of codes reads better in rows
)
#: The language that every text exists in.
FALLBACK: Final = "en"


def shown_in(wanted: str | None, *, available: Collection[str]) -> str:
    """Return the language to show a text in: `wanted` (`es`, `ES`, `es-BO`) where it is available, else English."""
    primary = (wanted or "").strip().lower().replace("_", "-").partition("-")[0]
    return primary if primary in available else FALLBACK
