"""Every answer in every status, against the rule as behaviour 5.3 words it."""

from __future__ import annotations

import pytest

from amparo_common.vocabulary.codes import AcknowledgementCode as Answer, ReferralStatus as Status
from amparo_referral.domain.acknowledgements import after

TO_ACKNOWLEDGED = {"RECEIVED", "NEED_INFO", "IN_PROGRESS"}
TO_ACCEPTED = {"ACCEPTED", "CASE_OPENED"}
TO_CLOSED = {"FORWARDED", "CLOSED_ACTION_TAKEN", "CLOSED_NO_ACTION", "NOT_ILLEGAL", "CHILD_SAFE"}
LEAVES = {
    "PRESERVE_REQUESTED",
    "HOLD_EXTENDED",
    "CONTENT_REMOVED",
    "CONTENT_NOT_FOUND",
    "CONTENT_STILL_REACHABLE",
    "CLASSIFIED",
    "CHILD_NOT_LOCATED",
    "DESTROY_CONFIRMED",
}


def expected(status: str, answer: str) -> str | None:
    if status.startswith("AWAITING"):
        return None
    if status in {"REJECTED", "CLOSED", "REVOKED"}:
        return status if answer == "DESTROY_CONFIRMED" else None
    if answer in TO_ACKNOWLEDGED:
        return "ACCEPTED" if status == "ACCEPTED" else "ACKNOWLEDGED"
    if answer in TO_ACCEPTED:
        return "ACCEPTED"
    if answer in TO_CLOSED:
        return "CLOSED"
    return "REJECTED" if answer.startswith("REJECTED_") else status


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("answer", list(Answer))
def test_an_answer_moves_a_referral_as_the_rule_says(status: Status, answer: Answer) -> None:
    assert after(status, answer) == expected(status, answer)


def test_the_rule_names_every_code_once() -> None:
    rejected = {answer for answer in Answer if answer.startswith("REJECTED_")}
    named = [*TO_ACKNOWLEDGED, *TO_ACCEPTED, *TO_CLOSED, *LEAVES, *rejected]
    assert sorted(named) == sorted(Answer)
