"""Verification of an audit chain: says where it was edited, cut, reordered, filled in or written anew."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from amparo_common.audit.chain import GENESIS, link
from amparo_common.audit.checkpoints import Checkpoint, stored_checkpoints
from amparo_common.db.port import Database
from amparo_common.db.tables import AUDIT_ENTRY, AUDIT_HEAD

#: Rows of one page.
ROWS_AT_ONCE: Final = 1_000

#: Public keys of the checkpoints by key id; None when signatures are not to be checked.
Keys = Mapping[str, Ed25519PublicKey] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`size` rows follow from each other, the last with hash `head` (hexadecimal).

    When not `ok`, `problem` says what is wrong from row `sequence` on.
    """

    ok: bool
    size: int
    problem: str | None = None
    sequence: int | None = None
    head: str = field(default="", compare=False)


class ChainWalk:
    """Follows a chain row by row; the first thing wrong is kept."""

    def __init__(self, service: str, *, keys: Keys) -> None:
        self._service, self._keys = service, keys
        self._size, self._hash = 0, GENESIS
        self._wrong: Verdict | None = None
        self._checkpoints: list[Checkpoint] = []
        #: The hash met at the size of each checkpoint; None until the walk comes by.
        self._hashes: dict[int, bytes | None] = {}

    @property
    def size(self) -> int:
        """How many rows follow from each other so far."""
        return self._size

    def expect(self, checkpoint: Checkpoint) -> None:
        """Hold the chain against `checkpoint` at the end; tell it before the first row."""
        self._checkpoints.append(checkpoint)
        self._hashes[checkpoint.size] = None

    def row(self, row: Mapping[str, Any]) -> bool:
        """Take the next row; False when the walk is over because something is wrong."""
        sequence, expected = row["sequence"], self._size + 1
        if row["service"] != self._service or sequence < expected:
            return self._fail("a row was inserted", sequence)
        if sequence > expected:
            return self._fail("rows are missing", expected)
        if link(self._hash, row) != row["hash"]:
            return self._fail("the row is not what was recorded, or does not follow the row before it", sequence)
        self._size, self._hash = sequence, row["hash"]
        if sequence in self._hashes:
            self._hashes[sequence] = self._hash
        return True

    def end(self, size: int, head: bytes) -> Verdict:
        """Hold the chain against its checkpoints and against the head that was kept apart; return the verdict."""
        if self._wrong is None:
            self._against_checkpoints()
        if self._wrong is None:
            self._against_head(size, head)
        return self._wrong or Verdict(ok=True, size=self._size, head=self._hash.hex())

    def fail(self, problem: str) -> Verdict:
        """Give up at the present place: what follows is not readable."""
        self._fail(problem, self._size + 1)
        return self._wrong or Verdict(ok=True, size=self._size, head=self._hash.hex())

    def _against_checkpoints(self) -> None:
        proven = 0
        for one in sorted(self._checkpoints, key=lambda one: one.size):
            if self._keys is not None and not self._is_signed(one, self._keys):
                self._fail("a checkpoint's signature is not valid", one.size)
            elif one.size > self._size:
                self._fail("rows are missing at the end", self._size + 1)
            elif one.head != self._hashes[one.size]:
                self._fail(f"rows were written anew between {proven + 1} and {one.size}", proven + 1)
            if self._wrong is not None:
                return
            proven = one.size

    def _is_signed(self, one: Checkpoint, keys: Mapping[str, Ed25519PublicKey]) -> bool:
        key = keys.get(one.key_id)
        return key is not None and one.service == self._service and one.signed_by(key)

    def _against_head(self, size: int, head: bytes) -> None:
        if size > self._size:
            self._fail("rows are missing at the end", self._size + 1)
        elif size < self._size:
            self._fail("rows were inserted at the end", size + 1)
        elif head != self._hash:
            self._fail("the last row is not the one that was recorded", self._size)

    def _fail(self, problem: str, sequence: int) -> bool:
        self._wrong = self._wrong or Verdict(
            ok=False, size=self._size, head=self._hash.hex(), problem=problem, sequence=sequence
        )
        return False


def verify(session: Session, *, service: str, keys: Keys = None, witnessed: Sequence[Checkpoint] = ()) -> Verdict:
    """Walk the whole chain of `service` and return what is wrong first.

    `keys` are the public keys that checkpoints may be signed with. `witnessed` are checkpoints that another store kept
    (the log's audit stream): with them even a tail that was cut off together with its checkpoints shows. What was added
    after the last checkpoint rests on the chain and its head alone.
    """
    walk = ChainWalk(service, keys=keys)
    for one in (*stored_checkpoints(session, service=service), *witnessed):
        walk.expect(one)
    while (head := _walk_page(session, walk, service=service)) is None:
        pass
    return walk.end(*head)


async def verify_in_pages(
    database: Database, *, service: str, keys: Keys = None, witnessed: Sequence[Checkpoint] = ()
) -> Verdict:
    """Do what `verify` does without keeping one reader and one snapshot busy for the length of the chain."""
    walk = ChainWalk(service, keys=keys)
    for one in (*await database.read(lambda session: stored_checkpoints(session, service=service)), *witnessed):
        walk.expect(one)
    while (head := await database.read(lambda session: _walk_page(session, walk, service=service))) is None:
        pass
    return await asyncio.to_thread(walk.end, *head)


def _walk_page(session: Session, walk: ChainWalk, *, service: str) -> tuple[int, bytes] | None:
    """Walk one page; return the head, of the same snapshot, when nothing stands behind it or something is wrong."""
    rows, head = stored_page(session, service=service, after=walk.size)
    if all(walk.row(row) for row in rows):
        return head
    return stored_head(session, service)


def stored_page(session: Session, *, service: str, after: int) -> tuple[list[dict[str, Any]], tuple[int, bytes] | None]:
    """Return rows of a chain behind row `after` (0: from its start), and the head once they are the last of them."""
    query = select(AUDIT_ENTRY).where(AUDIT_ENTRY.c.service == service).order_by(AUDIT_ENTRY.c.sequence)
    if after:
        query = query.where(AUDIT_ENTRY.c.sequence > after)
    rows = [dict(row) for row in session.execute(query.limit(ROWS_AT_ONCE)).mappings()]
    return rows, None if len(rows) == ROWS_AT_ONCE else stored_head(session, service)


def stored_head(session: Session, service: str) -> tuple[int, bytes]:
    """Return size and hash of the chain's end as kept beside it; of an empty chain when there is none."""
    query = select(AUDIT_HEAD.c.size, AUDIT_HEAD.c.hash).where(AUDIT_HEAD.c.service == service)
    found = session.execute(query).one_or_none()
    return (found.size, found.hash) if found else (0, GENESIS)
