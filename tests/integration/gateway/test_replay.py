"""The projection is rebuilt beside the one that answers: no empty answer, nothing lost, the same bytes afterwards."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from sqlalchemy import func, select

from amparo_common.clock import SystemClock
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.errors import TransientError
from amparo_common.ids import uuid7
from amparo_common.log.port import NewRecord
from amparo_common.log.sqlite import SqliteLog
from amparo_common.vocabulary.codes import Lane, Level, ReferralStatus
from amparo_gateway import service
from amparo_gateway.consumer import projection_consumer, rewind_once
from amparo_gateway.replay import Replay, ReplayState
from amparo_gateway.switched_projection import SwitchedProjection
from amparo_gateway.tables import projection_metadata

pytestmark = pytest.mark.anyio
INCIDENT = projection_metadata.tables["incident"]


@pytest.fixture
async def log(tmp_path):
    opened = await SqliteLog.open(tmp_path / "log")
    yield opened
    await opened.close()


@pytest.fixture
async def own(tmp_path):
    database = await SqliteDatabase.open(tmp_path / "gateway.db", service="gateway")
    await migrate(database, package="amparo_gateway")
    yield database
    await database.close()


@pytest.fixture
async def projection(tmp_path):
    opened = await SwitchedProjection.open(tmp_path, service="gateway")
    yield opened
    await opened.close()


@asynccontextmanager
async def running(*tasks):
    started = [asyncio.create_task(task()) for task in tasks]
    try:
        yield
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)


@asynccontextmanager
async def gateway(log, own, projection):
    """A consumer and a replay over one projection, as they are composed."""
    await rewind_once(log, projection=projection, clock=SystemClock())
    consumer = projection_consumer(log=log, own=own, projection=projection, clock=SystemClock())
    replay = Replay(log=log, projection=projection, clock=SystemClock())
    async with running(consumer.run, replay.run):
        yield replay


async def dump(projection):
    """Return every row of every table but the mark of when the log was rewound, state bytes included."""

    def rows(session):
        return {
            name: sorted(repr(tuple(row)) for row in session.execute(select(table)))
            for name, table in projection_metadata.tables.items()
            if name != "filled_from"
        }

    return await projection.read(rows)


async def count(projection):
    return await projection.read(lambda session: session.execute(select(func.count()).select_from(INCIDENT)).scalar())


async def until(probe, *, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not await probe():
            await asyncio.sleep(0.02)


async def replayed(replay):
    assert replay.ask(by="admin")

    async def ended():
        return replay.progress.state is not ReplayState.RUNNING

    await until(ended)
    return replay.progress


def case(invented, *, versions=3):
    """An incident in several versions with a referral and audit rows, out of order across topics."""
    key, referral = uuid7(), uuid7()
    records = []
    for version in range(1, versions + 1):
        lane = Lane.URGENT if version == 2 else Lane.STANDARD
        event = invented.incident(key, version=version, level=Level.P1, lane=lane, owners=("agent:a",))
        records.append(invented.record(event, key=key, lane=lane))
        sent = invented.referral(key, key=referral, version=version, status=ReferralStatus.DELIVERED)
        records.append(invented.record(sent, key=key))
    records.append(invented.record(invented.joined(key, key, owner="agent:a"), key=key))
    records.append(invented.record(invented.audited(key.int % 2**31), key=UUID(int=1)))
    return records


async def filled(log, projection, invented, *, cases=60):
    for _ in range(cases):
        await log.append(case(invented))

    async def all_there():
        return await count(projection) == cases

    await until(all_there)


async def test_a_replay_ends_with_the_same_bytes_in_another_file(log, own, projection, invented, tmp_path):
    async with gateway(log, own, projection) as replay:
        await filled(log, projection, invented)
        await asyncio.sleep(0.3)  # the last topics
        before, files = await dump(projection), sorted(file.name for file in tmp_path.glob("gateway-projection*.db"))

        progress = await replayed(replay)

        assert (progress.state, progress.by, progress.skipped) == (ReplayState.DONE, "admin", 0)
        assert progress.read == progress.total == 60 * 8
        assert await dump(projection) == before
        assert sum(map(len, before.values())) > 60 * 6
        (file,) = tmp_path.glob("gateway-projection*.db")
        assert file.name not in files


async def test_what_was_spoilt_in_the_projection_is_right_again(log, own, projection, invented):
    async with gateway(log, own, projection) as replay:
        await filled(log, projection, invented, cases=20)
        await asyncio.sleep(0.3)
        before = await dump(projection)
        await projection.write(lambda connection: connection.execute(INCIDENT.delete().where(INCIDENT.c.lane != "x")))
        assert await count(projection) == 0

        await replayed(replay)

        assert await dump(projection) == before


@pytest.mark.slow
async def test_no_answer_is_ever_empty_or_older_and_nothing_that_comes_meanwhile_is_lost(
    log, own, projection, invented
):
    async with gateway(log, own, projection) as replay:
        await filled(log, projection, invented, cases=150)
        seen, appended, stop = [], 150, asyncio.Event()

        async def look():
            while True:
                seen.append(await count(projection))
                await asyncio.sleep(0)

        async def arrive():
            nonlocal appended
            while not stop.is_set():
                await log.append(case(invented))
                appended += 1
                await asyncio.sleep(0.01)

        arriving = asyncio.create_task(arrive())
        async with running(look):
            for _ in range(3):
                assert (await replayed(replay)).state is ReplayState.DONE
        stop.set()
        await arriving

        async def caught_up():
            return await count(projection) == appended

        await until(caught_up)
        assert appended > 160
        assert len(seen) > 100
        assert seen == sorted(seen)
        assert seen[0] >= 150


async def test_a_commands_answer_applied_during_a_replay_stays_readable(log, own, projection, invented):
    """It is not in the log yet: only writing to both files keeps it."""
    async with gateway(log, own, projection) as replay:
        await filled(log, projection, invented, cases=100)
        answered = invented.incident(version=9)
        replay.ask(by="admin")
        while not replay.progress.read:
            await asyncio.sleep(0)
        await service.apply(projection, invented.received(answered))

        async def ended():
            return replay.progress.state is ReplayState.DONE

        await until(ended)
        version = select(INCIDENT.c.version).where(INCIDENT.c.id == answered.incident_id)
        assert await projection.read(lambda session: session.execute(version).scalar()) == 9


async def test_a_record_that_is_no_event_is_skipped_and_counted(log, own, projection, invented):
    async with gateway(log, own, projection) as replay:
        await filled(log, projection, invented, cases=5)
        await log.append([NewRecord(topic="amparo.referrals", key=b"k", value=b"rubbish")])
        progress = await replayed(replay)
    assert (progress.state, progress.skipped, progress.read) == (ReplayState.DONE, 1, 41)


async def test_a_second_replay_waits_for_the_first_to_be_asked_again(log, own, projection, invented):
    async with gateway(log, own, projection) as replay:
        await filled(log, projection, invented, cases=20)
        assert replay.ask(by="admin")
        assert not replay.ask(by="other")
        assert replay.progress.by == "admin"


async def test_a_write_that_the_fresh_file_missed_keeps_the_old_one_in_place(log, own, projection, invented, tmp_path):
    async with gateway(log, own, projection) as replay:
        await filled(log, projection, invented, cases=100)
        before = await dump(projection)
        replay.ask(by="admin")
        while not replay.progress.read:
            await asyncio.sleep(0)
        await projection._fresh.database.write(INCIDENT.drop)
        await service.apply(projection, invented.received(invented.incident()))

        async def ended():
            return replay.progress.state is not ReplayState.RUNNING

        await until(ended)
        assert replay.progress.state is ReplayState.FAILED
        assert replay.progress.problem
        assert len((await dump(projection))["incident"]) == len(before["incident"]) + 1
        assert [file.name for file in tmp_path.glob("gateway-projection*.db")] == ["gateway-projection.db"]
        assert (await replayed(replay)).state is ReplayState.DONE


async def test_a_replay_that_can_apply_nothing_does_not_take_over(log, own, projection, invented, monkeypatch):
    async with gateway(log, own, projection) as replay:
        await filled(log, projection, invented, cases=40)
        before = await dump(projection)

        async def broken(_projection, _deliveries):
            raise KeyError("a fault of the release")

        monkeypatch.setattr(service, "apply", broken)
        progress = await replayed(replay)

        assert progress.state is ReplayState.FAILED
        assert progress.problem == "26 records in a row failed"
        assert await dump(projection) == before


async def test_a_replay_that_was_killed_leaves_the_old_file_and_its_own_is_removed(tmp_path, invented):
    first = await SwitchedProjection.open(tmp_path, service="gateway")
    await service.apply(first, invented.received(invented.incident()))
    await first.begin()
    assert len(list(tmp_path.glob("gateway-projection*.db"))) == 2

    second = await SwitchedProjection.open(tmp_path, service="gateway")  # as after kill -9
    assert await count(second) == 1
    assert len(list(tmp_path.glob("gateway-projection*.db"))) == 1
    await second.close()
    await first.close()


async def test_the_file_that_took_over_is_the_one_of_the_next_start(tmp_path, invented):
    first = await SwitchedProjection.open(tmp_path, service="gateway")
    fresh = await first.begin()
    await service.apply(fresh, invented.received(invented.incident()))
    await first.switch()
    await first.close()

    second = await SwitchedProjection.open(tmp_path, service="gateway")
    assert await count(second) == 1
    await second.close()


async def test_a_read_that_began_in_the_old_file_ends_there(tmp_path, invented):
    projection = await SwitchedProjection.open(tmp_path, service="gateway")
    await service.apply(projection, invented.received(invented.incident()))
    await projection.begin()
    entered, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(session):
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(5)
        return session.execute(select(func.count()).select_from(INCIDENT)).scalar()

    reading = asyncio.create_task(projection.read(slow))
    await entered.wait()
    switching = asyncio.create_task(projection.switch())
    while await count(projection):
        await asyncio.sleep(0.01)
    assert not switching.done()
    go_on.set()
    assert await reading == 1
    await switching
    await projection.close()


async def test_without_a_fresh_file_nothing_switches(projection):
    with pytest.raises(TransientError):
        await projection.switch()
    await service.mark_filled_from_the_start(projection, now=SystemClock().now())
