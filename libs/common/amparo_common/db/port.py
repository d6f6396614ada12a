"""The database of one service: batched writes, read-only reads. Every adapter keeps this contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session

Answer = TypeVar("Answer")
WriteUnit = Callable[[Connection], Answer]
ReadUnit = Callable[[Session], Answer]


_WAKES: Final = "amparo.wakes"


def wake(connection: Connection) -> None:
    """Ask, inside a unit, that the doorbells ring once it is committed: it left work for a loop that waits."""
    connection.info[_WAKES] = True


def woken(connection: Connection) -> bool:
    """Say whether a unit asked for the doorbells since the last look; for adapters."""
    return bool(connection.info.pop(_WAKES, False))


class Database(Protocol):
    """What a service stores in. A unit is a plain function that runs on the adapter's own thread or greenlet."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]: ...

    async def write(self, unit: WriteUnit[Answer]) -> Answer:
        """Run `unit` in one transaction and return its answer once that is committed and synced to disk.

        Units of several callers may share one commit, each behind its own savepoint: when a unit raises, its statements
        are undone and the error reaches its caller alone. A unit may run again after a serialisation failure, so it
        does nothing but use the connection. Statements are Core (or driver) statements; no ORM session.
        Raises TransientError when the database is busy, full or gone; nothing of the unit is stored then, except when
        the commit itself was cut off, which repeats must survive (unique keys).
        """
        ...

    async def read(self, unit: ReadUnit[Answer]) -> Answer:
        """Run `unit` in a read-only session over one consistent snapshot; a statement that writes fails."""
        ...

    async def change_schema(self, unit: WriteUnit[Answer]) -> Answer:
        """Run a migration in one transaction of its own; references are checked at its end. Nobody writes meanwhile."""
        ...

    async def scrub(self) -> None:
        """Clear what the storage still keeps of earlier versions of changed and deleted rows; call it after an erasure.

        Raises TransientError while somebody still reads an earlier version.
        """
        ...

    def after_commit(self, ring: Callable[[], None]) -> None:
        """Call `ring` on the event loop after each commit in which a unit said `wake`; several may ring once."""
        ...

    async def close(self) -> None:
        """Finish the accepted units and release the files or connections."""
        ...
