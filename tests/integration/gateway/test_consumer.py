from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from amparo_common.clock import SystemClock
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.ids import uuid7
from amparo_common.log.sqlite import SqliteLog
from amparo_common.vocabulary.codes import Lane, Level, Role
from amparo_gateway.consumer import projection_consumer, rewind_once

pytestmark = pytest.mark.anyio

LIST = "{ incidents(first: 100) { edges { node { reference level } } } }"


@pytest.fixture
async def log(tmp_path):
    log = await SqliteLog.open(tmp_path / "log")
    yield log
    await log.close()


@pytest.fixture
async def own(tmp_path):
    database = await SqliteDatabase.open(tmp_path / "gateway.db", service="gateway")
    await migrate(database, package="amparo_gateway")
    yield database
    await database.close()


@asynccontextmanager
async def reading(log, own, projection):
    await rewind_once(log, projection=projection, clock=SystemClock())
    consumer = projection_consumer(log=log, own=own, projection=projection, clock=SystemClock())
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(probe, *, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not (found := await probe()):
            await asyncio.sleep(0.02)
    return found


async def test_what_is_appended_is_soon_answered_from_every_stream(gateway, log, own, invented, caller):
    urgent = invented.incident(level=Level.P1, lane=Lane.URGENT)
    calm, report_id = invented.incident(), uuid7()
    records = [
        invented.record(urgent, key=urgent.incident_id, lane=Lane.URGENT),
        invented.record(calm, key=calm.incident_id),
        invented.record(invented.joined(calm.incident_id, report_id), key=calm.incident_id),
        invented.record(invented.referral(calm.incident_id), key=calm.incident_id),
    ]
    document = (
        "query($report: ID!) { incidentByReport(reportId: $report) "
        "{ referrals(first: 1) { edges { node { status } } } } " + LIST[2:]
    )

    async def all_there():
        data = await gateway.data(caller(Role.TRIAGER), document, report=str(report_id))
        incident = data["incidentByReport"]
        return data if incident and incident["referrals"]["edges"] and len(data["incidents"]["edges"]) == 2 else None

    async with reading(log, own, gateway.projection):
        await log.append(records)
        data = await until(all_there)
    assert [edge["node"]["level"] for edge in data["incidents"]["edges"]] == ["P1", "P3"]


async def test_a_new_projection_is_filled_from_the_oldest_record(open_projection, log, own, invented):
    incidents = [invented.incident() for _ in range(20)]
    await log.append([invented.record(one, key=one.incident_id) for one in incidents])

    def all_twenty(session):
        return session.connection().exec_driver_sql("SELECT count(*) FROM incident").scalar_one() == 20

    for name in ("first", "second"):
        projection = await open_projection(name)
        async with reading(log, own, projection):
            await until(lambda held=projection: held.read(all_twenty))


async def test_a_projection_that_was_filled_goes_on_where_it_ended(open_projection, log, own):
    projection = await open_projection("projection")
    assert await rewind_once(log, projection=projection, clock=SystemClock())
    assert not await rewind_once(log, projection=projection, clock=SystemClock())


async def test_a_projection_whose_tables_changed_is_emptied_and_filled_anew(open_projection, log, own, invented):
    """A row of a known version would not be written again, so what an earlier release wrote must go first."""
    incident = invented.incident(country="GT")
    await log.append([invented.record(incident, key=incident.incident_id)])
    projection = await open_projection("projection")

    def country(session):
        return session.connection().exec_driver_sql("SELECT country FROM incident").scalar_one_or_none()

    async with reading(log, own, projection):
        await until(lambda: projection.read(country))

    def age(connection):
        connection.exec_driver_sql("UPDATE filled_from SET revision = '0001'")
        connection.exec_driver_sql("UPDATE incident SET country = '??'")

    await projection.write(age)
    async with reading(log, own, projection):
        await until(lambda: projection.read(lambda session: country(session) == "GT"))
    assert not await rewind_once(log, projection=projection, clock=SystemClock())


async def test_a_record_that_cannot_be_read_does_not_keep_its_neighbours(gateway, log, own, invented, caller):
    good = [invented.incident() for _ in range(3)]
    records = [invented.record(one, key=one.incident_id) for one in good]
    broken = type(records[0])(topic=records[0].topic, key=b"x", value=b"{not json", headers=records[0].headers)
    async with reading(log, own, gateway.projection):
        await log.append([records[0], broken, *records[1:]])

        async def three():
            data = await gateway.data(caller(Role.TRIAGER), LIST)
            return len(data["incidents"]["edges"]) == 3

        await until(three)
        dead = await until(
            lambda: own.read(
                lambda session: session.connection().exec_driver_sql("SELECT reason FROM dead_letter").scalars().all()
            )
        )
    assert dead == ["undecodable:bad_value"]
