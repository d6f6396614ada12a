"""The kill matrix: the platform is killed at a hit of a fault point, started again, and judged.

One chain is: start with a plan, send reports until the process is dead, again for the next hit, then start without a
plan, wait until everything arrived, stop, and let the oracle read what is on disk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from amparo_common import faults
from amparo_common.testing.platform import RunningPlatform, free_offset, wait_for

#: Reports of the counting run; a chain sends as many as its hit needs.
COUNTED: Final = 8
#: A hit that has not come after so many reports never comes: the chain fails and says so.
MOST_REPORTS: Final = 80
_DEATH_PATIENCE_S: Final = 10.0
_SETTLE_PATIENCE_S: Final = 45.0
_ANSWERED: Final = ("ACKNOWLEDGED", "ACCEPTED", "CLOSED")
_DENIED: Final = "{ incidents(first: 1) { edges { node { id } } } }"
_TRAVELLED: Final = """
  query($id: ID!) { incidentByReport(reportId: $id) {
    reference level version referrals(first: 10) { edges { node { reference status } } }
  } }
"""


def places() -> Iterator[tuple[str, str]]:
    """Yield every registered service and point: a new one cannot be forgotten."""
    for point, services in faults.POINTS.items():
        yield from ((service, point) for service in services)


def hits_to_kill_at(count: int, *, every: bool) -> list[int]:
    """Return the first, the middle and the last of `count` hits, or every one of them."""
    return list(range(1, count + 1)) if every else sorted({1, (count + 1) // 2, count})


@dataclass
class Chain:
    """Kills at one fault point of one service, on one data directory."""

    service: str
    point: str
    platform: RunningPlatform
    acknowledged: list[str] = field(default_factory=list)
    kills: int = 0

    @classmethod
    def on(cls, directory: Path, *, service: str, point: str, seed: int) -> Chain:
        return cls(service, point, RunningPlatform(directory / "data", free_offset(seed=seed)))

    def kill_at(self, hit: int) -> None:
        """Start with the plan and send reports until the process dies. Raises AssertionError when it never does."""
        self.platform.start(AMPARO_FAULTS=f"{self.service}:{self.point}:{hit}:kill")
        sent = 0
        while self.platform.alive:
            if not self.platform.probe("intake"):
                time.sleep(0.05)
                continue
            if sent < MOST_REPORTS:
                self.send(sent)
                sent += 1
                time.sleep(0.02)
            else:
                self._wait_for_death(hit)
        assert self.platform.process is not None
        assert self.platform.process.returncode == -9, self.platform.output.read_text()[-2000:]
        self.kills += 1

    def _wait_for_death(self, hit: int) -> None:
        try:
            wait_for("the planned death", lambda: not self.platform.alive, seconds=_DEATH_PATIENCE_S)
        except TimeoutError as error:
            self.platform.kill()
            raise AssertionError(f"{self.service}:{self.point} was never hit {hit} times") from error

    def send(self, number: int) -> None:
        """Send one report; only an answer of 202 counts as acknowledged."""
        text = f"A man she only knows from a game asks my daughter to keep their chats secret. {self.kills}-{number}"
        body = {"channel": "web", "language": "en", "country": "GH", "category": "GROOMING", "text": text}
        try:
            reply = self.platform.post("intake", "/v1/reports", body)
        except OSError:
            return
        if reply.status == 202:
            self.acknowledged.append(reply.json()["report_id"])
        self._be_denied()

    def _be_denied(self) -> None:
        """Ask for what a partner may not see, so that the gateway has something to put on record and to publish."""
        with suppress(OSError, KeyError):
            self.platform.post("gateway", "/graphql", {"query": _DENIED}, user="partner")

    def settle(self) -> None:
        """Start without a plan, wait until the partner has answered for every acknowledged report, and stop."""
        self.platform.start()
        self.platform.wait_ready()
        self.wait_arrived()
        time.sleep(0.5)
        self.platform.stop()

    def wait_arrived(self) -> None:
        """Wait until the partner has answered for every acknowledged report."""
        for report_id in self.acknowledged:
            arrived = partial(self._arrived, report_id)
            wait_for(f"report {report_id} at the partner", arrived, seconds=_SETTLE_PATIENCE_S)

    def _arrived(self, report_id: str) -> bool:
        incident = self.platform.query("triager", _TRAVELLED, id=report_id)["incidentByReport"]
        referrals = [edge["node"] for edge in incident["referrals"]["edges"]] if incident else []
        return any(referral["status"] in _ANSWERED for referral in referrals)


def count_hits(directory: Path, *, seed: int) -> dict[str, int]:
    """Run COUNTED reports through a platform without a plan and return how often each `SERVICE:POINT` was passed."""
    platform = RunningPlatform(directory / "counting", free_offset(seed=seed), {"AMPARO_FAULT_COUNTS": "1"})
    chain = Chain("", "", platform)
    platform.start()
    platform.wait_ready()
    for number in range(COUNTED):
        chain.send(number)
        time.sleep(0.05)
    chain.wait_arrived()
    platform.stop()
    return dict(json.loads((platform.data_dir / "fault-hits.json").read_text()))


def run_chain(directory: Path, *, service: str, point: str, hits: Sequence[int], seed: int) -> Chain:
    """Kill at each of `hits` in turn, then settle; the oracle judges what is left on disk."""
    chain = Chain.on(directory, service=service, point=point, seed=seed)
    try:
        for hit in hits:
            chain.kill_at(hit)
        chain.settle()
    finally:
        chain.platform.kill()
    return chain
