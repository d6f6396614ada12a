"""What one request asks of the services that own sealed text: each thing once, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from amparo_common.auth.principal import Principal
from amparo_common.errors import Problem, Refused, TransientError
from amparo_common.vocabulary.codes import Category, Factor, Purpose, RecordClass
from amparo_gateway.commands.client import NotVisible, Owners
from amparo_gateway.errors import NoSuchError, PublicError

Answer = TypeVar("Answer")
_AT_ONCE: Final = 8


class Hidden(msgspec.Struct, frozen=True):
    """Base of what is read in clear; nothing of it is in its `repr`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"


class Account(Hidden, frozen=True):
    """An account that was reported."""

    platform: str
    handle: str


class Hash(Hidden, frozen=True):
    """A hash that was reported."""

    algorithm: str
    value: str
    source: str


class Victim(Hidden, frozen=True):
    """Who the report is about; None is unanswered."""

    age: int | None
    count: int | None


class Reporter(Hidden, frozen=True):
    """Who reported."""

    type: str | None
    name: str | None
    contact: str | None
    safe_contact: str | None


class OpenedReport(Hidden, frozen=True):
    """A report as intake opens it."""

    report_id: UUID
    received_at: datetime
    channel: str
    language: str
    text: str
    urls: tuple[str, ...]
    platform: str | None
    reported_accounts: tuple[Account, ...]
    hashes: tuple[Hash, ...]
    victim: Victim
    imminent_danger: bool | None
    reporter: Reporter


class OpenedMessage(Hidden, frozen=True):
    """A message of a reporter, or to one."""

    at: datetime
    from_reporter: bool
    text: str


class Opened(Hidden, frozen=True):
    """What intake opens of an incident."""

    reports: tuple[OpenedReport, ...]
    messages: tuple[OpenedMessage, ...]


class OpenedNote(Hidden, frozen=True):
    """What somebody wrote on an incident."""

    at: datetime
    by: str
    kind: str
    text: str


class LinkReason(Hidden, frozen=True):
    """Why an incident was linked to another."""

    incident_id: UUID
    reason: str


class Passage(Hidden, frozen=True):
    """Where in a report's text something was found."""

    report_id: UUID
    start: int
    end: int
    factor: Factor | None = None
    category: Category | None = None


class Notes(Hidden, frozen=True):
    """What triage opens of an incident."""

    notes: tuple[OpenedNote, ...]
    links: tuple[LinkReason, ...]
    evidence: tuple[Passage, ...]


class StandingHold(Hidden, frozen=True):
    """A hold as intake shows it; who asked for it is None once the incident was erased."""

    hold_id: UUID
    record_classes: tuple[RecordClass, ...]
    requested_by: str | None
    placed_at: datetime
    until: datetime
    released_at: datetime | None


class Holds(Hidden, frozen=True):
    """The holds of an incident."""

    holds: tuple[StandingHold, ...]


class Withheld(Hidden, frozen=True):
    """A field that a package leaves out."""

    field: str
    safeguard: str
    reason: str


class AnswerNote(Hidden, frozen=True):
    """What a partner wrote with an acknowledgement."""

    acknowledgement_id: UUID
    note: str | None


class Package(Hidden, frozen=True):
    """What a partner receives."""

    profile: str
    content: Any
    withheld: tuple[Withheld, ...] = ()
    notes: tuple[AnswerNote, ...] = ()


class Asked:
    """Asks as the caller and remembers for the request: what two fields need is asked, and recorded, once.

    Every method raises NoSuchError for what the owner does not show, ForbiddenError, TransientError, or a PublicError
    with the code of the rule that said no.
    """

    def __init__(self, owners: Owners, *, principal: Principal) -> None:
        self._owners, self._principal = owners, principal
        self._answers: dict[Hashable, asyncio.Future[Any]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def opened(self, incident_id: UUID, *, purpose: Purpose) -> Opened:
        """Return the reports and messages of an incident; intake puts that on record."""
        path, body = f"/v1/incidents/{incident_id}/sensitive", {"purpose": purpose}
        return await self._once((path, purpose), lambda: self._ask("intake", "POST", path, kind=Opened, body=body))

    async def notes(self, incident_id: UUID, *, purpose: Purpose) -> Notes:
        """Return what people wrote on an incident; triage puts that on record."""
        path = f"/v1/incidents/{incident_id}/notes?purpose={purpose}"
        return await self._once(path, lambda: self._ask("triage", "GET", path, kind=Notes))

    async def holds(self, incident_id: UUID) -> Holds:
        """Return the holds of an incident."""
        path = f"/v1/incidents/{incident_id}/holds"
        return await self._once(path, lambda: self._ask("intake", "GET", path, kind=Holds))

    async def package(self, referral_id: UUID) -> Package:
        """Return the package of a referral and the notes of its acknowledgements; referral puts that on record."""
        path = f"/v1/referrals/{referral_id}/package"
        return await self._once(path, lambda: self._ask("referral", "GET", path, kind=Package))

    async def _once(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        if key not in self._answers:
            self._answers[key] = asyncio.ensure_future(ask())
        answer: Answer = await asyncio.shield(self._answers[key])
        return answer

    async def _ask(self, service: str, method: str, path: str, *, kind: type[Answer], body: Any = None) -> Answer:
        try:
            async with self._gate:
                answer = await self._owners.call(service, method, path, principal=self._principal, body=body)
        except NotVisible:
            raise NoSuchError("object") from None
        except Refused as refused:
            first = refused.refusals[0]
            raise PublicError(first.message, code=first.code) from None
        except Problem as problem:
            raise _told(service, problem) from problem
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError:
            # `from None`: the decoder's words may repeat what was opened.
            raise TransientError(f"{service} gives an answer of another shape than agreed") from None


def _told(service: str, problem: Problem) -> Exception:
    if problem.status == HTTPStatus.UNAUTHORIZED:
        return PublicError("The token has run out.", code="UNAUTHENTICATED")
    return TransientError(f"{service} refuses the question: {problem.slug}")
