"""Preparing a report for storage: its parts are sealed here, before anything of them is written anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from amparo_common.audit import AuditEntry
from amparo_common.auth.principal import Principal
from amparo_common.crypto.key_table import wrapped_for
from amparo_common.crypto.parts import seal_part
from amparo_common.crypto.sealing import new_data_key
from amparo_common.events.types import ReportReceived
from amparo_common.ids import case_code, reference, uuid7
from amparo_common.outbox import Outgoing
from amparo_common.vocabulary.codes import Lane, Role
from amparo_intake.domain.facts import ClearFacts
from amparo_intake.keyed import IntakeSecrets, Receipt
from amparo_intake.reading import Submission
from amparo_intake.repository import Claim, NewReport

RECEIPT_KEPT_FOR: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Request:
    """The keyed hashes of a request that named an idempotency key."""

    key_hash: bytes
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """A report ready to be stored, and the receipt for it."""

    report: NewReport
    receipt: Receipt


def prepare(
    submission: Submission,
    *,
    lane: Lane,
    now: datetime,
    caller: Principal,
    request: Request | None,
    secrets: IntakeSecrets,
) -> Prepared:
    """Give a submission its id, case code and data key, and seal it."""
    report_id, code, key = uuid7(), case_code(), new_data_key()
    received_at = now.replace(microsecond=now.microsecond // 1000 * 1000)
    receipt = Receipt(report_id=report_id, case_code=code, lane=lane, received_at=received_at)
    narrative = seal_part(key, submission.narrative, name="narrative", report_id=report_id)
    given = submission.identity
    identity = None if given is None else seal_part(key, given, name="identity", report_id=report_id)
    event = ReportReceived(
        report_id=report_id,
        received_at=received_at,
        lane=lane,
        **_clear(submission.facts),
        owner=caller.owner,
        trusted_source=caller.role is Role.PARTNER,
        narrative=narrative,
        identity=identity,
    )
    case_hash = secrets.case_hash(code)
    if case_hash is None:
        raise ValueError("a case code that is none")
    report = NewReport(
        report_id=report_id,
        case_hash=case_hash,
        row=_row(event, case_hash=case_hash),
        wrapped_key=wrapped_for(report_id, key, provider=secrets.provider),
        claim=_claim(request, receipt=receipt, secrets=secrets) if request else None,
        event=Outgoing(event=event, key=report_id, lane=lane),
        entry=_entry(caller, report_id=report_id),
    )
    return Prepared(report, receipt)


def _clear(facts: ClearFacts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in ClearFacts.__struct_fields__}


def _row(event: ReportReceived, *, case_hash: bytes) -> Mapping[str, Any]:
    row = {name: getattr(event, name) for name in ReportReceived.__struct_fields__}
    return row | {"case_hash": case_hash, "factors": " ".join(event.factors)}


def _claim(request: Request, *, receipt: Receipt, secrets: IntakeSecrets) -> Claim:
    return Claim(
        key_hash=request.key_hash,
        body_hash=request.body_hash,
        receipt=secrets.seal_receipt(receipt, key_hash=request.key_hash),
        expires_at=receipt.received_at + RECEIPT_KEPT_FOR,
    )


def _entry(caller: Principal, *, report_id: UUID) -> AuditEntry:
    return AuditEntry(
        actor=caller.name,
        role=caller.role.lower(),
        action="report.submit",
        subject=reference("AM", of=report_id),
        allowed=True,
    )
