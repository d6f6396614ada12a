"""The demo's partners and routes, the same at every start (`AMPARO_DEMO`)."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import Connection

from amparo_common.crypto.provider import FileKeyProvider, KeyProvider
from amparo_common.vocabulary.codes import Adapter, Destination, Level, Release
from amparo_common.webhooks import secret_bytes
from amparo_referral.domain.routes import ANY_COUNTRY, STAYS_HERE, PartnerEntry, Route
from amparo_referral.repository import directory as entries
from amparo_referral.service import Desk, place_unrouted
from amparo_referral.settings import ReferralSettings

ORGANISATION: Final = "demo-hotline"
PRIORITY: Final = 100


class DemoPartner(NamedTuple):
    """One of the demo's partners: which levels it gets, and when they go."""

    name: str
    path: str
    levels: tuple[Level, ...]
    release: Release

    @property
    def id(self) -> UUID:
        return uuid5(NAMESPACE_URL, f"urn:amparo:demo:partner:{self.path}")


PARTNERS: Final = (
    DemoPartner("Demo hotline, urgent desk", "urgent", (Level.P1, Level.P2), Release.AUTOMATIC),
    DemoPartner("Demo hotline, review desk", "review", (Level.P3, Level.P4), Release.AFTER_REVIEW),
)
DESTINATIONS: Final = tuple(destination for destination in Destination if destination not in STAYS_HERE)


def secret_of(partner: DemoPartner, *, provider: KeyProvider) -> str:
    """Return the webhook secret that referral and the demo partner share; it never leaves the data directory."""
    return "whsec_" + base64.b64encode(provider.derive(f"demo-partner.{partner.path}")).decode()


def key_provider(settings: ReferralSettings) -> FileKeyProvider:
    """Open referral's master key, which the demo partner's secrets come from too."""
    return FileKeyProvider.open(settings.data_dir / "referral.key")


async def seed(desk: Desk, *, pair: tuple[str, int]) -> None:
    """Store the demo's partners and routes. A second time changes nothing but the date of verification.

    Routes that an administrator changed since are set back: a demo starts as it is described.
    """
    await desk.database.write(lambda connection: _seed(connection, desk=desk, pair=pair, now=desk.clock.now()))
    await place_unrouted(desk)


def _seed(connection: Connection, *, desk: Desk, pair: tuple[str, int], now: datetime) -> None:
    host, port = pair
    for partner in PARTNERS:
        secret = secret_bytes(secret_of(partner, provider=desk.provider))
        entry = PartnerEntry(
            id=partner.id,
            name=partner.name,
            destination=Destination.HOTLINE,
            organisation=ORGANISATION,
            countries=(ANY_COUNTRY,),
            languages=("en", "es", "fr"),
            adapter=Adapter.WEBHOOK,
            address=f"http://{host}:{port}/referrals/{partner.path}",
            has_secret=True,
            accepts_emergency=partner.release is Release.AUTOMATIC,
            last_verified_at=now,
        )
        wrapped = desk.provider.wrap(secret, context=partner.id.bytes)
        entries.put_partner(connection, entry, secret=wrapped, now=now)
    entries.put_routes(connection, [_route(partner, to) for partner in PARTNERS for to in DESTINATIONS])


def _route(partner: DemoPartner, destination: Destination) -> Route:
    return Route(
        country=ANY_COUNTRY,
        destination=destination,
        partner_id=partner.id,
        priority=PRIORITY,
        release=partner.release,
        levels=partner.levels,
    )
