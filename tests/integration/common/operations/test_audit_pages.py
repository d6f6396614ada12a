from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import delete, insert, update

from amparo_common.audit import verify_export
from amparo_common.audit.verification import ROWS_AT_ONCE
from amparo_common.db.tables import AUDIT_CHECKPOINT, AUDIT_ENTRY, AUDIT_HEAD

pytestmark = pytest.mark.anyio
VERIFICATION, EXPORT, KEYS = "/v1/audit/verification", "/v1/audit/export", "/v1/audit/keys"


async def exported(operated):
    reply = await operated.ask("GET", EXPORT, role="auditor")
    assert reply.status_code == 200
    return reply.content.splitlines(keepends=True)


async def public_keys(operated):
    answer = await operated.get(KEYS, role="auditor")
    return {name: Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for name, key in answer["keys"].items()}


async def test_a_chain_of_several_pages_is_whole_online_and_in_its_export(operated):
    await operated.happen(2 * ROWS_AT_ONCE + 7)
    await operated.checkpointer.sign()
    await operated.publish()

    answer = await operated.get(VERIFICATION, role="supervisor")
    verdict = verify_export(await exported(operated), await public_keys(operated), service="triage")

    assert (answer["ok"], answer["size"], answer["witnessed"]) == (True, 2 * ROWS_AT_ONCE + 7, 1)
    assert (verdict.ok, verdict.size) == (True, answer["size"] + 1)  # the export itself is on record
    assert len(answer["head"]) == 64


async def test_a_chain_that_ends_with_a_full_page_is_whole(operated):
    await operated.happen(ROWS_AT_ONCE - 1)
    lines = await exported(operated)

    assert (await operated.get(VERIFICATION, role="auditor"))["size"] == ROWS_AT_ONCE
    assert verify_export(lines, await public_keys(operated), service="triage").size == ROWS_AT_ONCE


async def test_an_export_is_signed_up_to_its_own_row(operated):
    await operated.happen(3)
    lines = await exported(operated)
    assert lines[0].startswith(b'{"checkpoint":{"service":"triage","size":4,')
    cut = [line for line in lines if b'"sequence":4' not in line]
    assert not verify_export(cut, await public_keys(operated), service="triage").ok


async def test_an_empty_chain_is_whole(operated):
    answer = await operated.get(VERIFICATION, role="auditor")
    assert (answer["ok"], answer["size"], answer["sequence"]) == (True, 0, None)


async def test_an_edited_row_is_named_online_and_in_the_export(operated):
    await operated.happen(ROWS_AT_ONCE + 50)
    row = ROWS_AT_ONCE + 20
    edit = update(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence == row).values(actor="somebody else")
    await operated.database.write(lambda connection: connection.execute(edit))

    answer = await operated.get(VERIFICATION, role="auditor")
    verdict = verify_export(await exported(operated), await public_keys(operated), service="triage")

    assert (answer["ok"], answer["sequence"], verdict.sequence) == (False, row, row)
    assert answer["problem"] == verdict.problem


async def test_a_row_before_the_first_and_one_behind_the_head_are_found(operated):
    await operated.happen(5)
    for sequence in (0, 6):
        extra = {"service": "triage", "sequence": sequence, "at": operated.clock.now(), "actor": "x", "role": "X"}
        extra |= {"action": "x", "subject": "x", "purpose": None, "allowed": True, "hash": b"\x01" * 32}
        await operated.database.write(lambda connection, row=extra: connection.execute(insert(AUDIT_ENTRY), [row]))
        answer = await operated.get(VERIFICATION, role="auditor")
        assert (answer["ok"], answer["sequence"]) == (False, sequence)
        gone = delete(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence == sequence)
        await operated.database.write(lambda connection, gone=gone: connection.execute(gone))
    assert (await operated.get(VERIFICATION, role="auditor"))["ok"]


async def test_a_tail_cut_off_with_its_checkpoints_is_found_by_what_the_log_witnessed(operated):
    await operated.happen(4)
    await operated.checkpointer.sign()
    kept = await operated.database.read(lambda session: session.execute(AUDIT_HEAD.select()).mappings().one())
    await operated.happen(3)
    await operated.checkpointer.sign()
    await operated.publish()

    def cut(connection):
        connection.execute(delete(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence > 4))
        connection.execute(delete(AUDIT_CHECKPOINT).where(AUDIT_CHECKPOINT.c.size > 4))
        connection.execute(update(AUDIT_HEAD).values(size=4, hash=kept["hash"]))

    await operated.database.write(cut)

    answer = await operated.get(VERIFICATION, role="auditor")
    assert (answer["ok"], answer["problem"], answer["sequence"]) == (False, "rows are missing at the end", 5)


async def test_what_the_log_witnesses_later_counts_at_the_next_verification(operated):
    seen = []
    for _ in range(3):
        await operated.happen(1)
        await operated.checkpointer.sign()
        await operated.publish()
        seen.append((await operated.get(VERIFICATION, role="auditor"))["witnessed"])
    assert seen == [1, 2, 3]


async def test_a_log_that_cannot_be_read_is_admitted(operated):
    await operated.happen(1)
    await operated.publish()
    other = await operated.log.consumer("triage-audit-witness", topics=["amparo.audit"])
    try:
        answer = await operated.get(VERIFICATION, role="auditor")
    finally:
        await other.close()
    assert (answer["ok"], answer["witnessed"]) == (True, None)
