"""Reading a package and what was written to its referral, once that is on record."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import Principal
from amparo_common.crypto.parts import open_text
from amparo_common.crypto.sealing import DataKey
from amparo_common.events.types import WithheldField
from amparo_common.inert import inert, inert_everywhere
from amparo_common.vocabulary.codes import Purpose, Release
from amparo_referral.callers import not_found, on_record, reaches, seal_key
from amparo_referral.changes import subject_of
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.routes import PartnerEntry
from amparo_referral.domain.tasks import for_person
from amparo_referral.packaging import opened_data
from amparo_referral.repository import approvals, directory as entries, referrals
from amparo_referral.repository.approvals import Approval
from amparo_referral.repository.referrals import StoredPackage
from amparo_referral.service import Desk


class Note(msgspec.Struct, frozen=True):
    """What a partner, or who answered for it, wrote with an answer."""

    acknowledgement_id: UUID
    note: str


class Said(msgspec.Struct, frozen=True):
    """What a second person said to a version, and why."""

    by: str
    at: datetime
    version: int
    approve: bool
    reason: str | None


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A package in clear, for who may read it."""

    profile: str
    version: int
    content: dict[str, Any]
    withheld: tuple[WithheldField, ...]
    #: The number, portal or mailbox, for a person of Amparo who reaches the partner by hand.
    address: str | None
    notes: tuple[Note, ...]
    approvals: tuple[Said, ...]


class _Loaded(msgspec.Struct, frozen=True):
    referral: Referral
    package: StoredPackage | None
    notes: list[tuple[UUID, bytes]]
    approvals: list[Approval]
    seen: bool
    staff: bool
    partner: PartnerEntry | None


class _Data(msgspec.Struct):
    package: dict[str, Any]


async def read_package(desk: Desk, referral_id: UUID, *, by: Principal) -> Opened:
    """Open the package of a referral once the audit row of that is durable.

    Every address in it is inert, for partners too: a person reads it. What a partner's machine works with, the exact
    address, is in the signed delivery. A partner reads the newest version that was let go to it, Amparo's people the
    newest there is.

    Raises Problem 404 for what is not the caller's to see (on record, too), for a package that is not made yet and for
    an erased one; TransientError while intake gives no key.
    """
    loaded = await desk.database.read(lambda session: _load(session, referral_id, by=by))
    if loaded is None or not loaded.seen:
        subject = subject_of(loaded.referral.incident_id) if loaded else str(referral_id)
        await _record(desk, by, subject, allowed=False)
        raise not_found()
    key = await seal_key(desk, loaded.referral.incident_id)
    await _record(desk, by, subject_of(loaded.referral.incident_id), allowed=True)
    if loaded.package is None or key is None:
        raise not_found()
    return _opened(loaded, loaded.package, key=key)


async def _record(desk: Desk, by: Principal, subject: str, *, allowed: bool) -> None:
    await on_record(desk, by, "referral.package", subject=subject, allowed=allowed, purpose=Purpose.REFERRAL)


def _load(session: Session, referral_id: UUID, *, by: Principal) -> _Loaded | None:
    referral = referrals.get(session, referral_id)
    if referral is None:
        return None
    partner = entries.partner(session, referral.partner_id)
    staff = by.may(Permission.READ_PACKAGE) is not Reach.ORGANISATION
    let_go_only = not staff and referral.release is Release.WITH_APPROVAL
    up_to = referral.approved_version if let_go_only else referral.package_version
    return _Loaded(
        referral=referral,
        package=referrals.newest_package(session, referral_id, up_to=up_to),
        notes=referrals.sealed_notes(session, referral_id),
        approvals=approvals.of_referral(session, referral_id),
        seen=reaches(by, Permission.READ_PACKAGE, referral=referral, partner=partner),
        staff=staff,
        partner=partner,
    )


def _opened(loaded: _Loaded, package: StoredPackage, *, key: DataKey) -> Opened:
    incident_id, partner, staff = loaded.referral.incident_id, loaded.partner, loaded.staff
    by_hand = staff and partner is not None and for_person(partner.adapter)
    data = msgspec.json.decode(opened_data(package, key=key), type=_Data)
    return Opened(
        profile=package.profile,
        version=package.version,
        content=inert_everywhere(data.package),
        withheld=package.withheld,
        address=inert(partner.address) if by_hand and partner is not None and partner.address else None,
        notes=tuple(
            Note(one, inert(open_text(key, note, name=f"note:{one}", report_id=incident_id)))
            for one, note in loaded.notes
        ),
        approvals=tuple(_said(one, key=key) for one in loaded.approvals) if staff else (),
    )


def _said(approval: Approval, *, key: DataKey) -> Said:
    sealed, name = approval.reason, f"reason:{approval.id}"
    reason = open_text(key, sealed, name=name, report_id=approval.incident_id) if sealed is not None else None
    return Said(approval.by, approval.at, approval.package_version, approval.approved, reason)
