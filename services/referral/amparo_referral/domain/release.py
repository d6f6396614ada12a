"""When a referral may go (contract, section 3)."""

from __future__ import annotations

from typing import Final

from amparo_common.vocabulary.codes import ReferralStatus as Status, Release

#: Nothing has reached the partner in these.
WAITING: Final = frozenset({Status.AWAITING_REVIEW, Status.AWAITING_APPROVAL, Status.QUEUED})


def gate(release: Release, *, reviewed: bool, approved: bool) -> Status:
    """Return where a referral waits: QUEUED when it may go now.

    `reviewed` is a human decision on the incident, `approved` a second person's approval of this very package version.
    """
    if release is Release.WITH_APPROVAL:
        return Status.QUEUED if approved else Status.AWAITING_APPROVAL
    if release is Release.AFTER_REVIEW:
        return Status.QUEUED if reviewed else Status.AWAITING_REVIEW
    return Status.QUEUED
