"""Sending the demo reports and following each one, as an onlooker without any private way in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import cycle, islice
from typing import Any

from amparo.client import PlatformClient

WATCHER = "triager"
ANSWERED = frozenset({"ACKNOWLEDGED", "ACCEPTED", "CLOSED"})
URGENT = frozenset({"P1", "P2"})
_TRAVELLED = """
  query($report: ID!, $language: String) {
    incidentByReport(reportId: $report) {
      id reference level category status provisional reportCount
      decision { awaitingSignature reasons(language: $language) rules { id } proposedDestinations }
      referrals(first: 5) { edges { node { reference status destination acknowledgements { code } } } }
    }
  }
"""
_QUEUED = """
  query($reference: String!) {
    incidents(first: 1, filter: {inQueue: true, reference: $reference}) { edges { node { reference } } }
  }
"""


@dataclass(slots=True)
class Journey:
    """One report on its way. `done`: it reached a partner's answer or a human's queue, with reasons in words."""

    number: int
    user: str | None
    body: dict[str, Any]
    receipt: dict[str, Any] | None = None
    incident: dict[str, Any] | None = None
    in_queue: bool = False
    refusal: str | None = None

    @property
    def level(self) -> str:
        return str(self.incident["level"]) if self.incident else ""

    @property
    def reasons(self) -> Sequence[str]:
        return self.incident["decision"]["reasons"] if self.incident else ()

    @property
    def referrals(self) -> Sequence[dict[str, Any]]:
        return [edge["node"] for edge in self.incident["referrals"]["edges"]] if self.incident else ()

    @property
    def acknowledged(self) -> bool:
        return any(referral["status"] in ANSWERED for referral in self.referrals)

    @property
    def done(self) -> bool:
        if not self.incident or not self.reasons:
            return False
        return self.acknowledged if self.level in URGENT else self.in_queue

    @property
    def whereabouts(self) -> str:
        if self.refusal:
            return self.refusal
        if not self.receipt:
            return "not sent yet"
        if not self.incident:
            return f"received, {self.receipt['lane']} lane"
        if self.acknowledged:
            referral = next(referral for referral in self.referrals if referral["status"] in ANSWERED)
            return f"acknowledged by {referral['destination'].lower().replace('_', ' ')}"
        if self.level in URGENT:
            return f"referral {self.referrals[0]['status'].lower()}" if self.referrals else "triaged"
        return "in the human queue" if self.in_queue else "triaged"


@dataclass
class Demonstration:
    """The demo reports, sent and followed through the platform's public addresses."""

    client: PlatformClient
    journeys: list[Journey] = field(default_factory=list)

    @classmethod
    def of(cls, client: PlatformClient, *, count: int) -> Demonstration:
        """Take `count` of the demo reports, from the start again when there are not as many."""
        lines = files("amparo.demo").joinpath("reports.jsonl").read_text(encoding="utf-8").splitlines()
        chosen = [json.loads(line) for line in islice(cycle(lines), count)]
        return cls(client, [Journey(number, line["as"], line["report"]) for number, line in enumerate(chosen, 1)])

    @property
    def finished(self) -> bool:
        return all(journey.done or journey.refusal for journey in self.journeys)

    @property
    def succeeded(self) -> bool:
        return all(journey.done for journey in self.journeys)

    async def send(self, journey: Journey) -> None:
        """Send one report as its reporter would."""
        journey.receipt = await self.client.report(journey.body, user=journey.user)

    async def look(self, journey: Journey) -> None:
        """Look once where a report is now."""
        if journey.done or not journey.receipt:
            return
        answer = await self.client.query(
            WATCHER, _TRAVELLED, report=journey.receipt["report_id"], language=journey.body["language"]
        )
        journey.incident = answer["incidentByReport"]
        if journey.incident and journey.level not in URGENT:
            queue = await self.client.query(WATCHER, _QUEUED, reference=journey.incident["reference"])
            journey.in_queue = bool(queue["incidents"]["edges"])
