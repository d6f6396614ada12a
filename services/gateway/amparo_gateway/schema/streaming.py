"""Subscriptions, executed: the checks of every operation first, then an answer for each thing that is seen.

What a selection of plain facts answers depends on nothing but what changed, so listeners with the same document share
one answer. A selection that asks anything of its request (the caller, a loader) is answered for each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from inspect import isawaitable
from typing import Any, Final

import msgspec
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    OperationType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_operation_ast,
    validate,
    visit,
)
from graphql.execution import Executor, create_source_event_stream, execute_subscription_event
from strawberry.schema.schema_converter import GraphQLCoreConverter

from amparo_gateway.errors import InvalidError
from amparo_gateway.live.hub import Listener, Sighting
from amparo_gateway.schema import SCHEMA
from amparo_gateway.schema.checks import DOCUMENTS_KEPT, check, parsed
from amparo_gateway.schema.context import Context

_CORE: Final = SCHEMA._schema  # noqa: SLF001 - strawberry offers the core schema under no other name
_MOST_ERRORS: Final = 20


class RefusedStreamError(Exception):
    """A subscription that does not begin; `errors` say why."""

    def __init__(self, *errors: GraphQLError) -> None:
        super().__init__("the subscription was refused")
        self.errors = errors


class Stream:
    """A subscription that has begun; to be closed when nobody reads it any more."""

    def __init__(self, listener: Listener[Any], executor: Executor[Any], *, shared_as: tuple[Any, ...] | None) -> None:
        self._listener, self._executor = listener, executor
        #: What others with the same answers have too; None when each answer is this listener's own.
        self.shared_as = shared_as

    async def sightings(self) -> AsyncIterator[Sighting[Any]]:
        """Wait for what is seen, in order; raises TooSlowError when too much waited."""
        while True:
            try:
                yield await self._listener.next_sighting()
            except StopAsyncIteration:
                return

    def execute_shared(self, sighting: Sighting[Any], *, context: Context) -> ExecutionResult:
        """Answer what was seen, with plain facts only."""
        result = execute_subscription_event(self._executor_of(sighting, context))
        if isawaitable(result):
            raise TypeError("a selection of plain facts waits for nothing")
        return result

    async def execute(self, sighting: Sighting[Any], *, context: Context) -> ExecutionResult:
        """Answer what was seen; `context` is new for each event, so that no loader remembers an earlier one."""
        result = execute_subscription_event(self._executor_of(sighting, context))
        return await result if isawaitable(result) else result

    def _executor_of(self, sighting: Sighting[Any], context: Context) -> Executor[Any]:
        executor = self._executor.build_per_event_executor(sighting.value)
        executor.context_value = context
        return executor

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()


async def begin(text: str, *, variables: Mapping[str, Any] | None, operation: str | None, context: Context) -> Stream:
    """Begin a subscription. Raises RefusedStreamError for what may not run and for what is no subscription."""
    given = dict(variables or {})
    try:
        document = parsed(text, context=context)
        check(document, schema=_CORE, variables=given, context=context)
    except GraphQLError as error:
        raise RefusedStreamError(error) from error
    if errors := _invalid(document):
        raise RefusedStreamError(*errors)
    asked = get_operation_ast(document, operation)
    if asked is None or asked.operation is not OperationType.SUBSCRIPTION:
        raise RefusedStreamError(InvalidError("There is no subscription of that name; queries go over HTTP."))
    executor = Executor.build(_CORE, document, None, context, given, operation, hide_suggestions=True)
    if isinstance(executor, list):
        raise RefusedStreamError(*executor)
    source = create_source_event_stream(executor)
    source = await source if isawaitable(source) else source
    if isinstance(source, ExecutionResult):
        raise RefusedStreamError(*(source.errors or ()))
    if not isinstance(source, Listener):
        raise TypeError("every subscription listens to the hub")
    plain = _is_plain(document)
    return Stream(source, executor, shared_as=(text, operation, msgspec.json.encode(given)) if plain else None)


@lru_cache(maxsize=DOCUMENTS_KEPT)
def _invalid(document: DocumentNode) -> tuple[GraphQLError, ...]:
    return tuple(validate(_CORE, document, max_errors=_MOST_ERRORS, hide_suggestions=True))


@lru_cache(maxsize=DOCUMENTS_KEPT)
def _is_plain(document: DocumentNode) -> bool:
    """Say whether no field below the subscription's own takes anything from the request, or waits."""
    found = _Asking(TypeInfo(_CORE))
    visit(document, TypeInfoVisitor(found.types, found))
    return not found.asks


class _Asking(Visitor):
    """Looks for fields whose resolvers take the request's `info` or are coroutines."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self.types, self.asks = types, False

    def enter_field(self, _node: FieldNode, *_: Any) -> None:
        field, parent = self.types.get_field_def(), self.types.get_parent_type()
        if field is None or parent is None or parent is _CORE.subscription_type:
            return
        definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        resolver = getattr(definition, "base_resolver", None)
        if resolver is not None and (resolver.info_parameter is not None or resolver.is_async):
            self.asks = True
