"""The audit chain of a service for those who check it: verification against what the log witnessed, and export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

import structlog

from amparo_common.audit import Checkpoint, Checkpointer, Verdict, export_in_pages, verify_in_pages, witnessed
from amparo_common.db.port import Database
from amparo_common.errors import TransientError
from amparo_common.events.codec import UndecodableError, decode
from amparo_common.events.streams import Stream, topic_of
from amparo_common.events.types import AuditCheckpointSigned
from amparo_common.log.port import CorruptRecordError, EventLog, Record, TopicPartition
from amparo_common.log.reading import read_to_end
from amparo_common.vocabulary.codes import Lane

_TOPIC: Final = topic_of(Stream.AUDIT, lane=Lane.STANDARD)
_log = structlog.get_logger()


class Witness:
    """The checkpoints of one service that stand in the log; what was read once is not read again."""

    def __init__(self, log: EventLog, *, service: str) -> None:
        self._log, self._service = log, service
        self._seen: list[Checkpoint] = []
        self._places: dict[TopicPartition, int] = {}
        self._reading = asyncio.Lock()

    async def checkpoints(self) -> Sequence[Checkpoint]:
        """Return them, oldest first. Raises TransientError or CorruptRecordError when the log cannot be read."""
        async with self._reading:
            group = f"{self._service}-audit-witness"
            reading = read_to_end(self._log, group=group, topics=[_TOPIC], places=self._places)
            async with aclosing(reading):
                async for records in reading:
                    self._seen += [found for record in records if (found := self._of(record)) is not None]
                    self._places[records[-1].at] = records[-1].offset + 1
            return tuple(self._seen)

    def _of(self, record: Record) -> Checkpoint | None:
        if dict(record.headers).get("ce_type") != AuditCheckpointSigned.TYPE.encode():
            return None
        try:
            event = decode(record).event
        except UndecodableError:
            return None  # the consumers of the stream make it a dead letter
        if not isinstance(event, AuditCheckpointSigned) or event.service != self._service:
            return None
        return witnessed(event)


class AuditChain:
    """A service's own chain with the keys that it is signed with."""

    def __init__(self, *, service: str, database: Database, checkpointer: Checkpointer, log: EventLog) -> None:
        self._service, self._database, self._checkpointer = service, database, checkpointer
        self._witness = Witness(log, service=service)

    async def verification(self) -> dict[str, Any]:
        """Walk the chain; `witnessed` is null, with `ok` resting on the database alone, when the log cannot be read."""
        seen: Sequence[Checkpoint] | None = None
        try:
            seen = await self._witness.checkpoints()
        except (TransientError, CorruptRecordError) as error:
            _log.warning("the audit stream could not be read for a verification", error=error, service=self._service)
        keys = self._checkpointer.public_keys
        verdict = await verify_in_pages(self._database, service=self._service, keys=keys, witnessed=seen or ())
        return {**_shown(verdict, service=self._service), "witnessed": None if seen is None else len(seen)}

    def public_keys(self) -> dict[str, str]:
        """Return the public keys of the checkpoints by key id, raw Ed25519 in hexadecimal."""
        return {key_id: key.public_bytes_raw().hex() for key_id, key in self._checkpointer.public_keys.items()}

    async def export(self) -> AsyncIterator[bytes]:
        """Sign the head, then yield the chain as JSON lines."""
        await self._checkpointer.sign()
        async for lines in export_in_pages(self._database, service=self._service):
            yield lines


def _shown(verdict: Verdict, *, service: str) -> dict[str, Any]:
    return {
        "service": service,
        "ok": verdict.ok,
        "size": verdict.size,
        "head": verdict.head,
        "problem": verdict.problem,
        "sequence": verdict.sequence,
    }
