"""Dead letters: records that a service could not apply, kept as they came until somebody replays or discards them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from sqlalchemy import Connection, func, literal, select, tuple_, update
from sqlalchemy.orm import Session

from amparo_common import audit, inbox, outbox
from amparo_common.audit import AuditEntry
from amparo_common.db.tables import DEAD_LETTER, DeadLetter
from amparo_common.db.types import UtcDateTime, Uuid
from amparo_common.db.upsert import insert_if_new
from amparo_common.events.types import RecordDeadLettered
from amparo_common.log.port import NewRecord, Record
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Lane

#: Counts how often a record was tried; a replay writes it one higher.
ATTEMPT_HEADER: Final = "amparo_attempt"
WAITING: Final = "waiting"
REPLAYED: Final = "replayed"
DISCARDED: Final = "discarded"
_NAMES: Final = UUID("7b1c2f5e-9d0a-5b44-8f7e-2f6f0d1a6c11")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterLimit:
    """When a consumer stops instead of draining a good topic: at too many failures in a row, or in a window.

    `max_invalid_ratio` is over the last `window` records and counts only once so many were seen.
    """

    max_invalid_ratio: float = 0.2
    window: int = 200
    max_consecutive_count: int = 25


class LimitWatch:
    """Counts one lane's good and bad records against a limit."""

    def __init__(self, limit: DeadLetterLimit) -> None:
        self._limit = limit
        self._recent: deque[bool] = deque(maxlen=limit.window)
        self._bad = 0
        self._consecutive = 0

    def good(self, count: int) -> None:
        """Count records that were applied."""
        self._consecutive = 0
        for _ in range(min(count, self._limit.window)):
            self._add(bad=False)

    def bad(self) -> str | None:
        """Count a record that failed; return why the consumer must stop, or None while it may go on."""
        self._consecutive += 1
        self._add(bad=True)
        if self._consecutive > self._limit.max_consecutive_count:
            return f"{self._consecutive} records in a row failed"
        full = len(self._recent) == self._limit.window
        if full and self._bad > self._limit.max_invalid_ratio * self._limit.window:
            return f"{self._bad} of the last {self._limit.window} records failed"
        return None

    def _add(self, *, bad: bool) -> None:
        if len(self._recent) == self._limit.window:
            self._bad -= self._recent[0]
        self._recent.append(bad)
        self._bad += bad


def put(connection: Connection, record: Record, *, service: str, group: str, reason: str, now: datetime) -> bool:
    """Keep `record`, mark its event as seen by `group` and tell the dlq stream; False when the group saw it before.

    `reason` is a slug and an exception's type, never its text. The inbox row (of consumer `group`, as handlers write
    it) keeps the event from being applied after all when its batch is read again; a replay takes the row away.
    """
    attempt, event_id = attempt_of(record), event_id_of(record)
    if event_id is not None and not inbox.mark(connection, event_id, consumer=group, record=record):
        return False
    identity = event_id or f"{record.topic}/{record.partition}/{record.offset}"
    letter_id = uuid5(_NAMES, f"{group}/{identity}/{attempt}")
    row = {
        "id": letter_id,
        "consumer": group,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "at": now,
        "reason": reason,
        "attempt": attempt,
        "state": WAITING,
        "key": record.key,
        "headers": outbox.pack_headers(record.headers),
        "value": record.value,
    }
    statement = insert_if_new(connection, DEAD_LETTER, unique=("id",)).returning(DEAD_LETTER.c.id)
    if not connection.execute(statement, [row]).all():
        return False
    event = _event(record, service=service, group=group, reason=reason, attempt=attempt, at=now)
    outgoing = Outgoing(event=event, key=letter_id, lane=Lane.URGENT, id=letter_id)
    outbox.put(connection, [outgoing], service=service, now=now)
    return True


def attempt_of(record: Record) -> int:
    """Return how often the record was tried, this time included."""
    text = dict(record.headers).get(ATTEMPT_HEADER, b"1")
    return int(text) if text.isdigit() and len(text) <= 6 else 1  # noqa: PLR2004 - a stranger may have written it


def event_id_of(record: Record | NewRecord) -> UUID | None:
    """Return the id of the event in a record; None when it has none that can be read."""
    try:
        return UUID(dict(record.headers)["ce_id"].decode())
    except (KeyError, ValueError):
        return None


def _event(record: Record, *, service: str, group: str, reason: str, attempt: int, at: datetime) -> RecordDeadLettered:
    return RecordDeadLettered(
        service=service,
        group=group,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at=at,
        reason=reason,
        attempt=attempt,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def waiting(session: Session, *, limit: int, after: tuple[datetime, UUID] | None = None) -> Sequence[DeadLetter]:
    """Return waiting dead letters, oldest first; `after` is time and id of the last one of the page before."""
    query = select(DeadLetter).where(DEAD_LETTER.c.state == WAITING)
    if after:
        last = tuple_(literal(after[0], UtcDateTime()), literal(after[1], Uuid()))
        query = query.where(tuple_(DEAD_LETTER.c.at, DEAD_LETTER.c.id) > last)
    return session.execute(query.order_by(DEAD_LETTER.c.at, DEAD_LETTER.c.id).limit(limit)).scalars().all()


def find(session: Session, letter_id: UUID) -> DeadLetter | None:
    """Return one dead letter in any state."""
    return session.get(DeadLetter, letter_id)


def depth(session: Session) -> int:
    """Count what waits; more than nothing calls a human."""
    return session.execute(
        select(func.count()).select_from(DEAD_LETTER).where(DEAD_LETTER.c.state == WAITING)
    ).scalar_one()


def replay(
    connection: Connection,
    ids: Sequence[UUID],
    *,
    actor: str,
    role: str,
    service: str,
    now: datetime,
    because: str | None = None,
) -> list[UUID]:
    """Publish waiting dead letters again as they came, one attempt higher; audited. Returns those that did wait.

    Only the group that failed takes them: the others have the event id in their inbox.
    """
    letters = _settle(connection, ids, state=REPLAYED, because=because)
    for letter in letters:
        record = NewRecord(topic=letter["topic"], key=letter["key"], value=letter["value"], headers=_again(letter))
        event_id, urgent = event_id_of(record), letter["topic"].endswith(".urgent")
        if event_id is not None:
            inbox.forget(connection, event_id, consumer=letter["consumer"])
        outbox.put_again(connection, record, event_id=event_id or letter["id"], urgent=urgent, now=now)
    _audit(connection, letters, action="dead_letter.replay", actor=actor, role=role, service=service, now=now)
    return [letter["id"] for letter in letters]


def discard(
    connection: Connection,
    ids: Sequence[UUID],
    *,
    actor: str,
    role: str,
    service: str,
    now: datetime,
    because: str | None = None,
) -> list[UUID]:
    """Give waiting dead letters up and wipe their content; audited. Returns those that did wait."""
    letters = _settle(connection, ids, state=DISCARDED, because=because)
    gone = [letter["id"] for letter in letters]
    if gone:
        wiped = update(DEAD_LETTER).where(DEAD_LETTER.c.id.in_(gone)).values(value=b"", headers=outbox.pack_headers(()))
        connection.execute(wiped)
    _audit(connection, letters, action="dead_letter.discard", actor=actor, role=role, service=service, now=now)
    return gone


def reasons_of(letter: DeadLetter) -> tuple[str, str | None]:
    """Return why the record is here, and why it was settled when somebody said so."""
    why, line_end, because = letter.reason.partition("\n")
    return why, because if line_end else None


def _settle(connection: Connection, ids: Sequence[UUID], *, state: str, because: str | None) -> list[Mapping[str, Any]]:
    wanted = DEAD_LETTER.c.id.in_(list(ids)) & (DEAD_LETTER.c.state == WAITING)
    found = connection.execute(select(DEAD_LETTER).where(wanted).order_by(DEAD_LETTER.c.at).with_for_update())
    letters: list[Mapping[str, Any]] = [dict(row) for row in found.mappings()]
    if letters:
        settled = [letter["id"] for letter in letters]
        changed: dict[str, Any] = {"state": state}
        if because is not None:
            changed["reason"] = DEAD_LETTER.c.reason + "\n" + because
        connection.execute(update(DEAD_LETTER).where(DEAD_LETTER.c.id.in_(settled)).values(changed))
    return letters


def _again(letter: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
    kept = [header for header in outbox.unpack_headers(letter["headers"]) if header[0] != ATTEMPT_HEADER]
    return (*kept, (ATTEMPT_HEADER, str(letter["attempt"] + 1).encode()))


def _audit(
    connection: Connection,
    letters: Sequence[Mapping[str, Any]],
    *,
    action: str,
    actor: str,
    role: str,
    service: str,
    now: datetime,
) -> None:
    entries = [
        AuditEntry(actor=actor, role=role, action=action, subject=str(letter["id"]), allowed=True) for letter in letters
    ]
    audit.record(connection, entries, service=service, now=now)
