"""Taking a partner's answer: once, in one unit, or refused with nothing stored."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection

from amparo_common import faults
from amparo_common.crypto.data_keys import KeyAnswer
from amparo_common.crypto.parts import seal_text
from amparo_common.crypto.sealing import DataKey
from amparo_common.errors import Problem, Refusal, Refused
from amparo_common.events.types import ReferralChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import AcknowledgementCode, Destination, Purpose, ReferralStatus, Role
from amparo_referral import fallbacks
from amparo_referral.changes import SERVICE, Changes
from amparo_referral.domain import acknowledgements, referrals as change
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.routes import PartnerEntry
from amparo_referral.repository import directory as entries, incidents, referrals
from amparo_referral.service import Desk

_PATIENCE_S: Final = 0.25
_log = structlog.get_logger()
_digest_form: Final = msgspec.json.Encoder(order="sorted")


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """How a partner classified the material, in its own scheme."""

    scheme: str
    version: str
    value: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a partner answers, checked. No `repr` shows the note."""

    referral_reference: str
    code: AcknowledgementCode
    at: datetime
    partner_reference: str | None = None
    note: str | None = None
    until: datetime | None = None
    forwarded_to: Destination | None = None
    classification: Classification | None = None

    def __repr__(self) -> str:
        return f"Answer({self.referral_reference}, {self.code})"

    def digest(self) -> bytes:
        """Return SHA-256 over the content, whatever the order and spacing it was written in."""
        return hashlib.sha256(_digest_form.encode(self)).digest()


class Answerer(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers: a partner by its secret (`partner_id`), or a signed-in person who may speak for `organisation`.

    A person of Amparo (`countries` set) answers for any partner of those countries.
    """

    name: str
    role: Role
    partner_id: UUID | None = None
    organisation: str | None = None
    countries: frozenset[str] = frozenset()
    #: Answers by hand through the graph: the time of the answer is that of the call.
    by_hand: bool = False

    def speaks_for(self, partner: PartnerEntry, *, country: str) -> bool:
        """Say whether the referral to `partner` is this caller's to answer."""
        if self.partner_id is not None:
            return partner.id == self.partner_id
        if self.organisation is not None:
            return partner.organisation == self.organisation
        return "*" in self.countries or country in self.countries


class Taken(msgspec.Struct, frozen=True):
    """The answer to the answer."""

    referral_reference: str
    status: ReferralStatus


_NOT_POSSIBLE: Final = "This answer is not possible any more, or not yet."


def unknown_reference() -> Problem:
    """Make the 404 that tells an unknown reference and another partner's apart from nothing."""
    return Problem(404, "referral-not-found", "There is no such referral of yours.")


async def acknowledge(desk: Desk, answer: Answer, *, by: Answerer) -> Taken:
    """Take `answer`; the same content again changes nothing and gets the present status.

    Raises Problem 404 for a reference that is not the caller's, 409 `transition-not-allowed`; TransientError when
    a note cannot be sealed or nothing can be stored now.
    """
    try:
        told = await take_answer(desk, answer, by=by)
    except Refused as refused:
        detail = refused.refusals[0].message.removeprefix(_NOT_POSSIBLE).strip()
        raise Problem(409, "transition-not-allowed", _NOT_POSSIBLE, detail=detail) from None
    faults.point(SERVICE, "acknowledgement.before_answer")
    await _published(desk)
    return Taken(told.reference, told.status)


async def _published(desk: Desk) -> None:
    """Give the log a moment to take what was stored: a partner that looks next finds its answer.

    What is not published by then follows by itself, so nothing of the answer depends on it.
    """
    if desk.publish is None:
        return
    publishing = asyncio.ensure_future(desk.publish())
    publishing.add_done_callback(_seen)
    await asyncio.wait({publishing}, timeout=_PATIENCE_S)


def _seen(publishing: asyncio.Future[None]) -> None:
    """Take the outcome: a log that does not answer now is the relay's own trouble, which it waits out."""
    if not publishing.cancelled() and isinstance(error := publishing.exception(), Exception):
        _log.warning("an answer is published later", error=error)


async def take_answer(desk: Desk, answer: Answer, *, by: Answerer) -> ReferralChanged:
    """Take `answer` and return the referral's state.

    Raises Problem 404 as `acknowledge` does, Refused TRANSITION_NOT_ALLOWED, TransientError; nothing is stored then.
    """
    found = await desk.database.read(lambda session: referrals.incident_of(session, answer.referral_reference))
    if found is None:
        raise unknown_reference()
    keys: Mapping[UUID, KeyAnswer] = {}
    if answer.note:
        keys = await desk.keys.of([found], purpose=Purpose.REFERRAL)
    told = await desk.database.write(
        lambda connection: _take(connection, answer, incident_id=found, by=by, keys=keys, now=desk.clock.now())
    )
    desk.ring_builder()
    return told


def _take(
    connection: Connection,
    answer: Answer,
    *,
    incident_id: UUID,
    by: Answerer,
    keys: Mapping[UUID, KeyAnswer],
    now: datetime,
) -> ReferralChanged:
    known = incidents.locked(connection, [incident_id])[incident_id]
    standing = referrals.of_incidents(connection, [incident_id])
    referral = next((one for one in standing if one.reference == answer.referral_reference), None)
    changes = Changes(now=now, directory=entries.directory(connection))
    partner = changes.directory.partners.get(referral.partner_id) if referral else None
    if referral is None or partner is None or not by.speaks_for(partner, country=referral.country):
        raise unknown_reference()
    if referrals.answered_before(connection, referral.id, digests=_digests(answer, by_hand=by.by_hand)):
        return referrals.events_of(connection, [referral])[0]
    status = acknowledgements.after(referral.status, answer.code)
    if status is None:
        message = f"{_NOT_POSSIBLE} The referral is {referral.status}."
        raise Refused(Refusal("TRANSITION_NOT_ALLOWED", message, "code"))
    answered = change.answered(referral, status=status, now=now)
    referrals.add_acknowledgement(
        connection,
        row(answer, referral, by=by.name, keys=keys, now=now, by_hand=by.by_hand),
    )
    changes.note(answered, action="referral.acknowledged", actor=by.name, role=by.role)
    if status is ReferralStatus.CLOSED:
        changes.end_tasks(connection, [answered])
    if status is ReferralStatus.REJECTED:
        fallbacks.open_next(connection, changes, answered, known=known, standing=standing)
    changes.write(connection)
    return changes.of_referral(answered.id)


def _digests(answer: Answer, *, by_hand: bool) -> tuple[bytes, ...]:
    """Return the digests under which `answer` is a repeat: a person who presses twice gives no time of their own."""
    if not by_hand:
        return (answer.digest(),)
    minute = answer.at.replace(second=0, microsecond=0)
    times = (minute, minute - timedelta(minutes=1))
    return tuple(msgspec.structs.replace(answer, at=at).digest() for at in times)


def row(
    answer: Answer,
    referral: Referral,
    *,
    by: str,
    keys: Mapping[UUID, KeyAnswer],
    now: datetime,
    by_hand: bool = False,
) -> dict[str, object]:
    """Make the row of an answer, its note sealed."""
    acknowledgement_id = uuid7()
    key = keys.get(referral.incident_id)
    # Of an erased incident nothing that a person writes is kept.
    sealed = (
        seal_text(key, answer.note, name=f"note:{acknowledgement_id}", report_id=referral.incident_id)
        if answer.note and isinstance(key, DataKey)
        else None
    )
    return {
        "id": acknowledgement_id,
        "referral_id": referral.id,
        "digest": _digests(answer, by_hand=by_hand)[0],
        "at": answer.at,
        "taken_at": now,
        "code": str(answer.code),
        "by": by,
        "partner_reference": answer.partner_reference,
        "until": answer.until,
        "forwarded_to": str(answer.forwarded_to) if answer.forwarded_to else None,
        "classification": msgspec.json.encode(answer.classification) if answer.classification else None,
        "note": sealed,
    }
