"""Signed heads of the audit chain: what shows that a tail was cut off or written anew."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.orm import Session

from amparo_common import outbox
from amparo_common.audit.chain import lock_head, stream_key, to_milliseconds
from amparo_common.backoff import Backoff
from amparo_common.clock import Clock, rfc3339
from amparo_common.db.port import Database
from amparo_common.db.tables import AUDIT_CHECKPOINT, AUDIT_HEAD
from amparo_common.errors import TransientError
from amparo_common.events.types import AuditCheckpointSigned
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Lane

#: Keeps the signature from meaning anything elsewhere.
_PREFIX: Final = b"amparo audit checkpoint v1\n"
_LOOK_EVERY_S: Final = 1.0


class CheckpointSigner:
    """Holds the Ed25519 key of a service's checkpoints, made of a 32-byte seed."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: Final = self._key.public_key()
        self.key_id: Final = key_id_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def key_id_of(key: Ed25519PublicKey) -> str:
    """Return the name of a public key: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A head of `service`'s chain after `size` rows, with the signature over all of it."""

    service: str
    size: int
    head: bytes
    at: datetime
    key_id: str
    signature: bytes

    def signed_by(self, key: Ed25519PublicKey) -> bool:
        """Say whether the signature is that of `key`."""
        try:
            key.verify(self.signature, _message(service=self.service, size=self.size, head=self.head, at=self.at))
        except InvalidSignature:
            return False
        return True


def witnessed(event: AuditCheckpointSigned) -> Checkpoint:
    """Read a checkpoint out of its event, as another store kept it."""
    return Checkpoint(
        service=event.service,
        size=event.size,
        head=bytes.fromhex(event.head),
        at=event.at,
        key_id=event.key_id,
        signature=bytes.fromhex(event.signature),
    )


def _message(*, service: str, size: int, head: bytes, at: datetime) -> bytes:
    members = {"at": rfc3339(at), "head": head.hex(), "service": service, "size": size}
    return _PREFIX + msgspec.json.encode(members, order="sorted")


def checkpoint(connection: Connection, *, service: str, signer: CheckpointSigner, now: datetime) -> Checkpoint | None:
    """Sign the chain's head, store it and tell the audit stream; None when nothing was added since the last."""
    size, head = lock_head(connection, service)
    if size == _last_size(connection, service):
        return None
    at = to_milliseconds(now)
    signature = signer.sign(_message(service=service, size=size, head=head, at=at))
    made = Checkpoint(service=service, size=size, head=head, at=at, key_id=signer.key_id, signature=signature)
    connection.execute(insert(AUDIT_CHECKPOINT), [_row(made)])
    event = AuditCheckpointSigned(
        service=service, size=size, head=head.hex(), at=at, key_id=signer.key_id, signature=signature.hex()
    )
    outgoing = Outgoing(event=event, key=stream_key(service), lane=Lane.STANDARD)
    outbox.put(connection, [outgoing], service=service, now=now)
    return made


def _row(made: Checkpoint) -> dict[str, Any]:
    return {
        "service": made.service,
        "size": made.size,
        "head": made.head,
        "at": made.at,
        "key_id": made.key_id,
        "signature": made.signature,
    }


def _last_size(source: Session | Connection, service: str) -> int:
    query = select(func.max(AUDIT_CHECKPOINT.c.size)).where(AUDIT_CHECKPOINT.c.service == service)
    return source.execute(query).scalar() or 0


def stored_checkpoints(session: Session, *, service: str) -> list[Checkpoint]:
    """Return the checkpoints of a chain, oldest first."""
    rows = session.execute(
        select(AUDIT_CHECKPOINT).where(AUDIT_CHECKPOINT.c.service == service).order_by(AUDIT_CHECKPOINT.c.size)
    )
    return [Checkpoint(**row) for row in rows.mappings()]


class Checkpointer:
    """Signs the chain's head when `every_rows` were added, or some were and `every_s` went by."""

    def __init__(
        self,
        *,
        service: str,
        database: Database,
        signer: CheckpointSigner,
        clock: Clock,
        every_rows: int = 1_000,
        every_s: float = 60.0,
    ) -> None:
        self._service, self._database, self._signer, self._clock = service, database, signer, clock
        self._every_rows, self._every_s = every_rows, every_s
        self._signed_at = time.monotonic()

    @property
    def public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """The keys that the chain's checkpoints are signed with, by key id, for whoever verifies."""
        return {self._signer.key_id: self._signer.public_key}

    async def run(self) -> None:
        """Sign until cancelled."""
        backoff = Backoff()
        while True:
            try:
                if await self._due():
                    await self.sign()
            except TransientError:
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            await asyncio.sleep(min(_LOOK_EVERY_S, self._every_s))

    async def sign(self) -> Checkpoint | None:
        """Sign the head now, unless it is signed."""
        service, signer, now = self._service, self._signer, self._clock.now()
        made = await self._database.write(
            lambda connection: checkpoint(connection, service=service, signer=signer, now=now)
        )
        self._signed_at = time.monotonic()
        return made

    async def sign_last(self) -> None:
        """Sign the head at the service's end, so that a stopped chain is signed as a whole."""
        await self.sign()

    async def _due(self) -> bool:
        added = await self._database.read(self._added)
        late = time.monotonic() - self._signed_at >= self._every_s
        return added >= self._every_rows or (added > 0 and late)

    def _added(self, session: Session) -> int:
        size = session.execute(select(AUDIT_HEAD.c.size).where(AUDIT_HEAD.c.service == self._service)).scalar() or 0
        return size - _last_size(session, self._service)
