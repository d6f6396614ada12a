"""The codes of the child-protection vocabulary. Their labels in each language are data, see `labels.py`."""

from __future__ import annotations

from enum import StrEnum, auto


class Code(StrEnum):
    """A code whose value on every wire is its name."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:  # noqa: ARG004
        return name


class Level(Code):
    """How soon a child needs help; P1 is the most urgent."""

    P1 = auto()
    P2 = auto()
    P3 = auto()
    P4 = auto()

    def at_least(self, floor: Level) -> bool:
        """Say whether this level is as urgent as `floor`, or more."""
        return self.value <= floor.value


def most_urgent(*levels: Level) -> Level:
    """Return the most urgent of `levels`; P4 of none."""
    return min(levels, default=Level.P4)


class Category(Code):
    """What a report is about."""

    CSAM_SUSPECTED = auto()
    CSAM_KNOWN_HASH = auto()
    CSAM_LIVESTREAM = auto()
    CSAM_SELF_GENERATED = auto()
    CSAM_SYNTHETIC = auto()
    CSEM_SEXUALISATION = auto()
    GROOMING = auto()
    GROOMING_MEETING = auto()
    SEXTORTION = auto()
    NCII_MINOR = auto()
    OBSCENE_TO_CHILD = auto()
    TRAFFICKING = auto()
    TRAVEL_TOURISM = auto()
    CONTACT_ABUSE = auto()
    SADISTIC_COERCION = auto()
    MISSING_CHILD = auto()
    CYBERBULLYING = auto()
    HARASSMENT_STALKING = auto()
    THREAT_VIOLENCE = auto()
    EXTREMISM_RECRUITMENT = auto()
    SELF_HARM_RISK = auto()
    OFFLINE_MALTREATMENT = auto()
    IDENTITY_THEFT = auto()
    ACCOUNT_IMPERSONATION = auto()
    PRIVACY_DATA = auto()
    TARGETED_MARKETING = auto()
    FRAUD_COMMERCIAL = auto()
    ILLEGAL_GOODS_GAMBLING = auto()
    HARMFUL_CONTENT = auto()
    MISLEADING_DOMAIN = auto()
    INSUFFICIENT_INFO = auto()
    OUT_OF_SCOPE = auto()


class Factor(Code):
    """A fact that changes how soon a child needs help."""

    IMMINENT_DANGER = auto()
    ONGOING_ABUSE = auto()
    HANDS_ON_ACCESS = auto()
    SELF_HARM_ACTIVE = auto()
    SELF_HARM_INDICATOR = auto()
    ACTIVE_THREAT = auto()
    NEW_MATERIAL = auto()
    IDENTIFIABLE_CHILD = auto()
    LOCATION_EXPOSED = auto()
    UNDER13 = auto()
    ADULT_UNKNOWN = auto()
    CHILD_REPORTER = auto()
    INTERRUPTED_CONTACT = auto()
    UNSAFE_CALLBACK = auto()
    TRUSTED_SOURCE = auto()
    MULTIPLE_VICTIMS = auto()
    REPEAT_SUBJECT = auto()
    HOSTED_ON_OWN_NETWORK = auto()
    EPHEMERAL_DATA = auto()
    MONEY_MOVEMENT = auto()
    VIRAL = auto()
    ATTACHMENT_RECEIVED = auto()
    OLD_MATERIAL = auto()
    DUPLICATE = auto()
    PRETEXTING = auto()
    OVERCLAIM = auto()


class FactorSource(Code):
    """Who found a factor."""

    SYSTEM = auto()
    REPORTER = auto()
    TEXT = auto()
    HUMAN = auto()
    PARTNER = auto()


class Destination(Code):
    """Kinds of body that a referral can go to."""

    LAW_ENFORCEMENT = auto()
    HOTLINE = auto()
    CHILD_HELPLINE = auto()
    CHILD_PROTECTION_AUTHORITY = auto()
    PLATFORM_PROVIDER = auto()
    INTERNAL_OPERATOR_TEAM = auto()
    DATA_PROTECTION_AUTHORITY = auto()
    REGULATOR = auto()
    EMERGENCY_SERVICES = auto()
    RETURN_TO_REPORTER = auto()
    NONE_CLOSE = auto()


class Channel(Code):
    """How a report came in. HTTP writes it in lower case."""

    WEB = auto()
    APP = auto()
    CALL_CENTRE = auto()
    SMS = auto()
    USSD = auto()
    API = auto()


class Lane(Code):
    """The transport lane of a report or incident, not its level. HTTP writes it in lower case."""

    URGENT = auto()
    STANDARD = auto()


class ReporterType(Code):
    """Who reports. HTTP writes it in lower case."""

    CHILD = auto()
    PARENT = auto()
    RELATIVE = auto()
    CITIZEN = auto()
    TEACHER = auto()
    PARTNER = auto()
    AGENT = auto()
    ANONYMOUS = auto()
    OTHER = auto()


class SafeContact(Code):
    """How a reporter may be reached without danger. HTTP writes it in lower case."""

    NEVER = auto()
    CODE_ONLY = auto()
    PHONE = auto()
    SMS = auto()
    EMAIL = auto()


class IncidentStatus(Code):
    """Where an incident stands; only a human closes one."""

    OPEN = auto()
    IN_REVIEW = auto()
    DECIDED = auto()
    REFERRED = auto()
    CLOSED = auto()


class ClockKind(Code):
    """What a clock waits for."""

    HUMAN_TRIAGE = auto()
    FIRST_REFERRAL = auto()
    PARTNER_ACKNOWLEDGEMENT = auto()
    PRESERVATION = auto()
    CONTENT_REMOVAL = auto()
    REPORTER_UPDATE = auto()


class ClockState(Code):
    """RUNNING until it is MET, MISSED or STOPPED."""

    RUNNING = auto()
    MET = auto()
    MISSED = auto()
    STOPPED = auto()


class ReferralStatus(Code):
    """Where a referral stands."""

    AWAITING_REVIEW = auto()
    AWAITING_APPROVAL = auto()
    QUEUED = auto()
    DELIVERED = auto()
    ACKNOWLEDGED = auto()
    ACCEPTED = auto()
    REJECTED = auto()
    CLOSED = auto()
    UNDELIVERABLE = auto()
    REVOKED = auto()


class Release(Code):
    """When a route lets a referral go: on the machine's decision, on a human's, or on two humans'."""

    AUTOMATIC = auto()
    AFTER_REVIEW = auto()
    WITH_APPROVAL = auto()


class LawfulBasis(Code):
    """Why a referral may carry what it carries."""

    CONSENT = auto()
    LEGAL_OBLIGATION = auto()
    VITAL_INTEREST = auto()
    PUBLIC_TASK = auto()
    BEST_INTEREST_OVERRIDE = auto()


class AcknowledgementCode(Code):
    """What a partner answers."""

    RECEIVED = auto()
    ACCEPTED = auto()
    REJECTED_JURISDICTION = auto()
    REJECTED_INSUFFICIENT = auto()
    REJECTED_DUPLICATE = auto()
    REJECTED_NOT_COMPETENT = auto()
    NEED_INFO = auto()
    IN_PROGRESS = auto()
    FORWARDED = auto()
    PRESERVE_REQUESTED = auto()
    HOLD_EXTENDED = auto()
    CONTENT_REMOVED = auto()
    CONTENT_NOT_FOUND = auto()
    CONTENT_STILL_REACHABLE = auto()
    CLASSIFIED = auto()
    NOT_ILLEGAL = auto()
    CASE_OPENED = auto()
    CHILD_SAFE = auto()
    CHILD_NOT_LOCATED = auto()
    DESTROY_CONFIRMED = auto()
    CLOSED_ACTION_TAKEN = auto()
    CLOSED_NO_ACTION = auto()


class Adapter(Code):
    """How a partner is reached."""

    PARTNER_INBOX = auto()
    WEBHOOK = auto()
    NCMEC_CYBERTIPLINE = auto()
    ENCRYPTED_EMAIL = auto()
    IODEF = auto()
    PLATFORM_NOTICE = auto()
    PHONE_THEN_WRITTEN = auto()
    PORTAL_MANUAL = auto()


class LinkKind(Code):
    """How two incidents belong together."""

    DUPLICATE = auto()
    RELATED = auto()
    SAME_SUBJECT = auto()


class RecordClass(Code):
    """Record classes that a preservation hold names; the records themselves never enter Amparo."""

    SUBSCRIBER = auto()
    CALL_RECORDS = auto()
    CGNAT = auto()
    WALLET = auto()
    LOGIN = auto()
    MESSAGES_METADATA = auto()


class Role(Code):
    """What a token's holder is to Amparo. Tokens write it in lower case."""

    REPORTER_APP = auto()
    AGENT = auto()
    TRIAGER = auto()
    SUPERVISOR = auto()
    PARTNER = auto()
    INTEGRATOR = auto()
    AUDITOR = auto()
    ADMIN = auto()
    SERVICE = auto()
    ANONYMOUS = auto()


class Purpose(Code):
    """What the caller is about to do with what it reads; recorded in the audit trail."""

    TRIAGE = auto()
    REFERRAL = auto()
    REPORTER_CONTACT = auto()
    QUALITY_REVIEW = auto()
    LEGAL_REQUEST = auto()
    BREAK_GLASS = auto()
