"""What every service offers to those who operate it: its audit chain and its dead letters, over HTTP."""

from __future__ import annotations

from amparo_common.operations.pages import mount

__all__ = ["mount"]
