"""The composition root of the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import FastAPI

from amparo_common import operations
from amparo_common.audit import Checkpointer, CheckpointSigner
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import Clock, SystemClock
from amparo_common.consumer import BatchConsumer
from amparo_common.crypto.provider import FileKeyProvider
from amparo_common.db.migrations import migrate
from amparo_common.db.port import Database
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.http import ServiceClient, service_client
from amparo_common.log.port import EventLog
from amparo_common.operations.callers import Callers
from amparo_common.relay import Relay
from amparo_common.runtime import Service, StopStep
from amparo_common.settings import PORTS
from amparo_common.telemetry import Telemetry
from amparo_gateway import replay
from amparo_gateway.api import create_app
from amparo_gateway.budget import Budget
from amparo_gateway.commands.client import Owners
from amparo_gateway.consumer import TOPICS_READ, projection_consumer, rewind_once
from amparo_gateway.cursors import CursorSeal
from amparo_gateway.documents.trust import Trust
from amparo_gateway.freshness import Freshness
from amparo_gateway.ide.routes import Explorer, mount_nothing
from amparo_gateway.live.admission import Admission, SocketLimits
from amparo_gateway.live.hub import Hub
from amparo_gateway.live.socket import Door
from amparo_gateway.live.streams import Streams
from amparo_gateway.service import Desk
from amparo_gateway.settings import SERVICE, GatewaySettings
from amparo_gateway.switched_projection import SwitchedProjection

#: So many records behind, the projection answers with what was long ago; a balancer is to ask elsewhere.
_TOO_FAR_BEHIND: Final = 10_000


@asynccontextmanager
async def compose(settings: GatewaySettings, *, log: EventLog) -> AsyncIterator[Service]:
    """Open the gateway's databases, wire what runs, and close them on the way out."""
    clock, telemetry = SystemClock(), Telemetry(SERVICE)
    keys = FileKeyProvider.open(settings.data_dir / "gateway.key")
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.close)
        own = await SqliteDatabase.open(settings.data_dir / "gateway.db", service=SERVICE)
        stack.push_async_callback(own.close)
        projection = await SwitchedProjection.open(settings.data_dir, service=SERVICE)
        stack.push_async_callback(projection.close)
        await migrate(own, package="amparo_gateway")
        await rewind_once(log, projection=projection, clock=clock)
        hub = Hub()
        consumer = projection_consumer(log=log, own=own, projection=projection, hub=hub, clock=clock)
        relay = Relay(service=SERVICE, database=own, log=log, clock=clock)
        http = await stack.enter_async_context(service_client())
        verifier = Verifier(
            settings.oidc_issuer,
            discovery_url=settings.oidc_discovery_url,
            http=http,
            clock=clock,
            clients=settings.oidc_clients,
            telemetry=telemetry,
        )
        signer = CheckpointSigner(keys.derive("gateway.audit"))
        checkpointer = Checkpointer(service=SERVICE, database=own, signer=signer, clock=clock)
        _watch(telemetry, consumer=consumer, relay=relay, hub=hub)
        desk = Desk(
            own=own,
            projection=projection,
            seal=CursorSeal(keys.derive("gateway.cursors")),
            owners=Owners(http=http, urls=_urls(settings)),
            clock=clock,
            hub=hub,
            budget=Budget(size=settings.graph_budget, per_second=settings.graph_budget_per_second),
            trust=Trust(production=settings.environment == "production"),
            fresh=Freshness(log, topics=TOPICS_READ, applied=consumer.positions).wait,
        )
        admission = Admission(_socket_limits(settings))
        app = create_app(
            desk=desk,
            door=Door(streams=Streams(desk), verifier=verifier, admission=admission, clock=clock),
            verifier=verifier,
            telemetry=telemetry,
            readiness=_readiness(consumer),
        )
        _mount_explorer(app, settings=settings, http=http)
        operations.mount(app, service=SERVICE, database=own, checkpointer=checkpointer, log=log, clock=clock)
        rebuild = _rebuild(app, log=log, projection=projection, own=own, clock=clock)
        yield Service(
            name=SERVICE,
            port=settings.port(PORTS[SERVICE]),
            app=app,
            tasks=(consumer.run, rebuild.run, checkpointer.run, relay.run, verifier.run),
            stopping=(
                StopStep(name="checkpoint", run=checkpointer.sign_last),
                StopStep(name="relay", run=relay.drain),
            ),
            telemetry=telemetry,
        )


def _rebuild(
    app: FastAPI, *, log: EventLog, projection: SwitchedProjection, own: Database, clock: Clock
) -> replay.Replay:
    rebuild = replay.Replay(log=log, projection=projection, clock=clock)
    replay.mount(app, replay=rebuild, callers=Callers(service=SERVICE, database=own, clock=clock))
    return rebuild


def _mount_explorer(app: FastAPI, *, settings: GatewaySettings, http: ServiceClient) -> None:
    if settings.environment == "production":
        mount_nothing(app)
    else:
        Explorer(http=http, token_url=settings.oidc_token_url if settings.demo else None).mount(app)


def _socket_limits(settings: GatewaySettings) -> SocketLimits:
    return SocketLimits(
        sockets=settings.live_sockets,
        sockets_per_principal=settings.live_sockets_per_principal,
        subscriptions_per_socket=settings.live_subscriptions_per_socket,
    )


def _urls(settings: GatewaySettings) -> dict[str, str]:
    return {"intake": settings.intake_url, "triage": settings.triage_url, "referral": settings.referral_url}


def _readiness(consumer: BatchConsumer) -> Callable[[], Sequence[str]]:
    def reasons() -> list[str]:
        found = [f"the consumer stopped: {consumer.stopped_because}"] if consumer.stopped_because else []
        behind = sum(consumer.lag().values())
        return [*found, *([f"the projection is {behind} records behind"] if behind > _TOO_FAR_BEHIND else [])]

    return reasons


def _watch(telemetry: Telemetry, *, consumer: BatchConsumer, relay: Relay, hub: Hub) -> None:
    consumer.watch(telemetry)
    telemetry.gauge("amparo.outbox.depth", lambda: float(relay.depth()))
    telemetry.gauge("amparo.subscriptions.open", lambda: float(hub.count()))
