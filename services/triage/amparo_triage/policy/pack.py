"""Reading a policy pack: every mistake that a file can hold is found here, and named with its place."""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from amparo_common.vocabulary.codes import Category, ClockKind, Factor, Level
from amparo_common.vocabulary.guidelines import GUIDELINES
from amparo_triage.domain.policy import LANGUAGES, PackError, PolicyTable, Words
from amparo_triage.policy.cel_pack import CelRulePack

_CLOCKS_OF_TRIAGE: Final = frozenset(ClockKind) - {ClockKind.PARTNER_ACKNOWLEDGEMENT, ClockKind.CONTENT_REMOVAL}
_CLOCKS_REQUIRED: Final = frozenset({ClockKind.HUMAN_TRIAGE, ClockKind.FIRST_REFERRAL, ClockKind.REPORTER_UPDATE})


def base_pack() -> CelRulePack:
    """Return the pack that Amparo comes with."""
    source = resources.files(__package__).joinpath("base.toml")
    return parse_pack(source.read_bytes(), file="base.toml")


def read_pack(path: Path) -> CelRulePack:
    """Read and check the pack in `path`; raises PackError, naming file and rule."""
    try:
        return parse_pack(path.read_bytes(), file=path.name)
    except OSError as error:
        raise PackError(f"{path.name}: cannot be read ({type(error).__name__})") from error


def parse_pack(source: bytes, *, file: str) -> CelRulePack:
    """Check the bytes of a pack and compile its conditions; raises PackError, naming `file` and rule."""
    document: dict[str, object] = {}
    try:
        document = tomllib.loads(source.decode("utf-8"))
        table = msgspec.convert(document, type=PolicyTable)
    except UnicodeDecodeError as error:
        raise PackError(f"{file}: is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise PackError(f"{file}: {error}") from error
    except msgspec.ValidationError as error:
        raise PackError(f"{file}: {_place(str(error), document)}") from error
    problems = [*_missing(table), *_citations(table), *_texts(table), *_repeated(table), *_targets(table)]
    if problems:
        raise PackError(f"{file}: {problems[0]}")
    return CelRulePack.compile(table, digest=hashlib.sha256(source).hexdigest(), file=file)


def _place(words: str, document: dict[str, object]) -> str:
    """Name the rule that a path such as `$.rule[3].floor` points into."""
    for list_name in ("rule", "destination"):
        start, _, rest = words.partition(f"`$.{list_name}[")
        number = rest.partition("]")[0]
        entries = document.get(list_name)
        if rest and number.isdigit() and isinstance(entries, list) and isinstance(entries[int(number)], dict):
            return f"{list_name} {entries[int(number)].get('id', '(without id)')}: {words}"
        if start != words and not number.isdigit():
            return f"{list_name}: {words}"
    return words


def _missing(table: PolicyTable) -> Iterator[str]:
    yield from (f"category {category} is missing" for category in Category if category not in table.category)
    yield from (f"weight of {factor} is missing" for factor in Factor if factor not in table.weights)
    yield from (f"level {level} is missing" for level in Level if level not in table.level)
    for category, policy in table.category.items():
        if not policy.destinations:
            yield f"category {category}: destinations are empty"
    for rule in table.destination:
        if not rule.destinations:
            yield f"destination {rule.id}: destinations are empty"


def _citations(table: PolicyTable) -> Iterator[str]:
    places = [(f"rule {rule.id}", rule.guidelines) for rule in table.rule]
    places += [(f"category {category}", policy.guidelines) for category, policy in table.category.items()]
    for place, guidelines in places:
        if not guidelines:
            yield f"{place}: cites no guideline"
        yield from (f"{place}: guideline {name} is unknown" for name in guidelines if name not in GUIDELINES)


def _texts(table: PolicyTable) -> Iterator[str]:
    texts: list[tuple[str, Words]] = [(f"rule {rule.id}: reason", rule.reason) for rule in table.rule]
    texts += [(f"level {level}: meaning", policy.meaning) for level, policy in table.level.items()]
    texts += [(f"words.{name}", getattr(table.words, name)) for name in table.words.__struct_fields__]
    for place, words in texts:
        yield from (
            f"{place} is empty in {language}" for language in LANGUAGES if not words.in_language(language).strip()
        )
    for language in LANGUAGES:
        try:
            table.words.category.in_language(language).format(label="", level="")
        except (KeyError, IndexError, ValueError):
            yield f"words.category in {language} may hold {{label}} and {{level}} only"


def _repeated(table: PolicyTable) -> Iterator[str]:
    for kind, ids in (
        ("rule", [rule.id for rule in table.rule]),
        ("destination", [rule.id for rule in table.destination]),
    ):
        yield from (f"{kind} {name} stands twice" for name, count in Counter(ids).items() if count > 1)


def _targets(table: PolicyTable) -> Iterator[str]:
    for level, policy in table.level.items():
        yield from (f"level {level}: target {kind} is missing" for kind in _CLOCKS_REQUIRED - policy.targets.keys())
        yield from (f"level {level}: {kind} has no target here" for kind in policy.targets.keys() - _CLOCKS_OF_TRIAGE)
        yield from (
            f"level {level}: target {kind} is not positive" for kind, value in policy.targets.items() if value < 1
        )
