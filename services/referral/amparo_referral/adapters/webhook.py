"""Delivery by webhook: Standard Webhooks headers over a CloudEvents body, through the guarded client."""

from __future__ import annotations

from datetime import UTC
from typing import Final

import msgspec

from amparo_common import webhooks
from amparo_common.clock import Clock, rfc3339
from amparo_common.http import AddressRefusedError, GuardedClient, PartnerUnreachableError
from amparo_referral.adapters.port import Outcome, Parcel
from amparo_referral.domain import retries

_MEDIA_TYPE: Final = "application/cloudevents+json"
_TOO_MANY, _SERVER_FAILS, _BAD_REQUEST = 429, 500, 400


class _CloudEvent(msgspec.Struct, kw_only=True):
    specversion: str = "1.0"
    id: str
    type: str
    source: str = "urn:amparo:referral"
    subject: str
    time: str
    datacontenttype: str = "application/json"
    data: msgspec.Raw


class WebhookAdapter:
    """Posts a parcel to the partner's address, signed with its secret."""

    def __init__(self, client: GuardedClient, *, clock: Clock, timeout_s: float = 10.0) -> None:
        self._client, self._clock, self._timeout_s = client, clock, timeout_s

    async def deliver(self, parcel: Parcel) -> Outcome:
        if parcel.secret is None or not parcel.partner.address:
            return Outcome(slug="not_configured")
        body = body_of(parcel)
        timestamp = int(self._clock.now().astimezone(UTC).timestamp())
        headers = {
            "content-type": _MEDIA_TYPE,
            "user-agent": "Amparo",
            "webhook-id": parcel.message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": webhooks.sign(
                parcel.secret, message_id=parcel.message_id, timestamp=timestamp, body=body
            ),
        }
        try:
            reply = await self._client.post(
                parcel.partner.address, body=body, headers=headers, timeout_s=self._timeout_s
            )
        except PartnerUnreachableError as error:
            return Outcome(slug=error.outcome, unhealthy=True)
        except AddressRefusedError:
            return Outcome(slug="address_refused")
        return outcome_of(reply.status, retry_after_s=reply.retry_after_s)


def body_of(parcel: Parcel) -> bytes:
    """Write the body that the contract fixes; the same parcel gives the same bytes at every attempt."""
    return msgspec.json.encode(
        _CloudEvent(
            id=parcel.message_id,
            type=parcel.kind,
            subject=parcel.reference,
            time=rfc3339(parcel.made_at),
            data=msgspec.Raw(parcel.data),
        )
    )


def outcome_of(status: int, *, retry_after_s: int | None = None) -> Outcome:
    """Read an HTTP status: only 2xx is delivery, only 410 ends the attempts."""
    if retries.delivered(status):
        return Outcome(slug="delivered", status_code=status, delivered=True)
    if retries.permanent(status):
        return Outcome(slug="gone", status_code=status, permanent=True)
    unhealthy = status >= _SERVER_FAILS or status == _TOO_MANY
    slug = "failed" if unhealthy else "redirected" if status < _BAD_REQUEST else "refused"
    return Outcome(slug=slug, status_code=status, unhealthy=unhealthy, retry_after_s=retry_after_s)
