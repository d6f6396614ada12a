"""The execution of selections, with a short way for plain facts.

graphql-core walks every value through a dozen general steps, which for a page of fifty rows is most of what a request
costs. A fact that a row holds already takes none of them: a field without resolver, or with one that asks nothing of
the request, below which everything is plain too. Such fields are read by closures that are made once a selection.
Whatever is not as the schema says makes the general steps run for that field: they find it again and say it properly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, cast

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    Undefined,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from amparo_common.clock import rfc3339
from amparo_gateway.schema.fields import HELD_AS

Reading = Callable[[Any], Any]
_LARGEST_INT: Final = 2**31 - 1


class _NotPlainError(Exception):
    """A value is not as the schema says."""


class ShortWay(StrawberryGraphQLCoreExecutionContext):
    """Executes as strawberry does, plain fields by their closures."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: By the identity of a selection, which is kept so that the identity stays its own.
        self._plans: dict[int, tuple[Any, list[tuple[str, Reading | None, Any]]]] = {}

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Any,
        grouped_field_set: Any,
        position_context: Any,
    ) -> Any:
        """Answer the plain fields of a selection at once; leave a selection with others to the general steps."""
        kept = self._plans.get(id(grouped_field_set))
        if kept is None:
            kept = grouped_field_set, self._plan(parent_type, grouped_field_set)
            self._plans[id(grouped_field_set)] = kept
        plan, found, left = kept[1], dict[str, Any](), dict[str, Any]()
        for name, reading, details in plan:
            try:
                found[name] = reading(source_value) if reading is not None else Undefined
            except Exception:  # noqa: BLE001 - the general steps meet it again, and tell it with its place
                found[name] = Undefined
            if found[name] is Undefined:
                left[name] = details
        if not left:
            return found
        others = super().execute_fields(parent_type, source_value, path, left, position_context)
        if isinstance(others, dict):
            return _joined(found, others)
        return _joined_later(found, others)

    def _plan(self, parent: GraphQLObjectType, fields: Any) -> list[tuple[str, Reading | None, Any]]:
        return [(name, self._reading(parent, details), details) for name, details in fields.items()]

    def _reading(self, parent: GraphQLObjectType, details: Any) -> Reading | None:
        """Return how to read a field from a row, down to its leaves; None when it is not plain."""
        node = details[0].node
        if node.name.value == "__typename":
            return lambda _row: parent.name
        served = parent.fields.get(node.name.value)
        get = _getter(served) if served and not node.arguments else None
        complete = self._completion(served.type, details) if served and get else None
        if get is None or complete is None:
            return None
        return lambda row: complete(get(row))

    def _completion(self, kind: GraphQLOutputType, details: Any) -> Reading | None:
        if isinstance(kind, GraphQLNonNull):
            return self._value(kind.of_type, details)
        value = self._value(kind, details)
        return None if value is None else lambda given: None if given is None else value(given)

    def _value(self, kind: GraphQLOutputType, details: Any) -> Reading | None:
        """Return how to complete a value that is not null."""
        if isinstance(kind, GraphQLScalarType):
            return _SCALARS.get(kind.name)
        if isinstance(kind, GraphQLEnumType):
            return {one.value: name for name, one in kind.values.items()}.__getitem__
        if isinstance(kind, GraphQLList):
            each = self._completion(kind.of_type, details)
            return None if each is None else lambda given: [each(one) for one in _list(given)]
        if isinstance(kind, GraphQLObjectType):
            return self._object(kind, details)
        return None

    def _object(self, kind: GraphQLObjectType, details: Any) -> Reading | None:
        collected = self.collect_subfields(kind, details)
        plan = self._plan(kind, collected.grouped_field_set)
        if collected.new_defer_usages or any(reading is None for _, reading, _ in plan):
            return None
        origin = kind.extensions[GraphQLCoreConverter.DEFINITION_BACKREF].origin
        fields = [(name, reading) for name, reading, _ in plan if reading is not None]

        def complete(row: Any) -> dict[str, Any]:
            if type(row) is not origin:
                raise _NotPlainError
            return {name: reading(row) for name, reading in fields}

        return complete


def _getter(served: GraphQLField) -> Reading | None:
    """Return how a row gives the value of a field without the request; None when it needs the request."""
    field = served.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(field, StrawberryField) or field.extensions:
        return None
    if name := field.metadata.get(HELD_AS):
        return _held(name)
    resolver = field.base_resolver
    if resolver is None:
        return attrgetter(field.python_name)
    if resolver.is_async or resolver.info_parameter is not None or resolver.arguments:
        return None
    return cast("Reading", resolver.wrapped_func)


def _held(name: str) -> Reading:
    get = attrgetter(name)

    def held(row: Any) -> Any:
        value = get(row)
        if value is None:
            raise _NotPlainError
        return value

    return held


def _list(given: Any) -> list[Any]:
    if type(given) is not list:
        raise _NotPlainError
    return given


def _of_type(kind: type) -> Reading:
    def same(given: Any) -> Any:
        if type(given) is not kind:
            raise _NotPlainError
        return given

    return same


def _int(given: Any) -> int:
    if type(given) is not int or abs(given) > _LARGEST_INT:
        raise _NotPlainError
    return given


def _moment(given: Any) -> str:
    if not isinstance(given, datetime):
        raise _NotPlainError
    if given.tzinfo is UTC:  # as `rfc3339` writes it, without asking for the zone again
        return given.isoformat(timespec="milliseconds")[:-6] + "Z"
    return rfc3339(given)


#: Scalars by name; another one, and another type than its own, is for the general steps.
_SCALARS: Final[dict[str, Reading]] = {
    "String": _of_type(str),
    "ID": _of_type(str),
    "Boolean": _of_type(bool),
    "Int": _int,
    "DateTime": _moment,
}


def _joined(found: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Put the other fields into their places, which `found` holds open in the order of the document."""
    found.update(others)
    return found


async def _joined_later(found: dict[str, Any], others: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return _joined(found, await others)
