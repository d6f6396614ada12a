"""The composition root of triage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from amparo_common import operations
from amparo_common.audit import Checkpointer, CheckpointSigner
from amparo_common.auth.service_tokens import ServiceTokens
from amparo_common.auth.verifier import Verifier
from amparo_common.clock import SystemClock
from amparo_common.consumer import BatchConsumer
from amparo_common.crypto.blind_index import BlindIndex
from amparo_common.crypto.data_keys import RemoteDataKeys
from amparo_common.crypto.provider import FileKeyProvider
from amparo_common.db.migrations import migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.http import service_client
from amparo_common.log.port import EventLog
from amparo_common.relay import Relay
from amparo_common.runtime import Service, StopStep
from amparo_common.telemetry import Telemetry
from amparo_triage.api import create_app
from amparo_triage.api_casework import CaseworkPages
from amparo_triage.casework import Casework
from amparo_triage.consumer import reports_consumer
from amparo_triage.notes import Notes
from amparo_triage.opening import Opener
from amparo_triage.policy.pack import base_pack, read_pack
from amparo_triage.service import Triage
from amparo_triage.settings import SERVICE, TriageSettings
from amparo_triage.text.reader import TextReader
from amparo_triage.upkeep import Upkeep


@asynccontextmanager
async def compose(settings: TriageSettings, *, log: EventLog) -> AsyncIterator[Service]:
    """Open triage's database, policy and grammars, wire what runs, and close it on the way out."""
    pack = base_pack() if settings.triage_pack is None else read_pack(settings.triage_pack)
    reader = TextReader()
    secrets = FileKeyProvider.open(settings.data_dir / "triage.key")
    clock, telemetry = SystemClock(), Telemetry(SERVICE)
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.close)
        database = await SqliteDatabase.open(settings.data_dir / "triage.db", service=SERVICE)
        stack.push_async_callback(database.close)
        await migrate(database, package="amparo_triage")
        http = await stack.enter_async_context(service_client())
        keys = RemoteDataKeys(
            settings.intake_url, tokens=ServiceTokens.of(settings, http=http, clock=clock), http=http, clock=clock
        )
        opener = Opener(
            keys=keys, blind=BlindIndex(secrets.derive("triage.blind-index")), reader=reader, joining=pack.table.joining
        )
        triage = Triage(database=database, opener=opener, pack=pack, clock=clock, telemetry=telemetry)
        upkeep = Upkeep(triage)
        consumer = reports_consumer(triage, log=log, database=database, clock=clock)
        relay = Relay(service=SERVICE, database=database, log=log, clock=clock)
        signer = CheckpointSigner(secrets.derive("triage.audit"))
        checkpointer = Checkpointer(service=SERVICE, database=database, signer=signer, clock=clock)
        verifier = Verifier(
            settings.oidc_issuer,
            discovery_url=settings.oidc_discovery_url,
            http=http,
            clock=clock,
            clients=settings.oidc_clients,
            telemetry=telemetry,
        )
        _watch(telemetry, consumer=consumer, relay=relay)
        notes = Notes(database=database, keys=keys, clock=clock)
        people = CaseworkPages(Casework(database=database, keys=keys, pack=pack, clock=clock), notes)
        app = create_app(
            pack=pack,
            people=people,
            verifier=verifier,
            telemetry=telemetry,
            readiness=_readiness(upkeep, consumer),
        )
        operations.mount(app, service=SERVICE, database=database, checkpointer=checkpointer, log=log, clock=clock)
        yield Service(
            name=SERVICE,
            port=settings.own_port,
            app=app,
            tasks=(
                consumer.run,
                *upkeep.passes,
                checkpointer.run,
                relay.run,
                verifier.run,
            ),
            stopping=(
                StopStep(name="checkpoint", run=checkpointer.sign_last),
                StopStep(name="relay", run=relay.drain),
            ),
            telemetry=telemetry,
        )


def _readiness(upkeep: Upkeep, consumer: BatchConsumer) -> Callable[[], Sequence[str]]:
    def reasons() -> list[str]:
        database = [] if upkeep.database_answers else ["the database does not answer"]
        stopped = [f"the consumer stopped: {consumer.stopped_because}"] if consumer.stopped_because else []
        return [*database, *stopped]

    return reasons


def _watch(telemetry: Telemetry, *, consumer: BatchConsumer, relay: Relay) -> None:
    consumer.watch(telemetry)
    telemetry.gauge("amparo.outbox.depth", lambda: float(relay.depth()))
