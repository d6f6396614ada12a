"""What a document may ask of one request, measured on its syntax tree before anything of it is validated or run.

Strawberry's own depth and alias limiters walk every spread of a fragment anew, which fragments that double turn into
exponential work, and they give no code. Here each fragment is measured once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from amparo_gateway.schema.paging import LARGEST_PAGE

#: Depth 12 and 1 000 nodes are always allowed, so the limits stand above them.
MOST_DEPTH: Final = 15
MOST_NESTING: Final = 40
MOST_ALIASES: Final = 60
MOST_NODES: Final = 2_000
MOST_FIELDS: Final = 40_000
MOST_TOKENS: Final = 1_000
#: Fields as they are written, on which validation spends most of its time, and directives on them.
MOST_WRITTEN: Final = 400
MOST_DIRECTIVES: Final = 40
#: Fragments that a document defines: validation compares every two of them.
MOST_FRAGMENTS: Final = 30
MOST_BRACKETS: Final = 60
#: A text of 20 000 characters may stand in a document, though it belongs into a variable.
MOST_CHARACTERS: Final = 40_000
#: Values in the variables, however deep.
MOST_VALUES: Final = 5_000
#: How many entries a list without `first` is taken to have.
_SHORT_LIST: Final = 4
_INTROSPECTION: Final = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class Cost:
    """What a selection asks for at most.

    `depth` counts fields inside fields, `nesting` fragments too; `nodes` are entries of pages, `fields` all values that
    may be answered.
    """

    depth: int = 0
    nesting: int = 0
    aliases: int = 0
    nodes: int = 0
    fields: int = 0
    introspects: bool = False

    def beside(self, other: Cost) -> Cost:
        return Cost(
            depth=max(self.depth, other.depth),
            nesting=max(self.nesting, other.nesting),
            aliases=self.aliases + other.aliases,
            nodes=self.nodes + other.nodes,
            fields=self.fields + other.fields,
            introspects=self.introspects or other.introspects,
        )

    def under(self, *, times: int, page: int, alias: bool, introspects: bool) -> Cost:
        """Return the cost of a field with this selection that is answered `times`, as a page of `page` nodes."""
        return Cost(
            depth=self.depth + 1,
            nesting=self.nesting + 1,
            aliases=self.aliases + alias,
            nodes=page + times * self.nodes,
            fields=1 + times * self.fields,
            introspects=self.introspects or introspects,
        )

    def excess(self) -> str | None:
        """Say in words what is too much; None when nothing is."""
        limits = (
            (self.depth, MOST_DEPTH, "levels deep"),
            (self.nesting, MOST_NESTING, "levels deep, fragments counted"),
            (self.aliases, MOST_ALIASES, "aliases"),
            (self.nodes, MOST_NODES, "nodes"),
            (self.fields, MOST_FIELDS, "fields"),
        )
        return next((f"The document asks for more than {most} {what}." for n, most, what in limits if n > most), None)


def cost_of(document: DocumentNode, *, schema: GraphQLSchema, variables: Mapping[str, Any]) -> Cost:
    """Measure the costliest operation of `document`; linear in its length, cycles and unknown names included."""
    measure = _Measure(document, schema=schema, variables=variables)
    total = Cost()
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            total = total.beside(measure.operation(definition))
    return total


_TOKEN: Final = re.compile(
    r'''"""(?:[^"\\]|\\"""|\\|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*|[A-Za-z_]\w*|-?[0-9][0-9A-Za-z.+-]*|\.\.\.|\S'''
)


def text_excess(text: str) -> str | None:
    """Say in words what is too much in a document that nobody parsed yet: the parser is ten times slower than this."""
    if len(text) > MOST_CHARACTERS:
        return f"The document has more than {MOST_CHARACTERS} characters."
    depth = 0
    for number, token in enumerate(_TOKEN.finditer(text), start=1):
        if number > MOST_TOKENS:
            return f"The document has more than {MOST_TOKENS} tokens."
        match token[0]:
            case "{" | "[" | "(":
                depth += 1
                if depth > MOST_BRACKETS:
                    return f"The document nests more than {MOST_BRACKETS} brackets."
            case "}" | "]" | ")":
                depth -= 1
    return None


def written_excess(document: DocumentNode) -> str | None:
    """Say in words what is written too often in `document`, every fragment read once; None when nothing is."""
    written = directives = 0
    waiting: list[Any] = list(document.definitions)
    while waiting:
        node = waiting.pop()
        directives += len(getattr(node, "directives", None) or ())
        inner = getattr(node, "selection_set", None)
        if inner is not None:
            written += len(inner.selections)
            waiting.extend(inner.selections)
    limits = (
        (written, MOST_WRITTEN, "fields"),
        (directives, MOST_DIRECTIVES, "directives"),
        (len(document.definitions), MOST_FRAGMENTS, "operations and fragments"),
    )
    return next((f"The document writes more than {most} {what}." for n, most, what in limits if n > most), None)


def values_excess(variables: Mapping[str, Any]) -> str | None:
    """Say in words that the variables hold more than any real request: each value is checked against the schema."""
    found = 0
    waiting: list[Any] = [variables]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            found += len(value)
            if found > MOST_VALUES:
                return f"The variables hold more than {MOST_VALUES} values."
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return None


class _Measure:
    def __init__(self, document: DocumentNode, *, schema: GraphQLSchema, variables: Mapping[str, Any]) -> None:
        self._schema, self._variables = schema, variables
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        #: What each fragment costs; nothing while it is being measured, which ends a cycle (validation refuses it).
        self._measured: dict[str, Cost] = {}
        self._defaults: dict[str, int] = {}

    def operation(self, operation: OperationDefinitionNode) -> Cost:
        self._measured.clear()
        self._defaults = {
            variable.variable.name.value: int(variable.default_value.value)
            for variable in operation.variable_definitions or ()
            if isinstance(variable.default_value, IntValueNode)
        }
        return self._selected(operation.selection_set, self._schema.get_root_type(operation.operation))

    def _selected(self, selection_set: SelectionSetNode | None, parent: Any) -> Cost:
        total = Cost()
        for selection in selection_set.selections if selection_set else ():
            total = total.beside(self._selection(selection, parent))
        return total

    def _selection(self, selection: Any, parent: Any) -> Cost:
        if isinstance(selection, FieldNode):
            return self._field(selection, parent)
        if isinstance(selection, InlineFragmentNode):
            condition = selection.type_condition
            inner = self._schema.get_type(condition.name.value) if condition else parent
            return _inside(self._selected(selection.selection_set, inner))
        return _inside(self._spread(selection)) if isinstance(selection, FragmentSpreadNode) else Cost()

    def _spread(self, spread: FragmentSpreadNode) -> Cost:
        name = spread.name.value
        if name not in self._measured:
            self._measured[name] = Cost()
            if fragment := self._fragments.get(name):
                inner = self._schema.get_type(fragment.type_condition.name.value)
                self._measured[name] = self._selected(fragment.selection_set, inner)
        return self._measured[name]

    def _field(self, node: FieldNode, parent: Any) -> Cost:
        name = node.name.value
        known = isinstance(parent, GraphQLObjectType | GraphQLInterfaceType)
        field = parent.fields.get(name) if known else None
        inner = self._selected(node.selection_set, get_named_type(field.type) if field else None)
        if name in _INTROSPECTION:
            inner = replace(inner, depth=0)  # graphql-core bounds it, and every tool's own query is deep
        page = self._page(node.arguments)
        return inner.under(
            times=page or _repeats(field, name),
            page=page,
            alias=node.alias is not None,
            introspects=name in _INTROSPECTION,
        )

    def _page(self, arguments: Iterable[Any] | None) -> int:
        """Return the page size that a field asks for; the largest when it cannot be told, 0 when it is no page."""
        for argument in arguments or ():
            if argument.name.value != "first":
                continue
            value = argument.value
            if isinstance(value, IntValueNode):
                return max(int(value.value), 0)
            if isinstance(value, VariableNode):
                name = value.name.value
                size = self._variables.get(name, self._defaults.get(name))
                return max(size, 0) if isinstance(size, int) else LARGEST_PAGE
        return 0


def _inside(cost: Cost) -> Cost:
    return replace(cost, nesting=cost.nesting + 1)


def _repeats(field: Any, name: str) -> int:
    """`edges` are as many as the page above them already counts; another list is taken to be short."""
    return _SHORT_LIST if field and name != "edges" and is_list_type(get_nullable_type(field.type)) else 1
