"""Choosing the partner: the directory's entries, its routes, and which of them takes an incident."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from amparo_common.vocabulary.codes import Adapter, Category, Destination, Level, Release

ANY_COUNTRY: Final = "*"
#: Nothing leaves for these: a human answers the reporter or closes.
STAYS_HERE: Final = frozenset({Destination.NONE_CLOSE, Destination.RETURN_TO_REPORTER})
#: Adapters that the machine works by itself; the others make work for a person.
WORKED_BY_MACHINE: Final = frozenset({Adapter.WEBHOOK, Adapter.PARTNER_INBOX})
WARNS_AFTER: Final = timedelta(days=90)
STOPS_AFTER: Final = timedelta(days=180)


class PartnerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A partner as the directory holds it, its secret left out."""

    id: UUID
    name: str
    destination: Destination
    organisation: str | None
    countries: tuple[str, ...]
    languages: tuple[str, ...]
    adapter: Adapter
    address: str | None
    has_secret: bool
    accepts_emergency: bool
    last_verified_at: datetime | None

    def serves(self, country: str) -> bool:
        """Say whether the partner works for `country`."""
        return ANY_COUNTRY in self.countries or country in self.countries

    def reachable(self) -> bool:
        """Say whether it can be reached: a webhook needs an address and a secret to sign with, a person an address."""
        if self.adapter is Adapter.WEBHOOK:
            return bool(self.address) and self.has_secret
        return self.adapter in WORKED_BY_MACHINE or bool(self.address)

    def verification_stale(self, now: datetime) -> bool:
        """Say whether somebody should confirm this entry again (domain reference 4.8)."""
        return self.last_verified_at is None or now - self.last_verified_at > WARNS_AFTER

    def verified(self, now: datetime) -> bool:
        """Say whether the machine may route to it by itself."""
        return self.last_verified_at is not None and now - self.last_verified_at <= STOPS_AFTER


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets what. Empty `categories` and `levels` mean all; `country` may be `*`."""

    country: str
    destination: Destination
    partner_id: UUID
    priority: int
    release: Release
    categories: tuple[Category, ...] = ()
    levels: tuple[Level, ...] = ()
    enabled: bool = True

    def takes(self, *, country: str, destination: Destination, category: Category, level: Level) -> bool:
        """Say whether this route is meant for such an incident."""
        return (
            self.enabled
            and self.destination is destination
            and self.country in {ANY_COUNTRY, country}
            and (not self.categories or category in self.categories)
            and (not self.levels or level in self.levels)
        )


class Directory(msgspec.Struct, frozen=True):
    """Partners and routes, read together."""

    partners: Mapping[UUID, PartnerEntry]
    routes: tuple[Route, ...]

    def choose(
        self,
        *,
        country: str,
        destination: Destination,
        category: Category,
        level: Level,
        now: datetime,
        tried: Collection[UUID] = (),
    ) -> Route | None:
        """Return the matching route of lowest priority number, `tried` partners left out; None when nobody takes it.

        Of equal numbers the country's own route comes before one for every country, then the lower partner id.
        """
        matching = (
            route
            for route in self._usable(country=country, now=now)
            if route.partner_id not in tried
            and route.takes(country=country, destination=destination, category=category, level=level)
        )
        return min(matching, key=_order, default=None)

    def named(
        self, partner_id: UUID, *, country: str, destination: Destination, category: Category, level: Level
    ) -> Route | None:
        """Return the route along which a person may refer to the partner they name; None when none leads there.

        A person may overrule for which categories and levels a route is meant, not where it leads.
        """
        leading = [
            route
            for route in self.routes
            if route.partner_id == partner_id
            and route.enabled
            and route.destination is destination
            and route.country in {ANY_COUNTRY, country}
        ]
        meant = [
            route
            for route in leading
            if route.takes(country=country, destination=destination, category=category, level=level)
        ]
        return min(meant or leading, key=_order, default=None)

    def unverified(self, *, country: str, destination: Destination, category: Category, level: Level) -> bool:
        """Say whether a route leads to a partner that nobody verified lately."""
        return any(
            route.takes(country=country, destination=destination, category=category, level=level)
            and (partner := self.partners.get(route.partner_id)) is not None
            and partner.serves(country)
            for route in self.routes
        )

    def _usable(self, *, country: str, now: datetime) -> Iterable[Route]:
        for route in self.routes:
            partner = self.partners.get(route.partner_id)
            if partner and partner.serves(country) and partner.reachable() and partner.verified(now):
                yield route


def _order(route: Route) -> tuple[int, bool, UUID]:
    return route.priority, route.country == ANY_COUNTRY, route.partner_id
