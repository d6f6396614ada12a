"""A running embedded platform, started once for the worker's end-to-end tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from amparo_common.testing.platform import RunningPlatform, free_offset


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    running = RunningPlatform(tmp_path_factory.mktemp("platform") / "data", free_offset(seed=500 + worker))
    running.start()
    running.wait_ready()
    yield running
    running.stop()
