"""Where the data keys of reports come from: intake holds them, the others ask in batches and keep them for a moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, Literal, Protocol, TypeAlias
from uuid import UUID

import msgspec

from amparo_common.clock import Clock
from amparo_common.crypto.sealing import KEY_BYTES, DataKey
from amparo_common.errors import TransientError
from amparo_common.http import ServiceClient, TransportError
from amparo_common.vocabulary.codes import Code, Purpose

MOST_IDS: Final = 500
_MOST_CACHED: Final = 10_000
_CACHED_FOR: Final = timedelta(seconds=60)
_BUDGET_S: Final = 2.0


class KeyState(Code):
    """Why there is no key: it was destroyed for good, or intake never had one of that id."""

    DESTROYED = "DESTROYED"
    UNKNOWN = "UNKNOWN"


Destroyed: TypeAlias = Literal[KeyState.DESTROYED]
Unknown: TypeAlias = Literal[KeyState.UNKNOWN]
KeyAnswer: TypeAlias = DataKey | Destroyed | Unknown


class DataKeys(Protocol):
    """Gives the data keys of reports to who may have them."""

    async def of(self, ids: Sequence[UUID], *, purpose: Purpose) -> Mapping[UUID, KeyAnswer]:
        """Return an answer for each of `ids`: its key, KeyState.DESTROYED or KeyState.UNKNOWN.

        Raises TransientError when they cannot be had now: the caller goes on without the text, or tries again.
        """
        ...

    def forget(self, ids: Iterable[UUID]) -> None:
        """Drop what is kept of `ids`, also what is on its way; called when their erasure is seen."""
        ...


class Tokens(Protocol):
    """Gives the service's own bearer token."""

    async def current(self) -> str: ...


class _Answer(msgspec.Struct, frozen=True):
    state: Literal["key", "destroyed", "unknown"]
    key: bytes | None = None

    def __repr__(self) -> str:
        return f"_Answer({self.state})"


class _Reply(msgspec.Struct, frozen=True):
    keys: dict[UUID, _Answer]


_Slot: TypeAlias = tuple[Purpose, UUID]
_Flight: TypeAlias = "asyncio.Task[Mapping[UUID, KeyAnswer]]"
_decoder = msgspec.json.Decoder(_Reply)


class RemoteDataKeys:
    """Data keys from intake's `POST /v1/keys`, at most 500 ids a call, at most 10 000 of them kept for at most 60 s.

    Kept by purpose, for intake's audit row names the purpose of each key that went out. Two callers that want the same
    key share one call; one who gives up does not take it from the other. For use in one event loop.
    """

    def __init__(self, base_url: str, *, tokens: Tokens, http: ServiceClient, clock: Clock) -> None:
        self._url = base_url.rstrip("/") + "/v1/keys"
        self._tokens, self._http, self._clock = tokens, http, clock
        self._kept: OrderedDict[_Slot, tuple[datetime, KeyAnswer]] = OrderedDict()
        self._flights: dict[_Slot, _Flight] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def of(self, ids: Sequence[UUID], *, purpose: Purpose) -> Mapping[UUID, KeyAnswer]:
        """Return an answer for each of `ids`. Raises TransientError when intake does not give them within 2 s."""
        answers: dict[UUID, KeyAnswer] = {}
        awaited: dict[UUID, _Flight] = {}
        wanted: list[UUID] = []
        for report_id in dict.fromkeys(ids):
            slot = (purpose, report_id)
            if (kept := self._kept_answer(slot)) is not None:
                answers[report_id] = kept
            elif (flight := self._flights.get(slot)) is not None:
                awaited[report_id] = flight
            else:
                wanted.append(report_id)
        for batch in _batches(wanted):
            awaited |= dict.fromkeys(batch, self._start(batch, purpose=purpose))
        if awaited:
            # `wait` does not cancel the flights when this caller is cancelled: others may be on board.
            await asyncio.wait(set(awaited.values()))
        return answers | {report_id: flight.result()[report_id] for report_id, flight in awaited.items()}

    def forget(self, ids: Iterable[UUID]) -> None:
        """Drop what is kept of `ids`; an answer on its way reaches who waits for it and is not kept."""
        for report_id in ids:
            for purpose in Purpose:
                self._kept.pop((purpose, report_id), None)
                self._flights.pop((purpose, report_id), None)

    def __len__(self) -> int:
        return len(self._kept)

    def _start(self, batch: Sequence[UUID], *, purpose: Purpose) -> _Flight:
        flight = asyncio.create_task(self._fetched(batch, purpose=purpose), name="data keys")
        self._flights |= {(purpose, report_id): flight for report_id in batch}
        flight.add_done_callback(lambda done: self._land(done, batch, purpose=purpose))
        return flight

    def _land(self, flight: _Flight, batch: Sequence[UUID], *, purpose: Purpose) -> None:
        # Reading the exception here also keeps asyncio quiet when every caller has gone.
        failed = flight.cancelled() or flight.exception() is not None
        for report_id in batch:
            slot = (purpose, report_id)
            if self._flights.get(slot) is not flight:
                continue  # forgotten meanwhile: the answer may be older than the erasure
            del self._flights[slot]
            answer = None if failed else flight.result()[report_id]
            if answer is not None and answer is not KeyState.UNKNOWN:
                self._keep(slot, answer)

    def _keep(self, slot: _Slot, answer: KeyAnswer) -> None:
        self._kept[slot] = (self._clock.now(), answer)
        self._kept.move_to_end(slot)
        while len(self._kept) > _MOST_CACHED:
            self._kept.popitem(last=False)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_CACHED_FOR.total_seconds(), self._drop_old)

    def _kept_answer(self, slot: _Slot) -> KeyAnswer | None:
        kept = self._kept.get(slot)
        if kept is None:
            return None
        if not self._is_fresh(kept[0]):
            del self._kept[slot]
            return None
        return kept[1]

    def _is_fresh(self, kept_at: datetime) -> bool:
        # A clock that went back makes the age negative; such an answer is not trusted either.
        return timedelta(0) <= self._clock.now() - kept_at < _CACHED_FOR

    def _drop_old(self) -> None:
        """Let no key outlive its minute just because nobody asks."""
        self._sweep = None
        for slot in [slot for slot, (kept_at, _) in self._kept.items() if not self._is_fresh(kept_at)]:
            del self._kept[slot]
        if self._kept:
            self._sweep = asyncio.get_running_loop().call_later(1.0, self._drop_old)

    async def _fetched(self, batch: Sequence[UUID], *, purpose: Purpose) -> Mapping[UUID, KeyAnswer]:
        try:
            async with asyncio.timeout(_BUDGET_S):
                token = await self._tokens.current()
                response = await self._http.post(
                    self._url,
                    json={"ids": [str(report_id) for report_id in batch], "purpose": purpose},
                    headers={"authorization": f"Bearer {token}"},
                )
        except (TimeoutError, TransportError) as error:
            raise TransientError(f"intake gives no data keys: {type(error).__name__}") from error
        if response.status_code != HTTPStatus.OK:
            raise TransientError(f"intake gives no data keys: HTTP {response.status_code}")
        return _answers(response.content, batch)


def _answers(body: bytes, batch: Sequence[UUID]) -> Mapping[UUID, KeyAnswer]:
    try:
        given = _decoder.decode(body).keys
        return {report_id: _answer(given[report_id]) for report_id in batch}
    except (ValueError, KeyError):
        # `from None`: a decoder's words may repeat what stands in the answer.
        raise TransientError("intake gives no data keys: its answer is not understood") from None


def _answer(given: _Answer) -> KeyAnswer:
    if given.state == "destroyed":
        return KeyState.DESTROYED
    if given.state == "unknown":
        return KeyState.UNKNOWN
    if given.key is None or len(given.key) != KEY_BYTES:
        raise ValueError("no key where the answer says so")
    return DataKey(given.key)


def _batches(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), MOST_IDS):
        yield ids[start : start + MOST_IDS]
