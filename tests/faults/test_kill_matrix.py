"""Killed at any step, the platform loses nothing, doubles nothing, and keeps order."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.faults.matrix import count_hits, hits_to_kill_at, places, run_chain
from tests.faults.oracle import judge

pytestmark = [pytest.mark.anyio, pytest.mark.kill]

PLACES = list(enumerate(places()))


@pytest.fixture(scope="session")
def hit_counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often each point is passed: counted once by each worker, for its own ports and its own speed."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return count_hits(tmp_path_factory.mktemp("counting"), seed=1000 + worker)


def test_every_registered_point_is_passed(hit_counts: dict[str, int]) -> None:
    never = [f"{service}:{point}" for service, point in places() if not hit_counts.get(f"{service}:{point}")]
    assert never == [], json.dumps(hit_counts, indent=1)


@pytest.mark.parametrize(("number", "place"), PLACES, ids=[":".join(place) for _, place in PLACES])
async def test_killed_at_first_middle_and_last_hit_nothing_is_lost(
    tmp_path: Path, hit_counts: dict[str, int], number: int, place: tuple[str, str]
) -> None:
    service, point = place
    hits = hits_to_kill_at(hit_counts[f"{service}:{point}"], every=False)
    chain = run_chain(tmp_path, service=service, point=point, hits=hits, seed=number)
    assert chain.kills == len(hits)
    verdict = await judge(tmp_path / "data", acknowledged=chain.acknowledged)
    assert verdict.well, verdict
