"""Work for a person: what no machine delivers is called, typed or posted by hand (domain reference 4.1)."""

from __future__ import annotations

from datetime import datetime
from enum import auto
from typing import Final
from uuid import UUID

import msgspec

from amparo_common.events.types import TaskChanged
from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import Adapter, Code, Level
from amparo_referral.domain.referrals import Referral
from amparo_referral.domain.routes import WORKED_BY_MACHINE


class Errand(Code):
    """What the partner is to be told."""

    REFER = auto()
    UPDATE = auto()
    REVOKE = auto()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One errand for a person. `package_version` is the version that it was made for; who does it reads the newest."""

    id: UUID
    referral_id: UUID
    incident_id: UUID
    version: int
    package_version: int
    country: str
    kind: Adapter
    errand: Errand
    level: Level
    created_at: datetime
    changed_at: datetime
    due_at: datetime
    completed_at: datetime | None = None
    completed_by: str | None = None
    partner_reference: str | None = None
    note: bytes | None = None

    @property
    def open(self) -> bool:
        """Say whether nobody did it yet."""
        return self.completed_at is None


_HOW: Final[dict[str, dict[Adapter, str]]] = {
    "en": {
        Adapter.PHONE_THEN_WRITTEN: "Call the number of the partner that stands in the directory, never one from a "
        "report. Say the referral's reference and what the package holds. Write down whom you spoke to and their "
        "reference. Send the written form after the call.",
        Adapter.PORTAL_MANUAL: "Open the partner's portal from the directory and fill it from the package. Type the "
        "addresses as text and open none of them. Note the reference that the portal gives.",
        Adapter.ENCRYPTED_EMAIL: "Write to the mailbox in the directory with the partner's pinned key. The subject "
        "holds the referral's reference only. Text only, no attachment.",
        Adapter.NCMEC_CYBERTIPLINE: "File the report with the account of the registered provider, from the package "
        "and without any file. Note the report's number.",
        Adapter.IODEF: "Send the package to the response team in the form agreed with it. Note its incident number.",
        Adapter.PLATFORM_NOTICE: "Send the notice to the platform's contact in the directory: the exact address and "
        "the reason, nothing about the person who reported. Note the ticket number.",
    },
    "es": {
        Adapter.PHONE_THEN_WRITTEN: "Llame al número de la entidad que figura en el directorio, nunca a uno tomado de "
        "un reporte. Diga la referencia de la derivación y lo que contiene el paquete. Anote con quién habló y su "
        "referencia. Envíe la forma escrita después de la llamada.",
        Adapter.PORTAL_MANUAL: "Abra el portal de la entidad desde el directorio y complételo con el paquete. Escriba "
        "las direcciones como texto y no abra ninguna. Anote la referencia que entrega el portal.",
        Adapter.ENCRYPTED_EMAIL: "Escriba al buzón del directorio con la clave verificada de la entidad. El asunto "
        "lleva solo la referencia de la derivación. Solo texto, sin adjuntos.",
        Adapter.NCMEC_CYBERTIPLINE: "Presente el reporte con la cuenta del proveedor registrado, a partir del paquete "
        "y sin ningún archivo. Anote el número del reporte.",
        Adapter.IODEF: "Envíe el paquete al equipo de respuesta en la forma acordada. Anote su número de incidente.",
        Adapter.PLATFORM_NOTICE: "Envíe el aviso al contacto de la plataforma que figura en el directorio: la "
        "dirección exacta y el motivo, nada sobre quien reportó. Anote el número de caso.",
    },
    "fr": {
        Adapter.PHONE_THEN_WRITTEN: "Appelez le numéro du partenaire inscrit à l'annuaire, jamais un numéro tiré d'un "
        "signalement. Donnez la référence de la transmission et ce que contient le dossier. Notez à qui vous avez "
        "parlé et sa référence. Envoyez l'écrit après l'appel.",
        Adapter.PORTAL_MANUAL: "Ouvrez le portail du partenaire depuis l'annuaire et remplissez-le à partir du "
        "dossier. Saisissez les adresses comme du texte et n'en ouvrez aucune. Notez la référence donnée par le "
        "portail.",
        Adapter.ENCRYPTED_EMAIL: "Écrivez à la boîte inscrite à l'annuaire avec la clé vérifiée du partenaire. "
        "L'objet ne porte que la référence de la transmission. Du texte seulement, aucune pièce jointe.",
        Adapter.NCMEC_CYBERTIPLINE: "Déposez le signalement avec le compte du fournisseur enregistré, à partir du "
        "dossier et sans aucun fichier. Notez le numéro du signalement.",
        Adapter.IODEF: "Envoyez le dossier à l'équipe de réponse sous la forme convenue. Notez son numéro d'incident.",
        Adapter.PLATFORM_NOTICE: "Envoyez la notification au contact de la plateforme inscrit à l'annuaire : "
        "l'adresse exacte et le motif, rien sur la personne qui a signalé. Notez le numéro de dossier.",
    },
}
_WHAT: Final[dict[str, dict[Errand, str]]] = {
    "en": {
        Errand.REFER: "Refer this incident to the partner.",
        Errand.UPDATE: "The partner has this referral; tell it what changed.",
        Errand.REVOKE: "The referral is taken back: ask the partner to destroy what it was given and to confirm it.",
    },
    "es": {
        Errand.REFER: "Derive este caso a la entidad.",
        Errand.UPDATE: "La entidad ya tiene esta derivación; comuníquele lo que cambió.",
        Errand.REVOKE: "La derivación se retira: pida a la entidad que destruya lo que recibió y que lo confirme.",
    },
    "fr": {
        Errand.REFER: "Transmettez cet incident au partenaire.",
        Errand.UPDATE: "Le partenaire a déjà cette transmission ; dites-lui ce qui a changé.",
        Errand.REVOKE: "La transmission est retirée : demandez au partenaire de détruire ce qu'il a reçu et de le "
        "confirmer.",
    },
}


def for_person(adapter: Adapter | None) -> bool:
    """Say whether a partner of this kind is reached by a person only."""
    return adapter is not None and adapter not in WORKED_BY_MACHINE


def instructions(kind: Adapter, errand: Errand) -> dict[str, str]:
    """Return what to do, by language; nothing in it is about a person."""
    return {language: f"{_WHAT[language][errand]} {how[kind]}" for language, how in _HOW.items()}


def made(referral: Referral, *, kind: Adapter, errand: Errand, due_at: datetime, now: datetime) -> Task:
    """Make a task about the present package of `referral`."""
    return Task(
        id=uuid7(),
        referral_id=referral.id,
        incident_id=referral.incident_id,
        version=1,
        package_version=referral.package_version,
        country=referral.country,
        kind=kind,
        errand=errand,
        level=referral.level,
        created_at=now,
        changed_at=now,
        due_at=due_at,
    )


def completed(
    task: Task, *, by: str, now: datetime, note: bytes | None = None, partner_reference: str | None = None
) -> Task:
    """Note that `task` was done, or that nobody needs to do it any more when the service itself is who ends it."""
    return msgspec.structs.replace(
        task,
        version=task.version + 1,
        changed_at=now,
        completed_at=now,
        completed_by=by,
        partner_reference=partner_reference,
        note=note,
    )


def renewed(task: Task, referral: Referral, *, due_at: datetime, now: datetime) -> Task:
    """Carry a newer package into an open task; it may only become due sooner."""
    return msgspec.structs.replace(
        task,
        version=task.version + 1,
        changed_at=now,
        package_version=referral.package_version,
        country=referral.country,
        level=referral.level,
        due_at=min(task.due_at, due_at),
    )


def told(task: Task) -> TaskChanged:
    """Tell the whole state of a task."""
    return TaskChanged(
        task_id=task.id,
        version=task.version,
        changed_at=task.changed_at,
        referral_id=task.referral_id,
        incident_id=task.incident_id,
        country=task.country,
        kind=task.kind,
        created_at=task.created_at,
        due_at=task.due_at,
        instructions=instructions(task.kind, task.errand),
        completed_at=task.completed_at,
        completed_by=task.completed_by,
    )
