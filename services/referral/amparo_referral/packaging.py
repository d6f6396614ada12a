"""Making packages: opening what the reports tell, cutting it down, sealing it again, and sending it on its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amparo_common.clock import rfc3339
from amparo_common.crypto.data_keys import KeyAnswer, KeyState
from amparo_common.crypto.parts import open_narrative, open_text, seal_text
from amparo_common.crypto.sealing import DataKey, SealBrokenError
from amparo_common.events.types import DeliveryAttempt, IncidentTriaged
from amparo_common.vocabulary.codes import Adapter, ClockKind, ClockState
from amparo_referral.adapters import partner_inbox
from amparo_referral.changes import Changes, subject_of
from amparo_referral.domain import referrals as change, tasks as work
from amparo_referral.domain.package import MOST_REPORTS, Informed, Package, ReportFacts, Told, compose
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.targets import task_due_at
from amparo_referral.domain.tasks import Errand, for_person
from amparo_referral.repository import deliveries, referrals as stored, tasks
from amparo_referral.repository.incidents import KnownIncident, KnownReport
from amparo_referral.repository.referrals import StoredPackage

#: How long the first report, or a key that intake does not know yet, is waited for before a package goes without it.
FIRST_REPORT_GRACE: Final = timedelta(seconds=5)
UNKNOWN_KEY_GRACE: Final = timedelta(seconds=60)
_LOOK_AGAIN: Final = timedelta(seconds=1)

Keys = Mapping[UUID, KeyAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What making packages needs besides the unit's own rows."""

    keys: Keys
    #: Where partners acknowledge; the partner's id is added.
    acknowledge_url: str


class _Postponed(Exception):  # noqa: N818 - no error: the package is made a little later
    """Something that is awaited is not there yet."""


def shown(reports: Sequence[KnownReport]) -> list[KnownReport]:
    """Return the reports that a package tells in full: the first and the newest."""
    return [*reports[:1], *reports[1:][-(MOST_REPORTS - 1) :]]


def build(
    connection: Connection,
    changes: Changes,
    *,
    incident: KnownIncident,
    reports: Sequence[KnownReport],
    referrals: Sequence[Referral],
    workbench: Workbench,
) -> None:
    """Make every package that is wanted of one incident, as far as the keys allow; what is not made is tried again.

    `referrals` are all of the incident, in their present state.
    """
    for referral in referrals:
        if referral.build_at is None:
            continue
        state = incident.state
        if incident.erased or state is None or workbench.keys.get(incident.id) is KeyState.DESTROYED:
            _let_go(connection, changes, referral)
            continue
        try:
            package, complete = _package(state, referral, reports, referrals, changes=changes, keys=workbench.keys)
        except _Postponed:
            later = msgspec.structs.replace(referral, build_at=changes.now + _LOOK_AGAIN)
            _keep(connection, changes, later)
            continue
        made = _stored(connection, referral, package, complete=complete, changes=changes, workbench=workbench)
        send(connection, changes, made, state=state)


def _let_go(connection: Connection, changes: Changes, referral: Referral) -> None:
    """Revoke what waits of an erased incident; what went stays with the partner."""
    revoked = change.revoked_if_waiting(referral, now=changes.now)
    if revoked is not None:
        changes.note_all([revoked])
    else:
        _keep(connection, changes, msgspec.structs.replace(referral, build_at=None, wanted_at=None))


def _keep(connection: Connection, changes: Changes, referral: Referral) -> None:
    """Store a state that is nobody else's business: it has no event of its own."""
    if referral.id in changes.referrals:
        changes.note(referral)
    else:
        stored.put(connection, [referral])


def _package(
    state: IncidentTriaged,
    referral: Referral,
    reports: Sequence[KnownReport],
    referrals: Sequence[Referral],
    *,
    changes: Changes,
    keys: Keys,
) -> tuple[Package, bool]:
    waited = changes.now - (referral.wanted_at or changes.now)
    if not isinstance(keys.get(state.incident_id), DataKey):
        raise _Postponed  # without the first report's key nothing may be stored
    first_known = bool(reports) and reports[0].joined.report_id == state.incident_id
    if not first_known and waited < FIRST_REPORT_GRACE:
        raise _Postponed
    in_full = {report.joined.report_id for report in shown(reports)}
    facts = [
        _facts(report, key=keys.get(report.joined.report_id), waited=waited, open_it=report.joined.report_id in in_full)
        for report in reports
    ]
    package = compose(
        state,
        referral_reference=referral.reference,
        destination=referral.destination,
        lawful_basis=referral.lawful_basis,
        reports=facts,
        note=opened_note(referral, key=keys[state.incident_id]),
        informed=[_informed(other, changes) for other in referrals if other.id != referral.id and other.left],
    )
    return package, first_known


def _facts(report: KnownReport, *, key: KeyAnswer | None, waited: timedelta, open_it: bool) -> ReportFacts:
    joined = report.joined
    return ReportFacts(
        report_id=joined.report_id,
        received_at=joined.received_at,
        channel=joined.channel,
        language=joined.language,
        country=joined.country,
        imminent_danger=joined.imminent_danger,
        reporter_type=joined.reporter_type,
        safe_contact=joined.safe_contact,
        told=_told(report, key=key, waited=waited) if open_it else None,
    )


def _told(report: KnownReport, *, key: KeyAnswer | None, waited: timedelta) -> Told | None:
    if report.narrative is None or key is KeyState.DESTROYED:
        return None
    if not isinstance(key, DataKey):
        if key is KeyState.UNKNOWN and waited >= UNKNOWN_KEY_GRACE:
            return None
        raise _Postponed
    try:
        narrative = open_narrative(key, report.narrative, report_id=report.joined.report_id)
    except SealBrokenError:
        return None
    return msgspec.convert(narrative, Told, from_attributes=True)


def _informed(other: Referral, changes: Changes) -> Informed:
    partner = changes.directory.partners.get(other.partner_id)
    at = other.delivered_at or other.changed_at
    return Informed(other.destination, partner.name if partner else "", str(other.status), at)


def _stored(
    connection: Connection,
    referral: Referral,
    package: Package,
    *,
    complete: bool,
    changes: Changes,
    workbench: Workbench,
) -> Referral:
    made = change.packaged(referral, now=changes.now)
    key = workbench.keys[made.incident_id]
    assert isinstance(key, DataKey)  # noqa: S101 - _package postpones without it
    text = msgspec.json.encode(_data(made, package, workbench)).decode()
    sealed = seal_text(key, text, name=_name(made.id, made.package_version), report_id=made.incident_id)
    row = StoredPackage(
        referral_id=made.id,
        version=made.package_version,
        incident_id=made.incident_id,
        created_at=changes.now,
        profile=package.profile,
        withheld=package.withheld,
        complete=complete,
        sealed=sealed,
    )
    stored.add_packages(connection, [row])
    return made


def send(connection: Connection, changes: Changes, referral: Referral, *, state: IncidentTriaged) -> None:
    """Put the present package of `referral` on its way, if it may go: to a machine, an inbox, or a person's tasks."""
    if not change.may_send(referral):
        changes.note(referral)
        return
    adapter = changes.directory.partners[referral.partner_id].adapter
    if for_person(adapter):
        changes.note(referral)
        _give_to_person(connection, changes, referral, kind=adapter, state=state)
        return
    one = deliveries.pending(
        referral.id,
        version=referral.package_version,
        partner_id=referral.partner_id,
        level=referral.level,
        revocation=False,
        now=changes.now,
    )
    if adapter is Adapter.PARTNER_INBOX:
        deliveries.add(connection, [msgspec.structs.replace(one, state=deliveries.DELIVERED, attempts=1)])
        attempt = _placed(changes.now)
        stored.add_attempt(connection, referral.id, version=referral.package_version, attempt=attempt)
        changes.note(change.delivered(referral, now=changes.now), action="referral.delivered")
    else:
        deliveries.add(connection, [one])
        changes.note(referral)


def _give_to_person(
    connection: Connection, changes: Changes, referral: Referral, *, kind: Adapter, state: IncidentTriaged
) -> None:
    told_before = referral.delivered_at is not None
    clock = None if told_before else _first_referral_due(state)
    due_at = task_due_at(referral.level, clock=clock, now=changes.now)
    standing = next((task for task in tasks.of_referrals(connection, [referral.id]) if task.open), None)
    if standing is not None:
        changes.note_task(work.renewed(standing, referral, due_at=due_at, now=changes.now))
        return
    errand = Errand.UPDATE if told_before else Errand.REFER
    changes.note_task(work.made(referral, kind=kind, errand=errand, due_at=due_at, now=changes.now))
    changes.audit("task.opened", subject=subject_of(referral.incident_id))


def _first_referral_due(state: IncidentTriaged) -> datetime | None:
    running = (
        clock.due_at
        for clock in state.clocks
        if clock.kind is ClockKind.FIRST_REFERRAL and clock.state is ClockState.RUNNING
    )
    return next(running, None)


def _placed(now: datetime) -> DeliveryAttempt:
    slug = partner_inbox.placed("sent").slug
    return DeliveryAttempt(number=1, at=now, outcome=slug, status_code=None, next_attempt_at=None)


def _data(referral: Referral, package: Package, workbench: Workbench) -> dict[str, Any]:
    return {
        **clear_data(referral, acknowledge_url=workbench.acknowledge_url),
        "profile": package.profile,
        "package": package.content,
        "withheld": [field.field for field in package.withheld],
    }


def clear_data(referral: Referral, *, acknowledge_url: str) -> dict[str, Any]:
    """Write the members of a delivery's `data` that hold codes, references and times only."""
    return {
        "referral_reference": referral.reference,
        "level": referral.level,
        "category": referral.category,
        "destination": referral.destination,
        "country": referral.country,
        "lawful_basis": referral.lawful_basis,
        "version": referral.package_version,
        "due_at": rfc3339(referral.due_at) if referral.due_at else None,
        "acknowledge_url": f"{acknowledge_url}?partner={referral.partner_id}",
        "is_test": referral.is_test,
    }


def revocation_data(referral: Referral, *, acknowledge_url: str) -> bytes:
    """Write the `data` of a revocation: an empty package, to be read as "destroy what you have"."""
    profile = {"profile": "revocation.v1", "package": {}, "withheld": []}
    return msgspec.json.encode(clear_data(referral, acknowledge_url=acknowledge_url) | profile)


def opened_data(package: StoredPackage, *, key: DataKey) -> bytes:
    """Open the `data` of a stored package; raises SealBrokenError."""
    name = _name(package.referral_id, package.version)
    return open_text(key, package.sealed, name=name, report_id=package.incident_id).encode()


def opened_note(referral: Referral, *, key: KeyAnswer | None) -> str | None:
    """Open what the person who refers tells the partner; None when they told nothing, or it cannot be opened."""
    if referral.note is None or not isinstance(key, DataKey):
        return None
    return open_text(key, referral.note, name=f"note:{referral.id}", report_id=referral.incident_id)


def _name(referral_id: UUID, version: int) -> str:
    return f"package:{referral_id}:{version}"
