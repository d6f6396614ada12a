"""Opening sealed parts for triage: what a narrative proposes, and the facts that it names as blind-index values."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog

from amparo_common.crypto.blind_index import (
    BlindIndex,
    canonical_address,
    canonical_handle,
    canonical_hash,
    canonical_phone,
)
from amparo_common.crypto.data_keys import DataKeys, KeyAnswer, KeyState
from amparo_common.crypto.parts import Narrative, open_message, open_narrative
from amparo_common.crypto.sealing import DataKey, SealBrokenError
from amparo_common.errors import TransientError
from amparo_common.vocabulary.codes import Category, Factor, Purpose
from amparo_triage.domain.facts import NOTHING_READ, Reading
from amparo_triage.domain.joining import Fact
from amparo_triage.domain.policy import JoiningPolicy
from amparo_triage.text.reader import TextReader

#: Pure work gives way to the loop at least this often.
_SLICE_S: Final = 0.008
#: After keys could not be had, nobody waits for them again for this long: texts go to the pending ones at once.
_KEYS_PAUSE_S: Final = 1.0
_ADDRESS: Final = re.compile(r"(?i)\b(?:h(?:tt|xx)ps?://|www\.)[^\s<>\"'«»]+")
_SHORTEST_HANDLE: Final = 3
_log = structlog.get_logger()


class UnknownKeyError(Exception):
    """Intake never had a key of this report: its record is poison."""


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed text as it came: a report's narrative, or one message of its reporter."""

    id: UUID
    report_id: UUID
    country: str | None
    sealed: bytes
    is_message: bool = False
    trusted_source: bool = False


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What was found behind the seal. `reading` None: not readable yet; `gone`: never again."""

    reading: Reading | None = None
    facts: tuple[Fact, ...] = ()
    gone: bool = False


NOT_YET: Final = Opened()
GONE: Final = Opened(reading=NOTHING_READ, gone=True)


class Opener:
    """Opens sealed texts in batches: one question for all keys, then slices of reading with the loop in between."""

    def __init__(self, *, keys: DataKeys, blind: BlindIndex, reader: TextReader, joining: JoiningPolicy) -> None:
        self._keys, self._blind, self._reader = keys, blind, reader
        self._shared_hosts = frozenset(joining.shared_hosts)
        self._placeholders = frozenset(canonical_handle("", name) for name in joining.placeholder_handles)
        self._no_keys_before = 0.0

    def forget(self, report_ids: Sequence[UUID]) -> None:
        """Drop what is kept of the keys of erased reports."""
        self._keys.forget(report_ids)

    async def open(self, parts: Sequence[Sealed]) -> Mapping[UUID, Opened]:
        """Open parts, by their id. Without keys all are NOT_YET; raises UnknownKeyError when one has no key at all."""
        answers = await self._answers(sorted({part.report_id for part in parts}))
        if any(answers.get(part.report_id) is KeyState.UNKNOWN for part in parts):
            raise UnknownKeyError
        return await self._read(parts, answers)

    async def open_known(self, parts: Sequence[Sealed]) -> Mapping[UUID, Opened]:
        """Open parts as `open`, with NOT_YET for those whose key is unknown: they were taken before, and wait."""
        answers = await self._answers(sorted({part.report_id for part in parts}))
        return await self._read(parts, answers)

    async def _answers(self, report_ids: Sequence[UUID]) -> Mapping[UUID, KeyAnswer]:
        if not report_ids or time.monotonic() < self._no_keys_before:
            return {}
        try:
            return await self._keys.of(report_ids, purpose=Purpose.TRIAGE)
        except TransientError:
            self._no_keys_before = time.monotonic() + _KEYS_PAUSE_S
            _log.warning("data keys are not available", count=len(report_ids))
            return {}

    async def _read(self, parts: Sequence[Sealed], answers: Mapping[UUID, KeyAnswer]) -> Mapping[UUID, Opened]:
        opened: dict[UUID, Opened] = {}
        slice_began = time.perf_counter()
        for part in parts:
            opened[part.id] = self._opened(part, answers.get(part.report_id))
            if time.perf_counter() - slice_began >= _SLICE_S:
                await asyncio.sleep(0)
                slice_began = time.perf_counter()
        return opened

    def _opened(self, part: Sealed, answer: KeyAnswer | None) -> Opened:
        if answer is KeyState.DESTROYED:
            return GONE
        if not isinstance(answer, DataKey):
            return NOT_YET
        try:
            return self._behind_seal(part, answer)
        except SealBrokenError as error:
            # Decided from the clear facts and shown as pending: a damaged text must not hide a report.
            _log.error("a sealed text does not open", reason=error.reason, report_id=str(part.report_id))
            return NOT_YET

    def _behind_seal(self, part: Sealed, key: DataKey) -> Opened:
        if part.is_message:
            message = open_message(key, part.sealed, report_id=part.report_id, message_id=part.id)
            return Opened(reading=self._reader.read(message.text))
        narrative = open_narrative(key, part.sealed, report_id=part.report_id)
        reading = _with_form(self._reader.read(narrative.text), narrative, part=part)
        return Opened(reading=reading, facts=self._facts(narrative, country=part.country))

    def _facts(self, narrative: Narrative, *, country: str | None) -> tuple[Fact, ...]:
        found = dict.fromkeys((*self._addresses(narrative), *self._accounts(narrative, country=country)))
        hashes = (canonical_hash(one.algorithm, one.value) for one in narrative.hashes)
        found |= dict.fromkeys(("hash", canonical) for canonical in hashes if canonical)
        return tuple(Fact(kind, self._blind.of(kind, canonical)) for kind, canonical in found)

    def _addresses(self, narrative: Narrative) -> Iterator[tuple[str, str]]:
        named = (match[0].rstrip(".,;:!?)]}…") for match in _ADDRESS.finditer(narrative.text))
        for url in (*narrative.urls, *named):
            canonical = canonical_address(url)
            host, _, page = canonical.partition("://")[2].partition("/")
            if canonical and (page or host not in self._shared_hosts):
                yield "address", canonical

    def _accounts(self, narrative: Narrative, *, country: str | None) -> Iterator[tuple[str, str]]:
        for account in narrative.accounts:
            phone = canonical_phone(account.handle, region=country)
            if phone is not None:
                yield "phone", phone
                continue
            platform = account.platform or narrative.platform
            canonical, bare = canonical_handle(platform, account.handle), canonical_handle("", account.handle)
            if len(bare.strip()) >= _SHORTEST_HANDLE and bare not in self._placeholders:
                yield "handle", canonical


def _with_form(reading: Reading, narrative: Narrative, *, part: Sealed) -> Reading:
    """Add what sealed fields of the form say: a number among the accounts leaves records that expire."""
    categories, derived = reading.categories, reading.derived
    if any(canonical_phone(account.handle, region=part.country) for account in narrative.accounts):
        derived = (*derived, Factor.EPHEMERAL_DATA)
    if narrative.hashes and part.trusted_source:
        known = (Category.CSAM_KNOWN_HASH, *categories)
        categories = tuple(dict.fromkeys(known))
    return msgspec.structs.replace(reading, categories=categories, derived=derived)
