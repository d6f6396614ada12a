"""Gathering: many go together, urgent first, one failure stays alone, and a full queue says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from amparo_common.errors import TransientError
from amparo_intake.gathering import CrowdedError, Gathering

pytestmark = pytest.mark.anyio


class Store:
    """Keeps what it is given; waits while closed; refuses `bad`."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()

    async def __call__(self, items: Sequence[str]) -> Sequence[str]:
        await self.open.wait()
        self.batches.append(list(items))
        if "gone" in items:
            raise TransientError("the disk is away")
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]


async def begin(
    gathering: Gathering[str, str], items: Sequence[str], *, urgent: bool = False
) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(gathering.put(item, urgent=urgent)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_during_a_commit_goes_into_the_next_one_together() -> None:
    store = Store()
    gathering = Gathering[str, str](store, most_waiting=10)
    first = await begin(gathering, ["a"])
    rest = await begin(gathering, ["b", "c", "d"])
    store.open.set()

    assert await asyncio.gather(*first, *rest) == ["A", "B", "C", "D"]
    assert store.batches == [["a"], ["b", "c", "d"]]


async def test_urgent_items_go_first() -> None:
    store = Store()
    gathering = Gathering[str, str](store, most_waiting=10)
    tasks = await begin(gathering, ["a"])
    tasks += await begin(gathering, ["b", "c"])
    tasks += await begin(gathering, ["u"], urgent=True)
    store.open.set()
    await asyncio.gather(*tasks)

    assert store.batches == [["a"], ["u", "b", "c"]]


async def test_one_item_that_cannot_be_stored_does_not_fail_the_others() -> None:
    store = Store()
    gathering = Gathering[str, str](store, most_waiting=10)
    tasks = await begin(gathering, ["a"])
    tasks += await begin(gathering, ["b", "bad", "c"])
    store.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert answers[:2] == ["A", "B"]
    assert isinstance(answers[2], ValueError)
    assert answers[3] == "C"


async def test_a_store_that_does_not_answer_fails_all_of_the_batch_and_none_after_it() -> None:
    store = Store()
    gathering = Gathering[str, str](store, most_waiting=10)
    tasks = await begin(gathering, ["a"])
    tasks += await begin(gathering, ["gone", "b"])
    store.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(answer) for answer in answers] == [str, TransientError, TransientError]
    assert await gathering.put("c", urgent=False) == "C"


async def test_a_full_queue_says_so_and_keeps_room_for_urgent_items() -> None:
    store = Store()
    gathering = Gathering[str, str](store, most_waiting=2)
    tasks = await begin(gathering, ["a"])
    tasks += await begin(gathering, ["b", "c"])
    with pytest.raises(CrowdedError):
        await gathering.put("d", urgent=False)
    tasks += await begin(gathering, ["u", "v"], urgent=True)
    with pytest.raises(CrowdedError):
        await gathering.put("w", urgent=True)
    store.open.set()

    assert await asyncio.gather(*tasks) == ["A", "B", "C", "U", "V"]


async def test_who_goes_away_does_not_stop_the_storing() -> None:
    store = Store()
    gathering = Gathering[str, str](store, most_waiting=10)
    (first,) = await begin(gathering, ["a"])
    (second,) = await begin(gathering, ["b"])
    second.cancel()
    store.open.set()
    await first
    await gathering.close()

    assert store.batches == [["a"], ["b"]]
