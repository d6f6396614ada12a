"""The scan of a whole log that names every damaged place."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from amparo_common.log import sqlite_store as store
from amparo_common.log.port import TopicPartition
from amparo_common.log.sqlite_store import Damage

_SLICE: Final = 500
_SELECT_STRANGERS: Final = (
    'SELECT CAST(topic AS BLOB), "partition", MIN("offset"), COUNT(*) FROM records GROUP BY topic, "partition"'
)


def damaged_places(
    directory: Path, *, ends: Mapping[TopicPartition, int] | None = None
) -> Generator[Damage, None, None]:
    """Yield every damaged place of the log in `directory`, partition by partition in order of offsets.

    Works on an open log (`ends` are then its own) and on one that no longer opens.
    """
    witnessed, doubts = store.read_witness(directory / store.WITNESS_FILE)
    yield from doubts
    with closing(store.open_reader(directory)) as connection:
        try:
            groups, damaged = store.positions(connection)
            yield from damaged
            known = ends or store.next_offsets(connection, groups=groups, witness=witnessed)
        except sqlite3.DatabaseError as error:
            yield Damage(None, None, f"{store.DATABASE_FILE} cannot be read: {error}")
            return
        of_file = list(_of_file(connection))
        for at in store.PARTITIONS:
            found = dict(_of_partition(connection, at, end=known[at], step=_SLICE))
            if of_file:
                # In a damaged tree a record may be met when reading on and not when looked for, or the other way.
                found = dict(_of_partition(connection, at, end=known[at], step=1)) | found
            yield from (Damage(at, offset, why) for offset, why in sorted(found.items()))
        yield from _strangers(connection)
        yield from of_file


def _of_partition(
    connection: sqlite3.Connection, at: TopicPartition, *, end: int, step: int
) -> Generator[tuple[int, str], None, None]:
    """Yield damaged offsets and why, read `step` records at a time."""
    place = 0
    while place < end:
        found = store.read(connection, at, start=place, end=end, limit=step)
        place += len(found.records)
        if found.damage is not None:
            yield found.damage.offset, found.damage.why
            place = found.damage.offset + 1


def _strangers(connection: sqlite3.Connection) -> Generator[Damage, None, None]:
    """Yield rows whose key was damaged, so that they stand where nobody reads."""
    try:
        rows = connection.execute(_SELECT_STRANGERS).fetchall()
    except sqlite3.DatabaseError as error:
        yield Damage(None, None, f"the records cannot be counted: {error}")
        return
    known = {(at.topic.encode(), at.partition) for at in store.PARTITIONS}
    for topic, partition, offset, count in rows:
        if (topic, partition) not in known:
            yield Damage(None, offset, f"{count} records stand under a partition that does not exist")


def _of_file(connection: sqlite3.Connection) -> Generator[Damage, None, None]:
    try:
        reports = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        reports = [str(error)]
    for report in reports:
        if report != "ok":
            yield Damage(None, None, f"{store.DATABASE_FILE}: {report}")
