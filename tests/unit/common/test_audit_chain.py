"""Properties of the audit chain: whoever changes it is found, and the place is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st
from sqlalchemy import Connection, create_engine, delete, insert, select, update
from sqlalchemy.orm import Session

from amparo_common import audit
from amparo_common.audit import AuditEntry, Checkpoint, CheckpointSigner, Verdict
from amparo_common.audit.chain import link
from amparo_common.db.tables import AUDIT_CHECKPOINT, AUDIT_ENTRY, AUDIT_HEAD, common_metadata
from amparo_common.outbox import take

NOW = datetime(2026, 11, 24, 6, 30, 0, 123456, tzinfo=UTC)
SIGNER = CheckpointSigner(bytes(range(32)))
KEYS = {SIGNER.key_id: SIGNER.public_key}
SERVICE = "triage"

codes = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
entries = st.builds(
    AuditEntry,
    actor=codes,
    role=st.sampled_from(["TRIAGER", "AUDITOR"]),
    action=st.sampled_from(["sensitive.read", "decision.sign"]),
    subject=codes,
    allowed=st.booleans(),
    purpose=st.none() | st.sampled_from(["TRIAGE", "BREAK_GLASS"]),
)
chains = st.lists(entries, min_size=3, max_size=10)


@contextmanager
def chain(written: list[AuditEntry], *, signed_after: int | None = None) -> Iterator[Connection]:
    """A database with a chain, one transaction an entry, and a checkpoint after `signed_after` of them."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        common_metadata.create_all(connection)
        for number, entry in enumerate(written, start=1):
            now = NOW + timedelta(seconds=number)
            audit.record(connection, [entry], service=SERVICE, now=now)
            if number == signed_after:
                audit.checkpoint(connection, service=SERVICE, signer=SIGNER, now=now)
        yield connection
    engine.dispose()


def verdict(connection: Connection, *, witnessed: list[Checkpoint] | None = None) -> Verdict:
    with Session(connection) as session:
        return audit.verify(session, service=SERVICE, keys=KEYS, witnessed=witnessed or ())


def exported(connection: Connection) -> list[bytes]:
    with Session(connection) as session:
        return list(audit.export(session, service=SERVICE))


def both(connection: Connection) -> Verdict:
    """Verify in the database and offline; they must agree."""
    inside = verdict(connection)
    assert audit.verify_export(exported(connection), KEYS, service=SERVICE) == inside
    return inside


def renumber(connection: Connection, old: int, new: int) -> None:
    connection.execute(update(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence == old).values(sequence=new))


def forge_from(connection: Connection, start: int) -> None:
    """Write the hashes anew from row `start` on, and the head, as somebody with the whole database could."""
    rows = connection.execute(select(AUDIT_ENTRY).order_by(AUDIT_ENTRY.c.sequence)).mappings().all()
    previous = bytes(32)
    for row in rows:
        current = row["hash"] if row["sequence"] < start else link(previous, row)
        this = AUDIT_ENTRY.c.sequence == row["sequence"]
        connection.execute(update(AUDIT_ENTRY).where(this).values(hash=current))
        previous = current
    connection.execute(update(AUDIT_HEAD).values(size=len(rows), hash=previous))


@settings(max_examples=30, deadline=None)
@given(written=chains)
def test_an_untouched_chain_is_sound(written: list[AuditEntry]) -> None:
    with chain(written, signed_after=2) as connection:
        assert both(connection) == Verdict(ok=True, size=len(written))


@settings(max_examples=60, deadline=None)
@given(written=chains, data=st.data())
def test_an_edit_is_found_at_its_row(written: list[AuditEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(written)))
    column, value = data.draw(
        st.sampled_from(
            [
                ("actor", "somebody-else-entirely"),
                ("subject", "another-case-entirely"),
                ("action", "nothing.happened"),
                ("purpose", "QUALITY_REVIEW"),
                ("allowed", not written[at - 1].allowed),
                ("at", NOW - timedelta(days=1)),
                ("hash", bytes(32)),
            ]
        )
    )
    with chain(written) as connection:
        connection.execute(update(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence == at).values({column: value}))

        found = both(connection)

    assert (found.ok, found.sequence, found.size) == (False, at, at - 1)


@settings(max_examples=40, deadline=None)
@given(written=chains, data=st.data())
def test_a_deleted_row_is_found_where_it_stood(written: list[AuditEntry], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(written)))
    close_gap = data.draw(st.booleans())
    with chain(written) as connection:
        connection.execute(delete(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence == at))
        if close_gap:
            for later in range(at + 1, len(written) + 1):
                renumber(connection, later, later - 1)

        found = both(connection)

    assert (found.ok, found.sequence) == (False, at)


@settings(max_examples=40, deadline=None)
@given(written=chains, added=entries, data=st.data())
def test_an_inserted_row_is_found_where_it_stands(
    written: list[AuditEntry], added: AuditEntry, data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(written) + 1))
    with chain(written) as connection:
        for later in range(len(written), at - 1, -1):
            renumber(connection, later, later + 1)
        before = connection.execute(select(AUDIT_ENTRY.c.hash).where(AUDIT_ENTRY.c.sequence == at - 1)).scalar()
        row = {
            "service": SERVICE,
            "sequence": at,
            "at": NOW,
            "actor": added.actor,
            "role": added.role,
            "action": added.action,
            "subject": added.subject,
            "purpose": added.purpose,
            "allowed": added.allowed,
        }
        connection.execute(insert(AUDIT_ENTRY), [{**row, "hash": link(before or bytes(32), row)}])

        found = both(connection)

    # The added row follows the one before it; at the latest the row after it, or the head, gives it away.
    assert not found.ok
    assert found.sequence in {at, at + 1}


@settings(max_examples=40, deadline=None)
@given(written=chains, data=st.data())
def test_swapped_rows_are_found_at_the_first_of_them(written: list[AuditEntry], data: st.DataObject) -> None:
    first = data.draw(st.integers(1, len(written) - 1))
    second = data.draw(st.integers(first + 1, len(written)))
    with chain(written) as connection:
        renumber(connection, first, 1000)
        renumber(connection, second, first)
        renumber(connection, 1000, second)

        found = both(connection)

    assert (found.ok, found.sequence) == (False, first)


@settings(max_examples=40, deadline=None)
@given(written=chains, data=st.data())
def test_a_cut_off_tail_is_found_where_it_began(written: list[AuditEntry], data: st.DataObject) -> None:
    left = data.draw(st.integers(0, len(written) - 1))
    with chain(written) as connection:
        connection.execute(delete(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence > left))

        found = both(connection)

    assert (found.ok, found.sequence, found.size) == (False, left + 1, left)


@settings(max_examples=40, deadline=None)
@given(written=chains, data=st.data())
def test_a_tail_cut_off_with_its_head_is_found_by_a_checkpoint(written: list[AuditEntry], data: st.DataObject) -> None:
    signed = data.draw(st.integers(1, len(written)))
    left = data.draw(st.integers(0, signed - 1))
    with chain(written, signed_after=signed) as connection:
        connection.execute(delete(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence > left))
        forge_from(connection, left + 1)

        found = both(connection)

    assert (found.ok, found.sequence) == (False, left + 1)


@settings(max_examples=40, deadline=None)
@given(written=chains, data=st.data())
def test_history_written_anew_is_found_before_the_checkpoint(written: list[AuditEntry], data: st.DataObject) -> None:
    signed = data.draw(st.integers(1, len(written)))
    at = data.draw(st.integers(1, signed))
    with chain(written, signed_after=signed) as connection:
        edited = update(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence == at).values(actor="somebody-else-entirely")
        connection.execute(edited)
        forge_from(connection, at)

        found = both(connection)

    assert (found.ok, found.sequence) == (False, 1)
    assert found.problem == f"rows were written anew between 1 and {signed}"


SAMPLE = [AuditEntry(actor=f"u{n}", role="TRIAGER", action="read", subject="s", allowed=True) for n in range(6)]


def test_a_tail_cut_off_with_all_its_checkpoints_is_found_by_what_the_log_witnessed() -> None:
    with chain(SAMPLE, signed_after=5) as connection:
        (kept,) = connection.execute(select(AUDIT_CHECKPOINT)).mappings().all()
        connection.execute(delete(AUDIT_ENTRY).where(AUDIT_ENTRY.c.sequence > 2))
        connection.execute(delete(AUDIT_CHECKPOINT))
        forge_from(connection, 3)

        assert both(connection).ok, "nothing inside the database shows it"
        assert verdict(connection, witnessed=[Checkpoint(**kept)]) == Verdict(
            ok=False, size=2, problem="rows are missing at the end", sequence=3
        )


def test_a_checkpoint_of_a_strange_key_or_of_other_content_is_refused() -> None:
    strange = CheckpointSigner(bytes(32))
    with chain(SAMPLE) as connection:
        audit.checkpoint(connection, service=SERVICE, signer=strange, now=NOW)
        assert both(connection).problem == "a checkpoint's signature is not valid"

    with chain(SAMPLE, signed_after=3) as connection:
        connection.execute(update(AUDIT_CHECKPOINT).values(at=NOW - timedelta(days=9)))
        assert both(connection) == Verdict(
            ok=False, size=6, problem="a checkpoint's signature is not valid", sequence=3
        )


def test_rows_of_one_transaction_follow_each_other_and_are_told_in_order() -> None:
    with chain([]) as connection:
        audit.record(connection, SAMPLE, service=SERVICE, now=NOW)
        audit.record(connection, [], service=SERVICE, now=NOW)

        assert verdict(connection) == Verdict(ok=True, size=6)
        told = [json.loads(one.record.value) for one in take(connection, 10)]
        assert [event["sequence"] for event in told] == [1, 2, 3, 4, 5, 6]
        hashes = connection.execute(select(AUDIT_ENTRY.c.hash).order_by(AUDIT_ENTRY.c.sequence)).scalars()
        assert [event["hash"] for event in told] == [value.hex() for value in hashes]


def test_a_checkpoint_is_signed_only_when_something_was_added() -> None:
    with chain(SAMPLE, signed_after=6) as connection:
        assert audit.checkpoint(connection, service=SERVICE, signer=SIGNER, now=NOW) is None
        audit.record(connection, SAMPLE[:1], service=SERVICE, now=NOW)
        made = audit.checkpoint(connection, service=SERVICE, signer=SIGNER, now=NOW)
        assert made is not None
        assert made.size == 7


def test_an_export_that_was_cut_or_filled_with_rubbish_is_refused() -> None:
    with chain(SAMPLE, signed_after=3) as connection:
        lines = exported(connection)

    assert audit.verify_export(lines[:-1], KEYS, service=SERVICE).problem == "the export ends before the chain's head"
    for place, rubbish in ((0, b"{}"), (2, b"not json"), (3, b'{"entry":{"service":"triage"}}'), (4, b"\xff")):
        broken = [*lines[:place], rubbish, *lines[place:]]
        assert not audit.verify_export(broken, KEYS, service=SERVICE).ok
    assert not audit.verify_export(lines, KEYS, service="intake").ok


def test_another_services_chain_in_the_same_database_is_apart() -> None:
    with chain(SAMPLE) as connection:
        audit.record(connection, SAMPLE[:2], service="gateway", now=NOW)

        assert verdict(connection).size == 6
        with Session(connection) as session:
            assert audit.verify(session, service="gateway") == Verdict(ok=True, size=2)


@pytest.mark.parametrize("missing", ["head", "everything"])
def test_a_chain_that_was_emptied_is_found(missing: str) -> None:
    with chain(SAMPLE, signed_after=6) as connection:
        connection.execute(delete(AUDIT_HEAD))
        if missing == "everything":
            connection.execute(delete(AUDIT_ENTRY))

        assert not both(connection).ok
