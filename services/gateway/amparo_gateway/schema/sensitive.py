"""What people wrote: opened by the services that own it, as the caller, for a purpose, each time on record."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from amparo_common.events.types import IncidentTriaged
from amparo_common.inert import inert_address
from amparo_common.vocabulary.codes import Category, Channel, Factor, Purpose
from amparo_gateway.errors import ForbiddenError
from amparo_gateway.schema.asked import Account, Hash, Opened, OpenedMessage, OpenedNote, OpenedReport, Passage
from amparo_gateway.schema.context import PERMISSIONS, Info
from amparo_gateway.schema.fields import described

#: Intake's audit row of a reveal has the same action.
_REVEAL = "incident.reveal"
_NOT_SAID = "unanswered"


@strawberry.type(description="What a colleague or a partner wrote, a decision's reason among it.")
class Note:
    at: datetime
    by: str
    kind: str
    text: str

    @classmethod
    def of(cls, note: OpenedNote) -> Note:
        return cls(at=note.at, by=note.by, kind=note.kind, text=note.text)


@strawberry.type(description="An account that was reported.")
class ReportedAccount:
    platform: str
    handle: str

    @classmethod
    def of(cls, account: Account) -> ReportedAccount:
        return cls(platform=account.platform, handle=account.handle)


@strawberry.type(description="A hash of material, with who found it; the material itself never enters Amparo.")
class HashReference:
    algorithm: str
    value: str
    source: str

    @classmethod
    def of(cls, reference: Hash) -> HashReference:
        return cls(algorithm=reference.algorithm, value=reference.value, source=reference.source)


@strawberry.type(description="Who reported, as far as they said.")
class ReporterIdentity:
    type: str
    name: str | None
    contact: str | None
    safe_contact: str | None


@strawberry.type(description="A passage that a proposed factor or category rests on.")
class TextEvidence:
    factor: Factor | None
    category: Category | None
    passage: str
    start: int
    end: int


@strawberry.type(description="A message of the reporter, or to the reporter.")
class ReporterMessage:
    at: datetime
    from_reporter: bool
    text: str

    @classmethod
    def of(cls, message: OpenedMessage) -> ReporterMessage:
        return cls(at=message.at, from_reporter=message.from_reporter, text=message.text)


@strawberry.type(description="A report in clear.")
class SensitiveReport:
    incident_id: strawberry.Private[UUID]
    purpose: strawberry.Private[Purpose]
    id: strawberry.ID = strawberry.field(description="The report_id of the receipt, a plain UUID.")
    channel: Channel
    language: str
    received_at: datetime
    text: str = strawberry.field(description="As it was given, verbatim.")
    urls: list[str] = strawberry.field(description="Inert: hxxps://chat[.]example[.]com/room/4")
    platform: str | None
    reported_accounts: list[ReportedAccount]
    hashes: list[HashReference]
    victim_age: int | None
    victim_count: int | None
    imminent_danger: bool | None = strawberry.field(description="Null when it was not answered, which is not a no.")
    reporter: ReporterIdentity

    @classmethod
    def of(cls, report: OpenedReport, *, incident_id: UUID, purpose: Purpose) -> SensitiveReport:
        who = report.reporter
        return cls(
            incident_id=incident_id,
            purpose=purpose,
            id=strawberry.ID(str(report.report_id)),
            channel=Channel(report.channel.upper()),
            language=report.language,
            received_at=report.received_at,
            text=report.text,
            urls=[inert_address(url) for url in report.urls],
            platform=report.platform,
            reported_accounts=[ReportedAccount.of(one) for one in report.reported_accounts],
            hashes=[HashReference.of(one) for one in report.hashes],
            victim_age=report.victim.age,
            victim_count=report.victim.count,
            imminent_danger=report.imminent_danger,
            reporter=ReporterIdentity(
                type=who.type or _NOT_SAID, name=who.name, contact=who.contact, safe_contact=who.safe_contact
            ),
        )

    @described("Passages of `text` that a proposed factor or category rests on.")
    async def evidence(self, info: Info) -> list[TextEvidence]:
        found = await info.context.asked.notes(self.incident_id, purpose=self.purpose)
        mine = (one for one in found.evidence if str(one.report_id) == self.id)
        return [_evidence(one, text=self.text) for one in mine if 0 <= one.start < one.end <= len(self.text)]


def _evidence(found: Passage, *, text: str) -> TextEvidence:
    passage = text[found.start : found.end]
    return TextEvidence(factor=found.factor, category=found.category, passage=passage, start=found.start, end=found.end)


@strawberry.type(description="Everything that people wrote on an incident, as far as the caller may read it.")
class IncidentSensitive:
    incident_id: strawberry.Private[UUID]
    purpose: strawberry.Private[Purpose]
    reports: list[SensitiveReport] = strawberry.field(description="Newest first.")
    messages: list[ReporterMessage] = strawberry.field(description="Oldest first.")

    @classmethod
    def of(cls, opened: Opened, *, incident_id: UUID, purpose: Purpose) -> IncidentSensitive:
        newest_first = sorted(opened.reports, key=lambda report: report.received_at, reverse=True)
        return cls(
            incident_id=incident_id,
            purpose=purpose,
            reports=[SensitiveReport.of(one, incident_id=incident_id, purpose=purpose) for one in newest_first],
            messages=[ReporterMessage.of(one) for one in opened.messages],
        )

    @described("Reasons of decisions and what colleagues and partners wrote.")
    async def notes(self, info: Info) -> list[Note]:
        found = await info.context.asked.notes(self.incident_id, purpose=self.purpose)
        return [Note.of(one) for one in found.notes]


async def sensitive_of(info: Info, *, incident: IncidentTriaged, purpose: Purpose) -> IncidentSensitive:
    """Open an incident. Raises ForbiddenError, with what goes on record, when the role may not."""
    context = info.context
    if not context.principal.may(PERMISSIONS["Incident.sensitive"]):
        raise ForbiddenError(action=_REVEAL, subject=incident.reference, purpose=purpose)
    opened = await context.asked.opened(incident.incident_id, purpose=purpose)
    return IncidentSensitive.of(opened, incident_id=incident.incident_id, purpose=purpose)
