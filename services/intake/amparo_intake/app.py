"""The composition root of intake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from amparo_common import operations
from amparo_common.audit import Checkpointer, CheckpointSigner
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SystemClock
from amparo_common.consumer import BatchConsumer
from amparo_common.crypto.provider import FileKeyProvider
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.http import service_client
from amparo_common.log.port import EventLog
from amparo_common.relay import Relay
from amparo_common.runtime import Service, StopStep
from amparo_common.telemetry import Telemetry
from amparo_intake.api import create_app
from amparo_intake.api_casework import CaseworkPages
from amparo_intake.casework import Casework
from amparo_intake.consumer import case_consumer
from amparo_intake.domain.admission import Limits, Rate
from amparo_intake.guidance import guide
from amparo_intake.keyed import IntakeSecrets
from amparo_intake.preservation import Preservation
from amparo_intake.service import Intake
from amparo_intake.settings import SERVICE, IntakeSettings
from amparo_intake.upkeep import Upkeep

#: One source may save up a minute of its rate.
_BURST_S = 60


@asynccontextmanager
async def compose(settings: IntakeSettings, *, log: EventLog) -> AsyncIterator[Service]:
    """Open intake's database and master key, wire what runs, and close it on the way out."""
    clock, telemetry = SystemClock(), Telemetry(SERVICE)
    secrets = IntakeSecrets(FileKeyProvider.open(settings.data_dir / "intake.key"))
    guide()  # a wrong data file stops the start, not the first child
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.close)
        database = await SqliteDatabase.open(settings.data_dir / "intake.db", service=SERVICE)
        stack.push_async_callback(database.close)
        await migrate(database, package="amparo_intake")
        intake = Intake(
            database=database,
            secrets=secrets,
            clock=clock,
            telemetry=telemetry,
            limits=_limits(settings),
            most_waiting=settings.intake_most_waiting,
        )
        stack.push_async_callback(intake.close)
        consumer = case_consumer(intake, log=log, database=database, clock=clock)
        relay = Relay(service=SERVICE, database=database, log=log, clock=clock)
        http = await stack.enter_async_context(service_client())
        verifier = Verifier(
            settings.oidc_issuer,
            discovery_url=settings.oidc_discovery_url,
            http=http,
            clock=clock,
            clients=settings.oidc_clients,
            telemetry=telemetry,
        )
        signer = CheckpointSigner(secrets.provider.derive("intake.audit"))
        checkpointer = Checkpointer(service=SERVICE, database=database, signer=signer, clock=clock)
        casework = Casework(database=database, secrets=secrets, clock=clock, telemetry=telemetry)
        preservation = Preservation(casework, database=database, secrets=secrets, clock=clock)
        upkeep = Upkeep(intake, preservation=preservation, database=database)
        _watch(telemetry, consumer=consumer, relay=relay)
        app = create_app(
            intake,
            colleagues=CaseworkPages(casework, preservation),
            verifier=verifier,
            telemetry=telemetry,
            readiness=_readiness(upkeep, consumer),
        )
        operations.mount(app, service=SERVICE, database=database, checkpointer=checkpointer, log=log, clock=clock)
        yield Service(
            name=SERVICE,
            port=settings.own_port,
            app=app,
            tasks=(consumer.run, checkpointer.run, relay.run, verifier.run, upkeep.run),
            stopping=(
                StopStep(name="gathering", run=intake.close),
                StopStep(name="checkpoint", run=checkpointer.sign_last),
                StopStep(name="relay", run=relay.drain),
            ),
            telemetry=telemetry,
        )


def _limits(settings: IntakeSettings) -> Limits:
    soft, hard = settings.intake_soft_per_second, settings.intake_hard_per_second
    return Limits(soft=Rate(soft, soft * _BURST_S), hard=Rate(hard, hard * _BURST_S))


def _readiness(upkeep: Upkeep, consumer: BatchConsumer) -> Callable[[], Sequence[str]]:
    def reasons() -> list[str]:
        database = [] if upkeep.database_answers else ["the database does not answer"]
        stopped = [f"the consumer stopped: {consumer.stopped_because}"] if consumer.stopped_because else []
        return [*database, *stopped]

    return reasons


def _watch(telemetry: Telemetry, *, consumer: BatchConsumer, relay: Relay) -> None:
    consumer.watch(telemetry)
    telemetry.gauge("amparo.outbox.depth", lambda: float(relay.depth()))
