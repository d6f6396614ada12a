"""Data keys from intake: in batches, kept briefly, forgotten at once when a report is erased."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from amparo_common.clock import SetClock
from amparo_common.crypto.data_keys import KeyState, RemoteDataKeys
from amparo_common.crypto.sealing import DataKey
from amparo_common.errors import TransientError
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Purpose

pytestmark = pytest.mark.anyio


class Tokens:
    def __init__(self) -> None:
        self.delay_s = 0.0
        self.calls = 0

    async def current(self) -> str:
        self.calls += 1
        await asyncio.sleep(self.delay_s)
        return "service-token"


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 11, 24, 6, 0, tzinfo=UTC))


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def data_keys(intake: object, http: object, clock: SetClock, tokens: Tokens) -> RemoteDataKeys:
    return RemoteDataKeys(intake.url, tokens=tokens, http=http, clock=clock)


@pytest.fixture
def report(intake: object) -> Callable[[], UUID]:
    def made() -> UUID:
        report_id = uuid7()
        intake.keys[str(report_id)] = os.urandom(32)
        return report_id

    return made


async def test_each_id_is_answered_by_its_key_destroyed_or_unknown(intake, data_keys, report) -> None:
    kept, erased, unheard = report(), uuid7(), uuid7()
    intake.destroyed.add(str(erased))
    answers = await data_keys.of([kept, erased, unheard, kept], purpose=Purpose.TRIAGE)
    assert answers == {
        kept: DataKey(intake.keys[str(kept)]),
        erased: KeyState.DESTROYED,
        unheard: KeyState.UNKNOWN,
    }
    assert intake.calls == [{"ids": [str(kept), str(erased), str(unheard)], "purpose": "TRIAGE"}]
    assert intake.authorizations == ["Bearer service-token"]


async def test_nothing_is_asked_for_nothing(intake, data_keys) -> None:
    assert await data_keys.of([], purpose=Purpose.TRIAGE) == {}
    assert intake.calls == []


async def test_a_call_never_carries_more_than_500_ids(intake, data_keys, report) -> None:
    ids = [report() for _ in range(1201)]
    answers = await data_keys.of(ids, purpose=Purpose.REFERRAL)
    assert sorted(len(call["ids"]) for call in intake.calls) == [201, 500, 500]
    assert {id_: answer.raw() for id_, answer in answers.items()} == {id_: intake.keys[str(id_)] for id_ in ids}


async def test_a_key_is_asked_for_once_a_minute(intake, data_keys, report, clock) -> None:
    report_id = report()
    await data_keys.of([report_id], purpose=Purpose.TRIAGE)
    clock.move(timedelta(seconds=59.9))
    await data_keys.of([report_id], purpose=Purpose.TRIAGE)
    assert len(intake.calls) == 1
    clock.move(timedelta(seconds=0.1))
    await data_keys.of([report_id], purpose=Purpose.TRIAGE)
    assert len(intake.calls) == 2


async def test_a_clock_that_goes_back_does_not_keep_a_key_longer(intake, data_keys, report, clock) -> None:
    report_id = report()
    await data_keys.of([report_id], purpose=Purpose.TRIAGE)
    clock.move(timedelta(hours=-1))
    await data_keys.of([report_id], purpose=Purpose.TRIAGE)
    assert len(intake.calls) == 2


async def test_a_key_fetched_for_one_purpose_is_not_used_for_another(intake, data_keys, report) -> None:
    report_id = report()
    await data_keys.of([report_id], purpose=Purpose.TRIAGE)
    await data_keys.of([report_id], purpose=Purpose.REFERRAL)
    assert [call["purpose"] for call in intake.calls] == ["TRIAGE", "REFERRAL"]


async def test_an_unknown_report_is_asked_for_again(intake, data_keys) -> None:
    report_id = uuid7()
    assert (await data_keys.of([report_id], purpose=Purpose.TRIAGE))[report_id] is KeyState.UNKNOWN
    intake.keys[str(report_id)] = bytes(32)
    assert (await data_keys.of([report_id], purpose=Purpose.TRIAGE))[report_id] == DataKey(bytes(32))


async def test_an_erased_report_is_unreadable_with_the_next_question(intake, data_keys, report) -> None:
    erased, other = report(), report()
    await data_keys.of([erased, other], purpose=Purpose.TRIAGE)
    intake.destroyed.add(str(erased))
    data_keys.forget([erased])
    answers = await data_keys.of([erased, other], purpose=Purpose.TRIAGE)
    assert answers[erased] is KeyState.DESTROYED
    assert intake.calls[-1]["ids"] == [str(erased)]


async def test_a_key_on_its_way_while_its_report_is_erased_is_not_kept(intake, data_keys, report) -> None:
    erased = report()
    intake.delay_s = 0.3
    on_its_way = asyncio.create_task(data_keys.of([erased], purpose=Purpose.TRIAGE))
    await _until(lambda: intake.calls)
    intake.destroyed.add(str(erased))
    data_keys.forget([erased])
    after = asyncio.create_task(data_keys.of([erased], purpose=Purpose.TRIAGE))
    await on_its_way
    assert (await after)[erased] is KeyState.DESTROYED
    assert (await data_keys.of([erased], purpose=Purpose.TRIAGE))[erased] is KeyState.DESTROYED


async def test_callers_at_the_same_time_share_one_call_for_an_id(intake, data_keys, report) -> None:
    first, second, third = report(), report(), report()
    intake.delay_s = 0.2
    answers = await asyncio.gather(
        *(data_keys.of([first, second], purpose=Purpose.TRIAGE) for _ in range(20)),
        data_keys.of([second, third], purpose=Purpose.TRIAGE),
    )
    assert sorted((call["ids"] for call in intake.calls), key=len) == [[str(third)], [str(first), str(second)]]
    assert all(answer[second] == answers[0][second] for answer in answers)


async def test_a_caller_who_gives_up_does_not_take_the_key_from_the_others(intake, data_keys, report) -> None:
    report_id = report()
    intake.delay_s = 0.3
    impatient = asyncio.create_task(data_keys.of([report_id], purpose=Purpose.TRIAGE))
    patient = asyncio.create_task(data_keys.of([report_id], purpose=Purpose.TRIAGE))
    await _until(lambda: intake.calls)
    impatient.cancel()
    assert (await patient)[report_id] == DataKey(intake.keys[str(report_id)])
    assert len(intake.calls) == 1


async def test_the_cache_never_holds_more_than_10_000_keys_and_lets_the_oldest_go(intake, data_keys, report) -> None:
    first = report()
    await data_keys.of([first], purpose=Purpose.TRIAGE)
    await data_keys.of([report() for _ in range(9_999)], purpose=Purpose.TRIAGE)
    assert len(data_keys) == 10_000
    await data_keys.of([report()], purpose=Purpose.TRIAGE)
    assert len(data_keys) == 10_000
    asked = len(intake.calls)
    await data_keys.of([first], purpose=Purpose.TRIAGE)
    assert len(intake.calls) == asked + 1


async def test_an_intake_that_hangs_costs_two_seconds_and_is_transient(intake, data_keys, report) -> None:
    intake.delay_s = 4
    started = time.monotonic()
    with pytest.raises(TransientError):
        await data_keys.of([report()], purpose=Purpose.TRIAGE)
    assert 1.8 < time.monotonic() - started < 3.5


async def test_a_token_that_does_not_come_counts_against_the_same_two_seconds(data_keys, report, tokens) -> None:
    tokens.delay_s = 5
    started = time.monotonic()
    with pytest.raises(TransientError):
        await data_keys.of([report()], purpose=Purpose.TRIAGE)
    assert 1.8 < time.monotonic() - started < 3.5


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503, 302])
async def test_any_other_answer_is_transient_and_nothing_is_kept_of_it(intake, data_keys, report, status) -> None:
    report_id = report()
    intake.status = status
    with pytest.raises(TransientError, match=f"HTTP {status}"):
        await data_keys.of([report_id], purpose=Purpose.TRIAGE)
    intake.status = 200
    assert (await data_keys.of([report_id], purpose=Purpose.TRIAGE))[report_id] == DataKey(intake.keys[str(report_id)])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": {"ID": {"state": "key"}}}',
        b'{"keys": {"ID": {"state": "key", "key": "Y2FuYXJ5"}}}',
        b'{"keys": {"ID": {"state": "key", "key": "canary!"}}}',
        b'{"keys": {"ID": {"state": "canary"}}}',
        b"\xff" * 8,
    ],
)
async def test_an_answer_that_is_not_understood_is_transient_and_not_repeated(intake, data_keys, report, body) -> None:
    report_id = report()
    intake.body = body.replace(b"ID", str(report_id).encode())
    with pytest.raises(TransientError) as caught:
        await data_keys.of([report_id], purpose=Purpose.TRIAGE)
    assert caught.value.__cause__ is None
    assert "canary" not in str(caught.value)
    assert len(data_keys) == 0


async def test_an_intake_that_is_down_is_transient(http, clock, tokens) -> None:
    away = RemoteDataKeys("http://127.0.0.1:9", tokens=tokens, http=http, clock=clock)
    with pytest.raises(TransientError):
        await away.of([uuid7()], purpose=Purpose.TRIAGE)


async def test_a_failure_that_nobody_waits_for_any_more_is_no_noise(http, clock, tokens) -> None:
    noises: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noises.append(context))
    tokens.delay_s = 0.1
    away = RemoteDataKeys("http://127.0.0.1:9", tokens=tokens, http=http, clock=clock)
    caller = asyncio.create_task(away.of([uuid7()], purpose=Purpose.TRIAGE))
    await _until(lambda: tokens.calls)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await asyncio.sleep(0.3)
    del away, caller
    gc.collect()
    assert noises == []


async def _until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not met():
            await asyncio.sleep(0.01)
