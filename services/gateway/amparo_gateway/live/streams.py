"""Begins subscriptions and writes what they see, once for all listeners that would read the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from amparo_common.auth.principal import Principal
from amparo_gateway.errors import DocumentError
from amparo_gateway.live import protocol
from amparo_gateway.live.hub import Sighting
from amparo_gateway.live.protocol import Asked
from amparo_gateway.schema.errors import denials, shown
from amparo_gateway.schema.streaming import RefusedStreamError, Stream, begin
from amparo_gateway.service import Desk


class Streams:
    """Subscriptions as `desk` lets them run: its documents, its contexts, its record of denials."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def begin(self, asked: Asked, *, principal: Principal, trace_id: str) -> Stream:
        """Begin a subscription; the caller closes it. Raises RefusedStreamError."""
        try:
            text = self._desk.document(asked.query, asked.document_id, principal=principal)
        except DocumentError as error:
            raise RefusedStreamError(error) from error
        context = self._desk.context(principal, trace_id=trace_id)
        return await begin(text, variables=asked.variables, operation=asked.operation_name, context=context)

    async def refusal(self, refused: RefusedStreamError, *, principal: Principal, trace_id: str) -> list[Any]:
        """Return the errors of a refusal as the client may read them; what its role was denied goes on record."""
        await self._desk.record_denials(denials(refused.errors), principal=principal)
        return [error.formatted for error in shown(refused.errors, trace_id=trace_id)]

    async def payloads(self, stream: Stream, *, principal: Principal, trace_id: str) -> AsyncGenerator[str, None]:
        """Write each answer of `stream` in JSON, in order. Raises TooSlowError when too much waited."""
        async for sighting in stream.sightings():
            if stream.shared_as is not None:
                yield self._shared(stream, sighting, principal=principal, trace_id=trace_id)
            else:
                context = self._desk.context(principal, trace_id=trace_id)
                result = await stream.execute(sighting, context=context)
                await self._desk.record_denials(denials(result.errors or ()), principal=principal)
                yield _written(result, trace_id=trace_id)

    def _shared(self, stream: Stream, sighting: Sighting[Any], *, principal: Principal, trace_id: str) -> str:
        def write() -> str:
            context = self._desk.context(principal, trace_id=trace_id)
            return _written(stream.execute_shared(sighting, context=context), trace_id=trace_id)

        return sighting.change.once((sighting.aspect, stream.shared_as), write)


def _written(result: Any, *, trace_id: str) -> str:
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = [error.formatted for error in shown(result.errors, trace_id=trace_id)]
    return protocol.encoded(payload)
