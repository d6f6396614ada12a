"""The composition root of referral."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from amparo_common import operations
from amparo_common.audit import Checkpointer, CheckpointSigner
from amparo_common.auth.service_tokens import ServiceTokens
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import Clock, SystemClock
from amparo_common.consumer import BatchConsumer
from amparo_common.crypto.data_keys import RemoteDataKeys
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.events.types import IncidentTriaged
from amparo_common.http import GuardedClient, ServiceClient, service_client
from amparo_common.log.port import EventLog
from amparo_common.relay import Relay
from amparo_common.runtime import Service, StopStep
from amparo_common.settings import PORTS
from amparo_common.telemetry import Telemetry
from amparo_common.vocabulary.codes import Adapter
from amparo_referral import demo
from amparo_referral.adapters.partner_inbox import PartnerInboxAdapter
from amparo_referral.adapters.port import PartnerAdapter
from amparo_referral.adapters.webhook import WebhookAdapter
from amparo_referral.api import create_app
from amparo_referral.builder import Builder
from amparo_referral.changes import SERVICE
from amparo_referral.consumer import consumer_of
from amparo_referral.delivery import Sender
from amparo_referral.fallbacks import Watch
from amparo_referral.figures import Figures
from amparo_referral.partners import tell_untold
from amparo_referral.service import Desk
from amparo_referral.settings import ReferralSettings

__all__ = ["ReferralSettings", "compose"]


@asynccontextmanager
async def compose(settings: ReferralSettings, *, log: EventLog) -> AsyncIterator[Service]:
    """Open referral's database and keys, wire what runs, and close it on the way out."""
    clock, telemetry = SystemClock(), Telemetry(SERVICE)
    provider = demo.key_provider(settings)
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.close)
        database = await SqliteDatabase.open(settings.data_dir / "referral.db", service=SERVICE)
        stack.push_async_callback(database.close)
        await migrate(database, package="amparo_referral")
        http = await stack.enter_async_context(service_client())
        tokens = ServiceTokens.of(settings, http=http, clock=clock)
        desk = Desk(
            database=database,
            keys=RemoteDataKeys(settings.intake_url, tokens=tokens, http=http, clock=clock),
            provider=provider,
            clock=clock,
            acknowledge_url=settings.acknowledge_url,
            demo=settings.demo,
            opened=_measured(telemetry, clock),
        )
        guarded = await stack.enter_async_context(GuardedClient(_allowed(settings)))
        await _keep_directory(desk, settings)
        sender = Sender(desk, adapters=_adapters(guarded, clock), telemetry=telemetry)
        builder = Builder(desk)
        desk.ring_builder, desk.ring_sender = builder.ring, sender.ring
        consumer = consumer_of(desk, log=log, database=database, clock=clock)
        relay = Relay(service=SERVICE, database=database, log=log, clock=clock)
        desk.publish = relay.drain
        verifier = _verifier(settings, http=http, clock=clock, telemetry=telemetry)
        checkpointer = Checkpointer(
            service=SERVICE, database=database, signer=CheckpointSigner(provider.derive("referral.audit")), clock=clock
        )
        figures = Figures(database, clock=clock)
        figures.publish(telemetry)
        _watch(telemetry, consumer=consumer, relay=relay)
        app = create_app(
            desk, verifier=verifier, telemetry=telemetry, readiness=_readiness(consumer), judge=guarded.judge
        )
        operations.mount(app, service=SERVICE, database=database, checkpointer=checkpointer, log=log, clock=clock)
        yield Service(
            name=SERVICE,
            port=settings.port(PORTS[SERVICE]),
            app=app,
            tasks=(
                consumer.run,
                builder.run,
                sender.run,
                Watch(desk).run,
                relay.run,
                verifier.run,
                checkpointer.run,
                figures.run,
            ),
            stopping=(
                StopStep(name="checkpoint", run=checkpointer.sign_last),
                StopStep(name="relay", run=relay.drain),
            ),
            telemetry=telemetry,
        )


async def _keep_directory(desk: Desk, settings: ReferralSettings) -> None:
    if settings.demo:
        await demo.seed(desk, pair=settings.demo_partner_pair)
    await tell_untold(desk)


def _verifier(settings: ReferralSettings, *, http: ServiceClient, clock: Clock, telemetry: Telemetry) -> Verifier:
    return Verifier(
        settings.oidc_issuer,
        discovery_url=settings.oidc_discovery_url,
        http=http,
        clock=clock,
        clients=settings.oidc_clients,
        telemetry=telemetry,
    )


def _allowed(settings: ReferralSettings) -> Sequence[tuple[str, int]]:
    return [*settings.partner_allow, *([settings.demo_partner_pair] if settings.demo else [])]


def _adapters(guarded: GuardedClient, clock: Clock) -> Mapping[Adapter, PartnerAdapter]:
    return {
        Adapter.WEBHOOK: WebhookAdapter(guarded, clock=clock),
        Adapter.PARTNER_INBOX: PartnerInboxAdapter(),
    }


def _measured(telemetry: Telemetry, clock: Clock) -> Callable[[Sequence[IncidentTriaged]], None]:
    took = telemetry.histogram("amparo.report.to_referral")

    def opened(incidents: Sequence[IncidentTriaged]) -> None:
        now = clock.now()
        for incident in incidents:
            took.record((now - incident.received_at).total_seconds(), {"lane": incident.lane.lower()})

    return opened


def _readiness(consumer: BatchConsumer) -> Callable[[], Sequence[str]]:
    def reasons() -> list[str]:
        return [f"the consumer stopped: {consumer.stopped_because}"] if consumer.stopped_because else []

    return reasons


def _watch(telemetry: Telemetry, *, consumer: BatchConsumer, relay: Relay) -> None:
    consumer.watch(telemetry)
    telemetry.gauge("amparo.outbox.depth", lambda: float(relay.depth()))
