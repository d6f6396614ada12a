from __future__ import annotations

import asyncio

import pytest

from amparo_common import audit, outbox
from amparo_common.audit import AuditEntry, Checkpointer, CheckpointSigner
from amparo_common.clock import SetClock
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.codec import decode
from amparo_common.log.port import Record

pytestmark = pytest.mark.anyio
SIGNER = CheckpointSigner(b"s" * 32)
ENTRY = AuditEntry(actor="u", role="TRIAGER", action="read", subject="s", allowed=True)


async def record(database: SqliteDatabase, clock: SetClock, count: int) -> None:
    await database.write(
        lambda connection: audit.record(connection, [ENTRY] * count, service="triage", now=clock.now())
    )


async def checkpoints(database: SqliteDatabase) -> list[int]:
    """Return the sizes that the outbox tells of."""
    waiting = await database.read(lambda session: outbox.take(session, 1000))
    return [
        received.event.size
        for received in (
            decode(
                Record(
                    topic=one.record.topic,
                    partition=0,
                    offset=0,
                    key=one.record.key,
                    value=one.record.value,
                    headers=one.record.headers,
                    appended_at_ms=0,
                )
            )
            for one in waiting
        )
        if hasattr(received.event, "signature")
    ]


async def test_the_head_is_signed_after_so_many_rows_and_after_so_long(
    database: SqliteDatabase, clock: SetClock
) -> None:
    await record(database, clock, 5)
    by_rows = Checkpointer(service="triage", database=database, signer=SIGNER, clock=clock, every_rows=5, every_s=0.02)
    task = asyncio.create_task(by_rows.run())
    async with asyncio.timeout(3):
        while await checkpoints(database) != [5]:
            await asyncio.sleep(0.01)
        await record(database, clock, 1)
        while await checkpoints(database) != [5, 6]:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])

    assert await checkpoints(database) == [5, 6], "nothing new, nothing signed"
    verdict = await database.read(
        lambda session: audit.verify(session, service="triage", keys={SIGNER.key_id: SIGNER.public_key})
    )
    assert verdict == audit.Verdict(ok=True, size=6)


async def test_a_chain_written_by_many_at_once_has_no_gap(database: SqliteDatabase, clock: SetClock) -> None:
    await asyncio.gather(*(record(database, clock, 3) for _ in range(60)))

    assert await database.read(lambda session: audit.verify(session, service="triage")) == audit.Verdict(
        ok=True, size=180
    )


async def test_an_audit_row_of_a_unit_that_fails_is_not_kept(database: SqliteDatabase, clock: SetClock) -> None:
    def record_and_fail(connection: outbox.Connection) -> None:
        audit.record(connection, [ENTRY], service="triage", now=clock.now())
        raise ValueError("refused")

    await asyncio.gather(
        record(database, clock, 1),
        database.write(record_and_fail),
        record(database, clock, 1),
        return_exceptions=True,
    )

    assert await database.read(lambda session: audit.verify(session, service="triage")) == audit.Verdict(
        ok=True, size=2
    )
