"""The rule engine: conditions in the Common Expression Language, sandboxed and total."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import cel

from amparo_common.vocabulary.codes import Category, Factor, Level
from amparo_triage.domain.policy import DestinationRule, Facts, PackError, PolicyTable, Rule, RuleMatch

_FACTOR_NAME: Final = re.compile(r"\bfactors\s*\.\s*(\w+)")
#: Any use of the map of factors but `factors.NAME`: it could read a factor that this module does not see.
_OTHER_USE: Final = re.compile(r"\bfactors\b(?!\s*\.\s*\w)")
#: Facts repeat (most reports hold a few factors), so whole answers are kept.
_KEPT_ANSWERS: Final = 4_096


class _Condition(NamedTuple):
    program: cel.Program
    factors: tuple[Factor, ...]
    #: Names that it reads beside the factors. With `category` among them it is asked once for each.
    names: frozenset[str]
    #: False for every category and level while no factor holds: then it need not be asked without one of its factors.
    needs_factor: bool


class CelRulePack:
    """A pack whose conditions are compiled. Answers are kept for facts seen before; the engine holds no other state."""

    def __init__(
        self, table: PolicyTable, *, digest: str, rules: Mapping[str, _Condition], places: Mapping[str, _Condition]
    ) -> None:
        self.table = table
        self.digest = digest
        self.label = f"{table.name} {table.version}"
        self._rules, self._places = rules, places
        self._sets = {name: [category.value for category in members] for name, members in table.sets.items()}
        self.evaluate = lru_cache(maxsize=_KEPT_ANSWERS)(self._evaluate)
        self.destinations = lru_cache(maxsize=_KEPT_ANSWERS)(self._destinations)

    @classmethod
    def compile(cls, table: PolicyTable, *, digest: str, file: str) -> Self:
        """Compile every condition and try it on every category; raises PackError, naming `file` and rule."""
        plain, levelled = _trial_contexts(table, level=False), _trial_contexts(table, level=True)
        rules = {rule.id: _compiled(rule, table=table, file=file, level=False, trials=plain) for rule in table.rule}
        places = {
            rule.id: _compiled(rule, table=table, file=file, level=True, trials=levelled) for rule in table.destination
        }
        return cls(table, digest=digest, rules=rules, places=places)

    def _evaluate(self, facts: Facts) -> tuple[RuleMatch, ...]:
        fits = self._fitting(self._rules, facts)
        return tuple(
            RuleMatch(rule=rule, factors=tuple(name for name in self._rules[rule.id].factors if name in facts.held))
            for rule in self.table.rule
            if rule.id in fits
        )

    def _destinations(self, facts: Facts) -> tuple[DestinationRule, ...]:
        fits = self._fitting(self._places, facts)
        return tuple(rule for rule in self.table.destination if rule.id in fits)

    def _fitting(self, conditions: Mapping[str, _Condition], facts: Facts) -> frozenset[str]:
        waiting = {
            name: condition
            for name, condition in conditions.items()
            if not condition.needs_factor or any(factor in facts.held for factor in condition.factors)
        }
        fits: set[str] = set()
        variables = self._variables(waiting, facts)
        for position, category in enumerate(facts.categories):
            context = cel.Context(variables={**variables, "category": category.value})
            for name, condition in waiting.items():
                asked = name not in fits and ("category" in condition.names or position == 0)
                if asked and condition.program.execute(context):
                    fits.add(name)
        return frozenset(fits)

    def _variables(self, conditions: Mapping[str, _Condition], facts: Facts) -> dict[str, Any]:
        """Return what `conditions` read and no more: handing values to the engine is what costs."""
        read = frozenset().union(*(condition.names for condition in conditions.values()))
        factors = {factor for condition in conditions.values() for factor in condition.factors}
        return {
            "factors": {factor.value: factor in facts.held for factor in factors},
            "level": facts.level.value if facts.level else "",
            **{name: members for name, members in self._sets.items() if name in read},
        }


def _trial_contexts(table: PolicyTable, *, level: bool) -> list[cel.Context]:
    """Return every category and level, first without any factor, then with all."""
    sets = {name: [category.value for category in members] for name, members in table.sets.items()}
    levels = [one.value for one in Level] if level else [""]
    return [
        cel.Context(variables={"factors": factors, "category": category.value, "level": one, **sets})
        for factors in ({factor.value: held for factor in Factor} for held in (False, True))
        for one in levels
        for category in Category
    ]


def _compiled(
    rule: Rule | DestinationRule, *, table: PolicyTable, file: str, level: bool, trials: Sequence[cel.Context]
) -> _Condition:
    place = f"{file}: {'destination' if level else 'rule'} {rule.id}"
    try:
        program = cel.compile(rule.when)
    except (ValueError, TypeError) as error:
        raise PackError(f"{place}: the condition is no CEL expression") from error
    names = _factor_names(rule.when)
    unknown = sorted(name for name in names if name not in Factor.__members__)
    if unknown:
        raise PackError(f"{place}: factor {unknown[0]} is unknown")
    known = {"factors", "category", *table.sets, *(("level",) if level else ())}
    strange = sorted(set(program.variables()) - known)
    if strange:
        raise PackError(f"{place}: {strange[0]} is unknown")
    if _OTHER_USE.search(rule.when):
        raise PackError(f"{place}: a factor is written factors.NAME")
    factors = tuple(factor for factor in Factor if factor.value in names)
    answers = [_tried(program, place=place, trial=trial) for trial in trials]
    return _Condition(
        program=program,
        factors=factors,
        names=frozenset(program.variables()),
        needs_factor=bool(factors) and not any(answers[: len(answers) // 2]),
    )


def _factor_names(condition: str) -> frozenset[str]:
    return frozenset(_FACTOR_NAME.findall(condition))


def _tried(program: cel.Program, *, place: str, trial: cel.Context) -> bool:
    try:
        answer: Any = program.execute(trial)
    except Exception as error:  # the engine's own errors share no base
        category = trial.variables["category"]
        raise PackError(f"{place}: the condition fails for {category} ({type(error).__name__})") from error
    if not isinstance(answer, bool):
        raise PackError(f"{place}: the condition answers {type(answer).__name__}, not true or false")
    return answer
