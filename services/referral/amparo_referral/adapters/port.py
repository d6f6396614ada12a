"""The port to a partner."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from amparo_referral.domain.routes import PartnerEntry


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a referral on its way to its partner. `data` is the JSON of the contract's `data`.

    `message_id` is the same over all attempts, `kind` is the CloudEvents type. No `repr` shows the content.
    """

    partner: PartnerEntry
    secret: bytes | None
    message_id: str
    kind: str
    reference: str
    made_at: datetime
    data: bytes

    def __repr__(self) -> str:
        return f"Parcel({self.reference}, {self.kind})"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended: a slug such as `delivered`, `timed_out`, `answered_500`, and the HTTP status if any."""

    slug: str
    status_code: int | None = None
    delivered: bool = False
    #: No further attempt makes sense.
    permanent: bool = False
    #: Says something about the partner's health; a refusal of one message does not.
    unhealthy: bool = False
    retry_after_s: int | None = None


class PartnerAdapter(Protocol):
    """Delivers to partners in one way."""

    async def deliver(self, parcel: Parcel) -> Outcome:
        """Make one attempt, bounded in time, and say how it ended.

        A partner that gets it twice knows it by `message_id`. Raises nothing that a partner causes.
        """
        ...
