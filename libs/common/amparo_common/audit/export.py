"""An audit chain as JSON lines, and its verification without any database.

The lines: one `{"checkpoint": ...}` for each signed head, one `{"entry": ...}` for each row in order, one `{"head":
...}` at the end. Bytes are hexadecimal. Whoever verifies needs the public keys from elsewhere than the file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.orm import Session

from amparo_common.audit.chain import GENESIS
from amparo_common.audit.checkpoints import Checkpoint, stored_checkpoints
from amparo_common.audit.verification import ChainWalk, Verdict, stored_page
from amparo_common.clock import rfc3339
from amparo_common.db.port import Database


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    service: str
    sequence: int
    at: datetime
    actor: str
    role: str
    action: str
    subject: str
    purpose: str | None
    allowed: bool
    hash: str


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    service: str
    size: int
    hash: str


class _Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    service: str
    size: int
    head: str
    at: datetime
    key_id: str
    signature: str


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    checkpoint: _Signed | None = None
    entry: _Entry | None = None
    head: _Head | None = None


_lines: Final = msgspec.json.Decoder(_Line)


def export(session: Session, *, service: str) -> Iterator[bytes]:
    """Yield the chain of `service` as JSON lines, each with its line end, without holding it all."""
    yield from _opening(session, service=service).splitlines(keepends=True)
    reached: int | None = 0
    while reached is not None:
        lines, reached = _page(session, service=service, after=reached)
        yield from lines.splitlines(keepends=True)


async def export_in_pages(database: Database, *, service: str) -> AsyncIterator[bytes]:
    """Yield what `export` does, a page of lines at a time, without keeping one reader busy for the whole chain."""
    yield await database.read(partial(_opening, service=service))
    reached: int | None = 0
    while reached is not None:
        lines, reached = await database.read(partial(_page, service=service, after=reached))
        yield lines


def _opening(session: Session, *, service: str) -> bytes:
    return b"".join(_written({"checkpoint": _signed(one)}) for one in stored_checkpoints(session, service=service))


def _page(session: Session, *, service: str, after: int) -> tuple[bytes, int | None]:
    """Write one page and say where the next begins; the last one ends with the head of the same snapshot."""
    rows, head = stored_page(session, service=service, after=after)
    lines = b"".join(_written({"entry": _entry(row)}) for row in rows)
    if head is None:
        return lines, int(rows[-1]["sequence"])
    return lines + _written({"head": {"service": service, "size": head[0], "hash": head[1].hex()}}), None


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "at": rfc3339(row["at"]), "hash": row["hash"].hex()}


def _written(line: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _signed(one: Checkpoint) -> dict[str, Any]:
    return {
        "service": one.service,
        "size": one.size,
        "head": one.head.hex(),
        "at": rfc3339(one.at),
        "key_id": one.key_id,
        "signature": one.signature.hex(),
    }


def verify_export(
    lines: Iterable[bytes],
    public_keys: Mapping[str, Ed25519PublicKey] | None,
    *,
    service: str,
    witnessed: Sequence[Checkpoint] = (),
) -> Verdict:
    """Walk exported lines of `service` and return what is wrong first; the keys and `witnessed` as for `verify`."""
    walk = ChainWalk(service, keys=public_keys)
    for one in witnessed:
        walk.expect(one)
    try:
        for text in lines:
            if (verdict := _taken(walk, _lines.decode(text))) is not None:
                return verdict
    except (msgspec.DecodeError, ValueError):
        return walk.fail("a line is not readable")
    return walk.fail("the export ends before the chain's head")


def _taken(walk: ChainWalk, line: _Line) -> Verdict | None:
    """Let the walk take a line; return the verdict once there is one."""
    if line.checkpoint is not None:
        walk.expect(_checkpoint(line.checkpoint))
        return None
    if line.entry is not None:
        return None if walk.row(_row(line.entry)) else walk.end(0, GENESIS)
    if line.head is not None:
        return walk.end(line.head.size, bytes.fromhex(line.head.hash))
    return walk.fail("a line is out of place")


def _checkpoint(line: _Signed) -> Checkpoint:
    return Checkpoint(
        service=line.service,
        size=line.size,
        head=bytes.fromhex(line.head),
        at=line.at,
        key_id=line.key_id,
        signature=bytes.fromhex(line.signature),
    )


def _row(entry: _Entry) -> dict[str, Any]:
    return {**msgspec.structs.asdict(entry), "hash": bytes.fromhex(entry.hash)}
