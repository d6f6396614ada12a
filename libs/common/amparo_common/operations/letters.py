"""The dead letters of a service for those who settle them. What a record holds is never shown, only how much."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from amparo_common import dead_letters
from amparo_common.auth.principal import Principal
from amparo_common.clock import Clock, rfc3339
from amparo_common.db.port import Database
from amparo_common.db.tables import DeadLetter
from amparo_common.errors import FieldError, Problem
from amparo_common.outbox import unpack_headers

#: A page's most letters.
MOST: Final = 200
_TYPE: Final = re.compile(rb"org\.amparo\.[a-z0-9_.]{1,80}")
Settlement = Literal["replay", "discard"]


class DeadLetterDesk:
    """Lists, shows, replays and discards the letters of one service."""

    def __init__(self, *, service: str, database: Database, clock: Clock) -> None:
        self._service, self._database, self._clock = service, database, clock

    async def page(self, *, limit: int, after: str | None) -> dict[str, Any]:
        """Return waiting letters, oldest first, and the cursor of the next page or null. Raises Problem 422."""
        place = _place(after) if after else None

        def read(session: Session) -> tuple[list[dict[str, Any]], str | None, int]:
            found = dead_letters.waiting(session, limit=limit + 1, after=place)
            following = _cursor(found[limit - 1]) if len(found) > limit else None
            return [_shown(one) for one in found[:limit]], following, dead_letters.depth(session)

        shown, following, waiting = await self._database.read(read)
        return {"service": self._service, "waiting": waiting, "dead_letters": shown, "next": following}

    async def letter(self, letter_id: UUID) -> dict[str, Any]:
        """Return one letter in any state. Raises Problem 404."""

        def found(session: Session) -> dict[str, Any] | None:
            letter = dead_letters.find(session, letter_id)
            return _shown(letter) if letter else None

        letter = await self._database.read(found)
        if letter is None:
            raise unknown()
        return letter

    async def settle(self, letter_id: UUID, how: Settlement, *, reason: str, caller: Principal) -> dict[str, Any]:
        """Replay or discard a waiting letter, on record, and return it. Raises Problem 404 and 409."""
        act = dead_letters.replay if how == "replay" else dead_letters.discard
        service, now = self._service, self._clock.now()
        settled = await self._database.write(
            lambda connection: act(
                connection,
                [letter_id],
                actor=caller.name,
                role=caller.role,
                because=reason,
                service=service,
                now=now,
            )
        )
        letter = await self.letter(letter_id)
        if not settled:
            raise Problem(409, "already-settled", "This dead letter was settled before.", detail=letter["state"])
        return letter


def unknown() -> Problem:
    """Make the 404 for a letter that is not here."""
    return Problem(404, "not-found", "There is no such dead letter in this service.")


def _shown(letter: DeadLetter) -> dict[str, Any]:
    headers = dict(unpack_headers(letter.headers))
    reason, because = dead_letters.reasons_of(letter)
    return {
        "id": str(letter.id),
        "consumer": letter.consumer,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "at": rfc3339(letter.at),
        "reason": reason,
        "attempt": letter.attempt,
        "state": letter.state,
        "settled_because": because,
        "event_type": _event_type(headers.get("ce_type", b"")),
        "event_id": _event_id(headers.get("ce_id", b"")),
        "key_bytes": len(letter.key),
        "value_bytes": len(letter.value),
        "headers_bytes": len(letter.headers),
    }


def _event_type(written: bytes) -> str | None:
    """Show what looks like one of ours only: a stranger may have written the headers."""
    return written.decode() if _TYPE.fullmatch(written) else None


def _event_id(written: bytes) -> str | None:
    try:
        return str(UUID(written.decode()))
    except ValueError:
        return None


def _cursor(last: DeadLetter) -> str:
    return urlsafe_b64encode(f"{last.at.isoformat()} {last.id}".encode()).decode()


def _place(cursor: str) -> tuple[datetime, UUID]:
    try:
        at, _, letter_id = urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        moment = datetime.fromisoformat(at)
        return moment.astimezone(UTC), UUID(letter_id)
    except ValueError:
        raise Problem(
            422,
            "invalid-query",
            "The cursor is not one of this list.",
            errors=[FieldError(pointer="/after", detail="take it from `next` of the page before")],
        ) from None
