"""The demo's partners and routes, the same at every start (`AMPARO_DEMO`)."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import Connection

from amparo_common.crypto.provider import FileKeyProvider, KeyProvider
from amparo_common.vocabulary.codes import Adapter, Destination, Level, Release
from amparo_common.webhooks import secret_bytes
from amparo_referral.domain.routes import ANY_COUNTRY, STAYS_HERE, PartnerEntry, Route
from amparo_referral.partners import tell
from amparo_referral.repository import directory as entries
from amparo_referral.service import Desk, place_unrouted
from amparo_referral.settings import ReferralSettings

ORGANISATION: Final = "demo-hotline"
PRIORITY: Final = 100
_VERIFIED_AGAIN_AFTER: Final = timedelta(days=30)


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
    """Store the demo's partners and routes, and tell of those that changed; a second time changes and tells nothing.

    What an administrator changed since is set back: a demo starts as it is described. A verification that grows old is
    renewed.
    """
    await desk.database.write(lambda connection: _seed(connection, desk=desk, pair=pair, now=desk.clock.now()))
    await place_unrouted(desk)


def _seed(connection: Connection, *, desk: Desk, pair: tuple[str, int], now: datetime) -> None:
    directory, untold = entries.directory(connection), entries.untold(connection)
    for partner in PARTNERS:
        known = directory.partners.get(partner.id)
        entry = _entry(partner, pair=pair, verified_at=_verified_at(known, now=now))
        routes = {destination: _route(partner, destination) for destination in DESTINATIONS}
        standing = {one.destination: one for one in directory.routes if one.partner_id == partner.id}
        if entry == known and routes.items() <= standing.items() and partner.id not in untold:
            continue
        secret = secret_bytes(secret_of(partner, provider=desk.provider))
        entries.put_partner(connection, entry, secret=desk.provider.wrap(secret, context=partner.id.bytes), now=now)
        entries.put_routes(connection, list(routes.values()))
        tell(connection, partner.id, now=now)


def _verified_at(known: PartnerEntry | None, *, now: datetime) -> datetime:
    if known is None or known.last_verified_at is None or now - known.last_verified_at > _VERIFIED_AGAIN_AFTER:
        return now
    return known.last_verified_at


def _entry(partner: DemoPartner, *, pair: tuple[str, int], verified_at: datetime) -> PartnerEntry:
    host, port = pair
    return PartnerEntry(
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
        last_verified_at=verified_at,
    )


def _route(partner: DemoPartner, destination: Destination) -> Route:
    return Route(
        country=ANY_COUNTRY,
        destination=destination,
        partner_id=partner.id,
        priority=PRIORITY,
        release=partner.release,
        levels=partner.levels,
    )
