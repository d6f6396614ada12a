"""Reports that come through the graph: passed on to intake as they are, with the caller's token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import strawberry
from strawberry.scalars import JSON

from amparo_common.errors import Refusal, Refused
from amparo_common.vocabulary.codes import Category, Channel, Factor, Lane
from amparo_gateway.schema.arguments import given
from amparo_gateway.schema.context import Context, Info
from amparo_gateway.schema.fields import commanding
from amparo_gateway.schema.mutations.command import permitted
from amparo_gateway.schema.mutations.outcome import DomainError, outcome

_LONGEST_KEY: Final = 255


@strawberry.input(description="An account that somebody used, and where.")
class ReportedAccountInput:
    platform: str
    handle: str


@strawberry.input(description="A hash as its source published it; Amparo makes none and takes no files.")
class HashReferenceInput:
    algorithm: str
    value: str
    source: str


@strawberry.input(description="The affected child, or children.")
class VictimInput:
    age: int | None = strawberry.UNSET
    count: int | None = strawberry.UNSET


@strawberry.input(description="`type`: child, parent, relative, citizen, teacher, partner, agent, anonymous, other.")
class ReporterInput:
    type: str | None = strawberry.UNSET
    name: str | None = strawberry.UNSET
    contact: str | None = strawberry.UNSET
    safe_contact: str | None = strawberry.field(
        default=strawberry.UNSET, description="never, code_only, phone, sms, email."
    )


@strawberry.input(description="Where the report came from, as far as it is needed; sealed.")
class NetworkInput:
    msisdn: str | None = strawberry.UNSET
    ip: str | None = strawberry.UNSET
    port: int | None = strawberry.UNSET
    observed_at: datetime | None = strawberry.UNSET


@strawberry.input(description="A report. What is null was not answered, which is never a no.")
class ReportIncidentInput:
    channel: Channel
    language: str
    country: str
    text: str
    idempotency_key: str | None = strawberry.UNSET
    category: Category | None = strawberry.UNSET
    factors: list[Factor] | None = strawberry.UNSET
    victim: VictimInput | None = strawberry.UNSET
    imminent_danger: bool | None = strawberry.UNSET
    urls: list[str] | None = strawberry.UNSET
    platform: str | None = strawberry.UNSET
    reported_accounts: list[ReportedAccountInput] | None = strawberry.UNSET
    hashes: list[HashReferenceInput] | None = strawberry.UNSET
    reporter: ReporterInput | None = strawberry.UNSET
    network: NetworkInput | None = strawberry.UNSET
    occurred_at: datetime | None = strawberry.UNSET


@strawberry.type(description="The report is stored. The case code is shown once and opens the thread with us.")
class ReportReceipt:
    report_id: strawberry.ID = strawberry.field(description="A plain UUID, for `incidentByReport`.")
    case_code: str
    lane: Lane
    received_at: datetime
    guidance: JSON


@strawberry.type(description="The receipt of a stored report.")
class ReportIncidentPayload:
    receipt: ReportReceipt | None
    errors: list[DomainError]


@strawberry.type
class ReportingMutations:
    @commanding("Report what happened. Answered once the report is durable.")
    async def report_incident(self, info: Info, input: ReportIncidentInput) -> ReportIncidentPayload:  # noqa: A002
        context = permitted(info, "reportIncident")
        receipt, errors = await outcome(_reported(context, input), about="text")
        return ReportIncidentPayload(receipt=receipt, errors=errors)


async def _reported(context: Context, report: ReportIncidentInput) -> ReportReceipt:
    key = given(report.idempotency_key)
    answer = await context.owners.call(
        "intake",
        "POST",
        "/v1/reports",
        principal=context.principal,
        body=_body(report),
        headers={"idempotency-key": _header(key)} if key is not None else None,
    )
    return ReportReceipt(
        report_id=strawberry.ID(answer["report_id"]),
        case_code=answer["case_code"],
        lane=Lane(answer["lane"].upper()),
        received_at=datetime.fromisoformat(answer["received_at"]),
        guidance=answer["guidance"],
    )


def _header(key: str) -> str:
    if not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        words = f"It has 1 to {_LONGEST_KEY} printable ASCII characters."
        raise Refused(Refusal("INVALID", words, "idempotencyKey"))
    return key


def _body(report: ReportIncidentInput) -> dict[str, Any]:
    """Write the report as intake's HTTP takes it; what was left out or is null is not sent."""
    reporter = given(report.reporter)
    return _answered(
        channel=report.channel.lower(),
        language=report.language,
        country=report.country,
        text=report.text,
        category=report.category,
        factors=report.factors,
        victim=_members(report.victim, "age", "count"),
        imminent_danger=report.imminent_danger,
        urls=report.urls,
        platform=report.platform,
        reported_accounts=_each(report.reported_accounts, "platform", "handle"),
        hashes=_each(report.hashes, "algorithm", "value", "source"),
        reporter=_reporter(reporter) if reporter else None,
        network=_members(report.network, "msisdn", "ip", "port", "observed_at"),
        occurred_at=report.occurred_at,
    )


def _reporter(reporter: ReporterInput) -> dict[str, Any]:
    kind, contact = given(reporter.type), given(reporter.safe_contact)
    return _answered(
        type=kind.lower() if kind is not None else None,
        name=reporter.name,
        contact=reporter.contact,
        safe_contact=contact.lower() if contact is not None else None,
    )


def _members(inner: Any, *names: str) -> dict[str, Any] | None:
    return _answered(**{name: getattr(inner, name) for name in names}) if given(inner) else None


def _each(inners: Sequence[Any] | None, *names: str) -> list[dict[str, Any] | None] | None:
    return [_members(inner, *names) for inner in inners] if inners and given(inners) else None


def _answered(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if given(value) is not None}
