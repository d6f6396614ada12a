"""The files of the embedded log: lock, schema, rows with their checksums, and the witness of what was acknowledged."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from amparo_common.log.port import TOPICS, CorruptRecordError, NewRecord, Record, TopicPartition, partition_of

PARTITIONS: Final[tuple[TopicPartition, ...]] = tuple(
    TopicPartition(topic, partition) for topic, count in sorted(TOPICS.items()) for partition in range(count)
)
FORMAT: Final = 1
DATABASE_FILE: Final = "log.db"
LOCK_FILE: Final = "log.lock"
WITNESS_FILE: Final = "log.ends"
#: A batch that is read stops after this many bytes of values, so that 500 large records do not fill the memory.
_BATCH_BYTES: Final = 8 * 1024 * 1024
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS records (
         topic TEXT NOT NULL, "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL,
         key BLOB NOT NULL, value BLOB NOT NULL, headers BLOB NOT NULL,
         appended_at_ms INTEGER NOT NULL, checksum BLOB NOT NULL,
         PRIMARY KEY (topic, "partition", "offset")) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS positions (
         consumer_group TEXT NOT NULL, topic TEXT NOT NULL, "partition" INTEGER NOT NULL,
         position INTEGER NOT NULL, checksum BLOB NOT NULL,
         PRIMARY KEY (consumer_group, topic, "partition")) STRICT, WITHOUT ROWID""",
)
INSERT_RECORD: Final = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
PUT_POSITION: Final = "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)"
_SELECT_RECORDS: Final = (
    'SELECT "offset", key, value, headers, appended_at_ms, checksum FROM records'
    ' WHERE topic = ? AND "partition" = ? AND "offset" >= ? AND "offset" < ? ORDER BY "offset" LIMIT ?'
)
_SELECT_LAST: Final = 'SELECT MAX("offset") FROM records WHERE topic = ? AND "partition" = ?'
_SELECT_POSITIONS: Final = (
    'SELECT CAST(consumer_group AS BLOB), CAST(topic AS BLOB), "partition", position, checksum FROM positions'
)
_encode_headers: Final = msgspec.msgpack.Encoder().encode
_decode_headers: Final = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode

Positions = dict[str, dict[TopicPartition, int]]


class LogInUseError(Exception):
    """Another process holds the log of this directory."""

    def __init__(self, directory: Path, owner: str) -> None:
        super().__init__(
            f"the event log in {directory} is in use by process {owner}; one process owns a log, stop that one first"
        )
        self.directory, self.owner = directory, owner


class DamagedLogError(Exception):
    """The log's file cannot be opened as what it should be."""


class Damage(NamedTuple):
    """A damaged place. `at` and `offset` are None where the damage cannot be pinned on a partition or record."""

    at: TopicPartition | None
    offset: int | None
    why: str


class Prepared(NamedTuple):
    """A record made ready outside the writer: its place but for the offset, and the digest begun."""

    at: TopicPartition
    key: bytes
    value: bytes
    headers: bytes
    digest: Any

    def row(self, *, offset: int, at_ms: int) -> tuple[str, int, int, bytes, bytes, bytes, int, bytes]:
        """Return the row to insert."""
        digest = self.digest.copy()
        digest.update(_PLACE.pack(offset, at_ms))
        topic, partition = self.at
        return (topic, partition, offset, self.key, self.value, self.headers, at_ms, digest.digest())


_LENGTHS: Final = struct.Struct(">HIIIQ")
_PLACE: Final = struct.Struct(">qq")


def _digest(at: TopicPartition, *, key: bytes, value: bytes, headers: bytes) -> Any:
    topic = at.topic.encode()
    digest = hashlib.blake2b(_LENGTHS.pack(len(topic), at.partition, len(key), len(headers), len(value)), digest_size=8)
    for part in (topic, key, headers, value):
        digest.update(part)
    return digest


def prepare(record: NewRecord) -> Prepared:
    """Make `record` ready to be written. Raises TypeError or UnicodeEncodeError for what is not bytes or text."""
    at = TopicPartition(record.topic, partition_of(record.key, count=TOPICS[record.topic]))
    key, value, headers = bytes(record.key), bytes(record.value), _encode_headers(record.headers)
    return Prepared(at, key, value, headers, _digest(at, key=key, value=value, headers=headers))


def position_checksum(group: str, at: TopicPartition, position: int) -> bytes:
    """Return the checksum of a stored group position."""
    return hashlib.blake2b(repr((group, *at, position)).encode(), digest_size=8).digest()


# ---------------------------------------------------------------- opening


def lock(directory: Path) -> int:
    """Take the directory's lock and return its descriptor. Raises LogInUseError, naming directory and owner."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise LogInUseError(directory, owner or "unknown") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def open_writer(directory: Path) -> sqlite3.Connection:
    """Open the writing connection and make the schema. Raises DamagedLogError for a file that is no such log."""
    path = directory / DATABASE_FILE
    fresh = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        _make(connection, path=path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise DamagedLogError(f"{path} cannot be opened: {error}") from error
    except DamagedLogError:
        connection.close()
        raise
    if fresh:
        path.chmod(0o600)
        _sync_directory(directory)
        _sync_directory(directory.parent)
    return connection


def _make(connection: sqlite3.Connection, *, path: Path) -> None:
    connection.execute("PRAGMA page_size = 8192")
    # WAL with FULL syncs at each commit: what is acknowledged survives a loss of power, not only a kill.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, FORMAT):
        raise DamagedLogError(f"{path} has log format {found}; this version reads {FORMAT}")
    for statement in _SCHEMA:
        connection.execute(statement)
    if not found:
        connection.execute(f"PRAGMA user_version = {FORMAT}")


def open_reader(directory: Path) -> sqlite3.Connection:
    """Open a connection that cannot write; it may be handed from thread to thread, one at a time."""
    connection = sqlite3.connect(directory / DATABASE_FILE, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- reading


class Slice(NamedTuple):
    """Records read from one partition, and the damage that ended the slice early."""

    records: list[Record]
    damage: CorruptRecordError | None


def read(connection: sqlite3.Connection, at: TopicPartition, *, start: int, end: int, limit: int) -> Slice:
    """Read whole records from `start` on, at most `limit`, below `end`; stops at the first damaged one."""
    try:
        return _read(connection, at, start=start, end=end, limit=limit)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return _read_singly(connection, at, start=start, end=end, limit=limit)


def _read(connection: sqlite3.Connection, at: TopicPartition, *, start: int, end: int, limit: int) -> Slice:
    records: list[Record] = []
    expected, size = start, 0
    for row in connection.execute(_SELECT_RECORDS, (*at, start, end, limit)):
        if row[0] != expected:
            return Slice(records, CorruptRecordError(at, expected, f"missing; the next record found is {row[0]}"))
        try:
            records.append(_record(at, row))
        except CorruptRecordError as damage:
            return Slice(records, damage)
        expected, size = expected + 1, size + len(row[2])
        if size > _BATCH_BYTES:
            return Slice(records, None)
    if expected < min(end, start + limit):
        return Slice(records, CorruptRecordError(at, expected, f"missing; the log ends at {end}"))
    return Slice(records, None)


def _read_singly(connection: sqlite3.Connection, at: TopicPartition, *, start: int, end: int, limit: int) -> Slice:
    """Read record by record, so that those before a damaged page are served and the first one in it is named."""
    records: list[Record] = []
    for offset in range(start, min(end, start + limit)):
        try:
            found = _read(connection, at, start=offset, end=offset + 1, limit=1)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            return Slice(records, CorruptRecordError(at, offset, f"unreadable: {error}"))
        if found.damage:
            return Slice(records, found.damage)
        records += found.records
    return Slice(records, None)


def _record(at: TopicPartition, row: tuple[Any, ...]) -> Record:
    offset, key, value, headers, at_ms, checksum = row
    if not all(isinstance(part, bytes) for part in (key, value, headers, checksum)) or not isinstance(at_ms, int):
        raise CorruptRecordError(at, offset, "a column has another type than was written")
    digest = _digest(at, key=key, value=value, headers=headers)
    digest.update(_PLACE.pack(offset, at_ms))
    if digest.digest() != checksum:
        raise CorruptRecordError(at, offset, "the checksum does not fit")
    return Record(
        topic=at.topic,
        partition=at.partition,
        offset=offset,
        key=key,
        value=value,
        headers=_decode_headers(headers),
        appended_at_ms=at_ms,
    )


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell a damaged file from one that is busy, full or gone; also text that is no UTF-8 counts as damage."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)


def positions(connection: sqlite3.Connection) -> tuple[Positions, list[Damage]]:
    """Return the groups' positions, and those that are damaged: such a group starts at the oldest record again."""
    found: Positions = {}
    damaged: list[Damage] = []
    try:
        for group, topic, partition, position, checksum in connection.execute(_SELECT_POSITIONS):
            name, at = group.decode("utf-8", "replace"), TopicPartition(topic.decode("utf-8", "replace"), partition)
            if checksum == position_checksum(name, at, position):
                found.setdefault(name, {})[at] = position
            else:
                damaged.append(Damage(at, None, f"the position of group {name!r} does not fit its checksum"))
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        damaged.append(Damage(None, None, f"group positions are unreadable: {error}"))
    return found, damaged


def next_offsets(
    connection: sqlite3.Connection, *, groups: Positions, witness: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return the next offset of every partition: behind the records, and behind all that was ever acknowledged or read.

    An offset is thus never given twice: records that a damaged file lost stay visible as a gap.
    """
    ends = {}
    for at in PARTITIONS:
        known = max([witness.get(at, 0), *(stored.get(at, 0) for stored in groups.values())])
        try:
            last = connection.execute(_SELECT_LAST, at).fetchone()[0]
        except sqlite3.DatabaseError as error:
            if not _is_damage(error) or not known:
                raise
            last = None
        ends[at] = max(known, 0 if last is None else last + 1)
    return ends


# ---------------------------------------------------------------- the witness


class Witness:
    """A small file that says how far each partition was acknowledged.

    SQLite drops everything behind the first damaged frame of its write-ahead log without a word. The witness is written
    after each commit and before the acknowledgement, so that such a loss shows as a gap. It is not synced: after a loss
    of power it may be older than the log, never newer.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / WITNESS_FILE
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def read(self) -> tuple[dict[TopicPartition, int], list[Damage]]:
        """Return the ends on file; nothing, and why, when the file is damaged."""
        return read_witness(self._path)

    def write(self, ends: Mapping[TopicPartition, int]) -> None:
        """Replace the ends on file in one write."""
        lines = "".join(f"{at.topic} {at.partition} {ends[at]:020d}\n" for at in PARTITIONS).encode()
        sealed = lines + b"crc32 %08x\n" % zlib.crc32(lines)
        os.pwrite(self._descriptor, sealed, 0)
        os.ftruncate(self._descriptor, len(sealed))

    def close(self) -> None:
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def read_witness(path: Path) -> tuple[dict[TopicPartition, int], list[Damage]]:
    """Read a witness file; an absent or empty one says nothing and is no damage."""
    content = path.read_bytes() if path.exists() else b""
    if not content:
        return {}, []
    lines, _, seal = content.rpartition(b"crc32 ")
    if seal.strip() != b"%08x" % zlib.crc32(lines):
        return {}, [Damage(None, None, f"{path.name} is damaged: it cannot say how far the log was acknowledged")]
    entries: Sequence[list[str]] = [line.split(" ") for line in lines.decode().splitlines()]
    return {TopicPartition(topic, int(partition)): int(end) for topic, partition, end in entries}, []
