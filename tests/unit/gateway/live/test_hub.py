from __future__ import annotations

import msgspec
import pytest

from amparo_gateway.live.changes import changes
from amparo_gateway.live.hub import Ends, Hub, Sighting, TooSlowError

pytestmark = pytest.mark.anyio


def change_of(event, *, before=None):
    row = {"id": event.incident_id, "version": event.version, "state": msgspec.json.encode(event)}
    stood = {} if before is None else {before.incident_id: msgspec.json.encode(before)}
    return next(changes([row], [], before=stood), None)


def everything(change):
    return Sighting(change, "version", change.after.event.version)


async def taken(listener, count):
    return [(await listener.next_sighting()).value for _ in range(count)]


def test_only_what_is_newer_than_what_stood_is_a_change(incident):
    first, second = incident(version=1), incident(version=2)
    assert change_of(first, before=second) is None
    assert change_of(second, before=second) is None
    newer = change_of(second, before=first)
    assert (newer.before.event.version, newer.after.event.version) == (1, 2)
    assert change_of(first).before is None


async def test_every_listener_gets_every_change_in_order(incident):
    hub = Hub()
    listeners = [hub.listen(everything) for _ in range(3)]
    await hub.publish([change_of(incident(version=number)) for number in (1, 2, 3)])
    for listener in listeners:
        assert await taken(listener, 3) == [1, 2, 3]


async def test_an_older_version_that_comes_later_is_passed_on_to_nobody(incident):
    hub = Hub()
    listener = hub.listen(everything)
    for number in (2, 1, 2, 3):
        await hub.publish([change_of(incident(version=number))])
    listener.close()
    assert [value async for value in listener] == [2, 3]


async def test_what_one_listener_does_not_take_is_bounded_and_costs_the_others_nothing(incident):
    hub = Hub(most_waiting=2)
    slow, quick = hub.listen(everything), hub.listen(everything)
    seen = []
    for number in range(1, 6):
        await hub.publish([change_of(incident(version=number))])
        seen += await taken(quick, 1)
    assert seen == [1, 2, 3, 4, 5]
    with pytest.raises(TooSlowError):
        await slow.next_sighting()


async def test_a_fault_in_one_sight_is_raised_to_its_reader_alone(incident):
    def broken(_):
        raise ZeroDivisionError

    hub = Hub()
    faulty, well = hub.listen(broken), hub.listen(everything)
    await hub.publish([change_of(incident(version=1)), change_of(incident(version=2))])
    assert await taken(well, 2) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        await faulty.next_sighting()


async def test_a_sight_that_ends_is_passed_nothing_more(incident):
    hub = Hub()
    listener = hub.listen(lambda change: everything(change) if change.after.event.version < 2 else Ends.HERE)
    await hub.publish([change_of(incident(version=number)) for number in (1, 2, 3)])
    assert [value async for value in listener] == [1]
    assert not hub.listening


async def test_what_is_made_of_a_change_is_made_once(incident):
    made = []
    change = change_of(incident())
    for _ in range(3):
        assert change.once("words", lambda: made.append(1) or "made") == "made"
    assert made == [1]
