"""The audit trail: who looked at or changed what, in a hash chain with signed checkpoints."""

from __future__ import annotations

from amparo_common.audit.chain import AuditEntry, record
from amparo_common.audit.checkpoints import Checkpoint, Checkpointer, CheckpointSigner, checkpoint, witnessed
from amparo_common.audit.export import export, export_in_pages, verify_export
from amparo_common.audit.verification import Verdict, verify, verify_in_pages

__all__ = [
    "AuditEntry",
    "Checkpoint",
    "CheckpointSigner",
    "Checkpointer",
    "Verdict",
    "checkpoint",
    "export",
    "export_in_pages",
    "record",
    "verify",
    "verify_export",
    "verify_in_pages",
    "witnessed",
]
