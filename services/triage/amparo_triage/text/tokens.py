"""Words of a text, folded for comparison, with the places where they stand as written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

_WORD_OR_END: Final = re.compile(r"(\w+)|([.!?;:\n…]+)")


class Token(NamedTuple):
    """A folded word; `start` and `end` count characters of the text, `sentence` its sentences."""

    word: str
    start: int
    end: int
    sentence: int


def tokens_of(text: str) -> list[Token]:
    """Split `text` into words. Apostrophes and hyphens part words; a sentence ends at a mark or a line break."""
    found: list[Token] = []
    sentence = 0
    for match in _WORD_OR_END.finditer(text):
        if match[1] is not None:
            found.append(Token(folded(match[1]), match.start(), match.end(), sentence))
        else:
            sentence += 1
    return found


@lru_cache(maxsize=16_384)
def folded(word: str) -> str:
    """Return a word without case and accents: `Año` and `ano`, `œuvre` and `oeuvre` are one."""
    if word.isascii():
        return word.lower()
    plain = word.casefold().replace("œ", "oe").replace("æ", "ae")
    return "".join(mark for mark in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(mark))


def words_of(phrase: str) -> Sequence[str]:
    """Fold a plain phrase as a text would be."""
    return [token.word for token in tokens_of(phrase)]
