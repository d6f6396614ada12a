"""The audit trail: who looked at or changed what, in a hash chain with signed checkpoints."""

from __future__ import annotations

from amparo_common.audit.chain import AuditEntry, record

__all__ = ["AuditEntry", "record"]
