"""The demo reports are what the README says: forty, invented, in several languages, each a report that intake takes."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import pytest

from amparo.demo.journey import Journey
from amparo_common.vocabulary.codes import Category, Channel, Factor

LINES = files("amparo.demo").joinpath("reports.jsonl").read_text(encoding="utf-8").splitlines()
REPORTS: list[dict[str, Any]] = [json.loads(line)["report"] for line in LINES]
INCIDENT = {"level": "P3", "decision": {"reasons": ["Because."]}, "referrals": {"edges": []}}


def test_there_are_forty_in_at_least_four_languages_and_ten_countries() -> None:
    assert len(REPORTS) == 40
    assert len({report["language"] for report in REPORTS}) >= 4
    assert len({report["country"] for report in REPORTS}) >= 10


def test_no_two_have_the_same_text() -> None:
    assert len({report["text"] for report in REPORTS}) == 40


@pytest.mark.parametrize("report", REPORTS, ids=[str(number) for number in range(1, 41)])
def test_each_uses_codes_of_the_vocabulary_and_invented_addresses(report: dict[str, Any]) -> None:
    assert report["channel"].upper() in set(Channel)
    assert report.get("category") in {None, *Category}
    assert set(report.get("factors", [])) <= set(Factor) - {Factor.OVERCLAIM}
    hosts = [re.sub(r"^https://", "", url).split("/")[0] for url in report.get("urls", [])]
    assert all(re.search(r"(^|\.)example\.(com|org|net)$", host) for host in hosts)


def test_a_mild_report_has_arrived_only_in_the_queue_with_reasons() -> None:
    journey = Journey(1, None, {}, receipt={"lane": "standard"}, incident=dict(INCIDENT))
    assert not journey.done
    journey.in_queue = True
    assert journey.done
    journey.incident = {**INCIDENT, "decision": {"reasons": []}}
    assert not journey.done


def test_an_urgent_report_has_arrived_only_when_the_partner_answered() -> None:
    journey = Journey(1, None, {}, receipt={"lane": "urgent"}, incident={**INCIDENT, "level": "P1"}, in_queue=True)
    assert not journey.done
    node = {"status": "ACKNOWLEDGED", "destination": "HOTLINE"}
    journey.incident = {**INCIDENT, "level": "P1", "referrals": {"edges": [{"node": node}]}}
    assert journey.done
