"""Delivery into Amparo's own inbox: the partner signs in and reads it there."""

from __future__ import annotations

from amparo_referral.adapters.port import Outcome, Parcel


class PartnerInboxAdapter:
    """Delivers by being stored: what is queued for such a partner stands in its inbox in the same moment."""

    async def deliver(self, parcel: Parcel) -> Outcome:
        return placed(parcel.kind)


def placed(kind: str) -> Outcome:
    """Say that a version stands in the partner's inbox."""
    return Outcome(slug="revoked_in_inbox" if "revoked" in kind else "placed_in_inbox", delivered=True)
