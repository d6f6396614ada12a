"""The demo's partner: it checks each signature, keeps what it takes, and answers `RECEIVED`."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request, Response

from amparo_common import webhooks
from amparo_common.backoff import Backoff
from amparo_common.clock import Clock, SystemClock, rfc3339
from amparo_common.errors import Problem
from amparo_common.http import ServiceClient, TransportError, service_client
from amparo_common.ids import uuid7
from amparo_common.runtime import Service
from amparo_common.settings import PORTS
from amparo_common.telemetry import Telemetry
from amparo_common.web import CLOUD_EVENT, JSON, json_response, service_app
from amparo_referral import demo
from amparo_referral.settings import ReferralSettings

NAME: Final = "demo_partner"
_RECEIVED_FILE: Final = "demo-partner.jsonl"
_ANSWERED_FILE: Final = "demo-partner-answers.jsonl"
_WORKERS: Final = 8
#: Answers that say that asking again changes nothing.
_FINAL: Final = frozenset({200, 400, 409, 413, 415, 422})
_REVOKED: Final = "org.amparo.referral.revoked.v1"
_log = structlog.get_logger()


class _Data(msgspec.Struct, frozen=True):
    referral_reference: str
    version: int
    acknowledge_url: str


class _CloudEvent(msgspec.Struct, frozen=True):
    id: str
    type: str
    data: _Data


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What the partner took: one line of its file, once for each webhook-id. The package itself is not kept."""

    webhook_id: str
    referral_reference: str
    version: int
    kind: str
    desk: str
    taken_at: str
    acknowledge_url: str


class Ledger:
    """An append-only file of JSON lines, synced before `add` returns; lines that wait together share a sync."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    def lines(self) -> Iterable[bytes]:
        """Read the whole lines; what a crash cut off at the end is cut off the file too."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self._path, len(whole))
        return whole.splitlines()

    async def add(self, line: bytes) -> None:
        """Append a line; it is on the disk when this returns."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, stored))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await stored

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._append, b"".join(line + b"\n" for line, _ in batch))
            except OSError as error:
                for _, stored in batch:
                    if not stored.done():
                        stored.set_exception(error)
                continue
            for _, stored in batch:
                if not stored.done():
                    stored.set_result(None)

    def _append(self, content: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


class DemoPartner:
    """A partner with one or more desks, each with its own secret. `run` answers what was taken."""

    def __init__(self, *, directory: Path, secrets: Mapping[str, bytes], http: ServiceClient, clock: Clock) -> None:
        self._secrets, self._http, self._clock = secrets, http, clock
        self._received, self._answered = Ledger(directory / _RECEIVED_FILE), Ledger(directory / _ANSWERED_FILE)
        self._deliveries: dict[str, Delivery] = {}
        self._being_stored: dict[str, asyncio.Task[None]] = {}
        self._attempts: Counter[str] = Counter()
        self._done = {line.decode() for line in self._answered.lines()}
        self._to_answer: asyncio.Queue[Delivery] = asyncio.Queue()
        for line in self._received.lines():
            self._note(msgspec.json.decode(line, type=Delivery))

    def _note(self, delivery: Delivery) -> None:
        self._deliveries[delivery.webhook_id] = delivery
        self._attempts[delivery.webhook_id] += 1
        if _answer_key(delivery) not in self._done:
            self._to_answer.put_nowait(delivery)

    async def take(self, desk: str, *, headers: Mapping[str, str], body: bytes) -> None:
        """Take a delivery, durably, once for each webhook-id. Raises Problem 404, 401 or 422 when it is not right."""
        secret = self._secrets.get(desk)
        if secret is None:
            raise Problem(404, "no-such-desk", "There is no such desk.")
        try:
            webhooks.verify([secret], headers=headers, body=body, now=self._clock.now())
            event = msgspec.json.decode(body, type=_CloudEvent)
        except webhooks.SignatureError as error:
            raise Problem(401, "signature-refused", "The signature is not accepted.", detail=error.reason) from error
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise Problem(422, "not-understood", "The delivery is not understood.") from error
        message_id = headers["webhook-id"]
        if event.id != message_id:
            raise Problem(422, "not-understood", "The event's id is not the webhook-id.")
        if message_id in self._deliveries:
            self._attempts[message_id] += 1
            return
        storing = self._being_stored.get(message_id)
        if storing is None:
            storing = asyncio.create_task(self._store(_delivery(event, desk=desk, now=rfc3339(self._clock.now()))))
            self._being_stored[message_id] = storing
        await storing

    async def _store(self, delivery: Delivery) -> None:
        try:
            await self._received.add(msgspec.json.encode(delivery))
            self._note(delivery)
        finally:
            del self._being_stored[delivery.webhook_id]

    def received(self) -> list[dict[str, Any]]:
        """Return what was taken, oldest first, with how often each webhook-id came."""
        return [
            {
                "referral_reference": one.referral_reference,
                "version": one.version,
                "webhook_id": one.webhook_id,
                "type": one.kind,
                "desk": one.desk,
                "count": self._attempts[one.webhook_id],
                "answered": _answer_key(one) in self._done,
            }
            for one in self._deliveries.values()
        ]

    async def run(self) -> None:
        """Answer what was taken until cancelled, also what was taken before a restart."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(_WORKERS):
                tasks.create_task(self._answer_all(), name=f"answers-{number}")

    async def _answer_all(self) -> None:
        while True:
            delivery = await self._to_answer.get()
            key = _answer_key(delivery)
            if key not in self._done:
                await self._answer_until_taken(delivery)
                self._done.add(key)
                await self._answered.add(key.encode())

    async def _answer_until_taken(self, delivery: Delivery) -> None:
        backoff = Backoff()
        for wait_s in iter(backoff.next_s, None):
            if await self._answer(delivery):
                return
            await asyncio.sleep(wait_s)

    async def _answer(self, delivery: Delivery) -> bool:
        """Post the answer once; returns whether there is nothing more to do."""
        body = msgspec.json.encode(
            {
                "referral_reference": delivery.referral_reference,
                "code": "DESTROY_CONFIRMED" if delivery.kind == _REVOKED else "RECEIVED",
                "at": delivery.taken_at,
                "partner_reference": f"DEMO-{delivery.referral_reference}",
            }
        )
        message_id, timestamp = str(uuid7()), int(self._clock.now().timestamp())
        signature = webhooks.sign(self._secrets[delivery.desk], message_id=message_id, timestamp=timestamp, body=body)
        headers = {
            "content-type": JSON,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }
        try:
            reply = await self._http.post(delivery.acknowledge_url, content=body, headers=headers)
        except TransportError as error:
            _log.warning("an answer could not be posted", error=error, reference=delivery.referral_reference)
            return False
        if reply.status_code not in _FINAL:
            _log.warning("an answer was not taken", status=reply.status_code, reference=delivery.referral_reference)
        return reply.status_code in _FINAL


def _answer_key(delivery: Delivery) -> str:
    """One RECEIVED for a referral, whatever its versions; one proof of destruction."""
    code = "destroyed" if delivery.kind == _REVOKED else "received"
    return f"{code} {delivery.referral_reference}"


def _delivery(event: _CloudEvent, *, desk: str, now: str) -> Delivery:
    return Delivery(
        webhook_id=event.id,
        referral_reference=event.data.referral_reference,
        version=event.data.version,
        kind=event.type,
        desk=desk,
        taken_at=now,
        acknowledge_url=event.data.acknowledge_url,
    )


def create_app(partner: DemoPartner, *, desks: Iterable[str], telemetry: Telemetry) -> FastAPI:
    """Make the partner's application: `POST /referrals/DESK`, `GET /received`."""
    paths = {f"/referrals/{desk}": (CLOUD_EVENT,) for desk in desks}
    app = service_app(
        name=NAME, readiness=lambda: (), telemetry=telemetry, max_body_bytes=4 * 1024 * 1024, media_types=paths
    )

    async def take(request: Request) -> Response:
        desk = str(request.path_params["desk"])
        await partner.take(desk, headers=request.headers, body=await request.body())
        return Response(status_code=204)

    async def received(_: Request) -> Response:
        return json_response({"received": partner.received()})

    app.add_route("/referrals/{desk}", take, methods=["POST"])
    app.add_route("/received", received, methods=["GET"])
    return app


@asynccontextmanager
async def compose(settings: ReferralSettings) -> AsyncIterator[Service]:
    """Wire the demo partner with the secrets that referral seeds, on its own port."""
    provider, telemetry = demo.key_provider(settings), Telemetry(NAME)
    secrets = {
        partner.path: webhooks.secret_bytes(demo.secret_of(partner, provider=provider)) for partner in demo.PARTNERS
    }
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.close)
        http = await stack.enter_async_context(service_client())
        partner = DemoPartner(directory=settings.data_dir, secrets=secrets, http=http, clock=SystemClock())
        yield Service(
            name=NAME,
            port=settings.port(PORTS[NAME]),
            app=create_app(partner, desks=secrets, telemetry=telemetry),
            tasks=(partner.run,),
            telemetry=telemetry,
        )
