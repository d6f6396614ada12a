"""The durable delivery loop: claims what is due, sends it, stores every attempt. A slow partner delays itself alone."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection

from amparo_common import faults
from amparo_common.backoff import Backoff
from amparo_common.crypto.data_keys import KeyState
from amparo_common.crypto.sealing import DataKey
from amparo_common.errors import TransientError
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Adapter, Purpose
from amparo_referral import outcomes
from amparo_referral.adapters.port import Outcome, Parcel, PartnerAdapter
from amparo_referral.breaker import Breakers
from amparo_referral.changes import SERVICE
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.routes import PartnerEntry
from amparo_referral.packaging import opened_data, revocation_data
from amparo_referral.repository import deliveries, directory as entries, referrals
from amparo_referral.repository.deliveries import Delivery
from amparo_referral.repository.referrals import StoredPackage
from amparo_referral.service import Desk

#: Sent to one partner at once, and claimed for it ahead of that.
AT_ONCE: Final = 4
_CLAIMED_EACH: Final = 12
_CLAIMED: Final = 100
#: Longer than all that is claimed for one partner can take at 10 s each.
_LEASE: Final = timedelta(seconds=60)
_LOOK_S: Final = 1.0
_KEY_PAUSE: Final = timedelta(seconds=2)
_log = structlog.get_logger()


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A leased delivery with what sending it needs. `package` is None for a revocation, and once it was erased."""

    delivery: Delivery
    referral: Referral
    partner: PartnerEntry
    secret: bytes | None
    package: StoredPackage | None


class _NotReadyError(Exception):
    """The package cannot be opened now; no attempt was made."""


class Sender:
    """Sends what the delivery table holds until it is cancelled.

    At least once with a stable webhook-id: a crash between sending and storing the outcome sends the version again.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        adapters: Mapping[Adapter, PartnerAdapter],
        telemetry: Telemetry,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._desk, self._adapters, self._chance = desk, adapters, chance
        self._bell = asyncio.Event()
        self._running: Counter[UUID] = Counter()
        self._gates: dict[UUID, asyncio.Semaphore] = {}
        self._breakers = Breakers(desk.clock)
        self._backoff = Backoff()
        self._attempted = telemetry.counter("amparo.deliveries")
        self._took = telemetry.histogram("amparo.delivery.duration")

    def ring(self) -> None:
        """Look at the table at once."""
        self._bell.set()

    async def run(self) -> None:
        """Send until cancelled."""
        if self._desk.database.dialect == "sqlite":  # nobody else can be sending from this file
            now = self._desk.clock.now()
            await self._desk.database.write(lambda connection: deliveries.end_leases(connection, now=now))
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._bell.clear()
                try:
                    claimed = await self._claim()
                    wait_s = 0.0 if claimed else await self._until_due()
                except TransientError:
                    await asyncio.sleep(self._backoff.next_s())
                    continue
                self._backoff.reset()
                for one in claimed:
                    self._running[one.partner.id] += 1
                    tasks.create_task(self._send(one), name="delivery")
                if wait_s:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):  # `wait_for` of 3.11 can swallow a cancellation
                            await self._bell.wait()

    async def _until_due(self) -> float:
        busy = self._busy()
        due = await self._desk.database.read(lambda session: deliveries.next_due(session, busy=busy))
        if due is None:
            return _LOOK_S
        return min(max((due - self._desk.clock.now()).total_seconds(), 0.02), _LOOK_S)

    def _busy(self) -> list[UUID]:
        full = [partner_id for partner_id, running in self._running.items() if running >= AT_ONCE]
        return [*full, *self._breakers.open()]

    async def _claim(self) -> Sequence[Claimed]:
        now, busy, probed = self._desk.clock.now(), self._busy(), self._breakers.half_open()
        # A look without a lock first: most looks find nothing, and a write is a commit.
        due = await self._desk.database.read(lambda session: deliveries.next_due(session, busy=busy))
        if due is None or due > now:
            return ()
        return await self._desk.database.write(lambda connection: claim(connection, now=now, busy=busy, probed=probed))

    async def _send(self, claimed: Claimed) -> None:
        partner_id = claimed.partner.id
        try:
            async with self._gates.setdefault(partner_id, asyncio.Semaphore(AT_ONCE)):
                await self._sent_once(claimed)
        except TransientError:  # the database: the lease ends by itself, and the version is sent again
            _log.warning("a delivery's outcome could not be stored", reference=claimed.referral.reference)
        finally:
            self._running[partner_id] -= 1
            if not self._running[partner_id]:
                del self._running[partner_id]
            self.ring()

    async def _sent_once(self, claimed: Claimed) -> None:
        began = time.perf_counter()
        try:
            outcome = await self._attempt(claimed)
        except _NotReadyError:
            await self._store(lambda connection: outcomes.postpone(connection, claimed.delivery, at=self._later()))
            return
        adapter = str(claimed.partner.adapter)
        self._took.record(time.perf_counter() - began, {"adapter": adapter})
        self._attempted.add(1, {"outcome": outcome.slug, "adapter": adapter})
        self._breakers.note(claimed.partner.id, healthy=not outcome.unhealthy)
        fell_back = await self._store(
            lambda connection: outcomes.store(
                connection, claimed.delivery, claimed.referral, outcome, now=self._desk.clock.now(), chance=self._chance
            )
        )
        if fell_back:
            self._desk.ring_builder()

    async def _attempt(self, claimed: Claimed) -> Outcome:
        adapter = self._adapters.get(claimed.partner.adapter)
        if adapter is None:  # an administrator changed how the partner is reached while this was on its way
            return Outcome(slug="no_machine", permanent=True)
        try:
            faults.point(SERVICE, "delivery.before_send")
            parcel = await self._parcel(claimed)
            if parcel is None:
                return Outcome(slug="erased", permanent=True)
            outcome = await adapter.deliver(parcel)
            faults.point(SERVICE, "delivery.after_send")
        except TransientError:
            return Outcome(slug="interrupted")
        except (_NotReadyError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - one broken message must not stop the other deliveries
            _log.exception("a delivery failed", exc_info=error, reference=claimed.referral.reference)
            return Outcome(slug="error")
        return outcome

    async def _parcel(self, claimed: Claimed) -> Parcel | None:
        """Open what is to be sent; None when it was erased meanwhile."""
        one, referral = claimed.delivery, claimed.referral
        if one.revocation:
            data = revocation_data(referral, acknowledge_url=self._desk.acknowledge_url)
        elif claimed.package is None:
            return None
        else:
            key = await self._key(referral.incident_id)
            if key is None:
                return None
            data = opened_data(claimed.package, key=key)
        secret = claimed.secret
        return Parcel(
            partner=claimed.partner,
            secret=self._desk.provider.unwrap(secret, context=claimed.partner.id.bytes) if secret else None,
            message_id=one.webhook_id,
            kind=one.kind or "",
            reference=referral.reference,
            made_at=one.created_at,
            data=data,
        )

    async def _key(self, incident_id: UUID) -> DataKey | None:
        try:
            key = (await self._desk.keys.of([incident_id], purpose=Purpose.REFERRAL))[incident_id]
        except TransientError as error:
            raise _NotReadyError from error
        if key is KeyState.UNKNOWN:
            raise _NotReadyError
        return None if key is KeyState.DESTROYED else key

    async def _store(self, unit: Callable[[Connection], bool]) -> bool:
        """Store an outcome; what was sent is worth some patience with the database."""
        backoff = Backoff()
        for _ in range(5):
            try:
                return await self._desk.database.write(unit)
            except TransientError:
                await asyncio.sleep(backoff.next_s())
        return await self._desk.database.write(unit)

    def _later(self) -> datetime:
        return self._desk.clock.now() + _KEY_PAUSE


def claim(
    connection: Connection, *, now: datetime, busy: Sequence[UUID] = (), probed: Sequence[UUID] = ()
) -> Sequence[Claimed]:
    """Lease what is due and read what sending it needs; attempts that a crash cut off are stored as `interrupted`."""
    for lost in deliveries.abandoned(connection, now=now):
        outcomes.note_interrupted(connection, lost, now=now)
    leased = deliveries.claim(
        connection, now=now, lease=_LEASE, busy=busy, probed=probed, most_each=_CLAIMED_EACH, limit=_CLAIMED
    )
    if not leased:
        return ()
    ids = [one.referral_id for one in leased]
    referrals.mark_attempted(connection, ids)
    found = {referral.id: referral for referral in referrals.locked(connection, ids)}
    packages = referrals.packages(connection, [(one.referral_id, one.version) for one in leased])
    partners = entries.directory(connection).partners
    return [
        Claimed(
            delivery=one,
            referral=found[one.referral_id],
            partner=partners[one.partner_id],
            secret=entries.wrapped_secret(connection, one.partner_id),
            package=packages.get((one.referral_id, one.version)),
        )
        for one in leased
    ]
