"""Secrets of the built-in issuer's clients: fixed in demo, random in a private file otherwise."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from amparo_common.auth.issuer.demo import CLIENT_SECRETS
from amparo_common.auth.private_files import read_private, write_private

SERVICE_CLIENT: Final = "amparo-service"


def client_secrets(directory: Path, *, demo: bool) -> Mapping[str, str]:
    """Return the secret of each confidential client; outside demo they are made at the first call and kept (0600)."""
    if demo:
        return CLIENT_SECRETS
    file = directory / "client-secrets.json"
    kept: dict[str, str] = json.loads(read_private(file) or "{}")
    missing = [client for client in CLIENT_SECRETS if client not in kept]
    if missing:
        kept |= {client: secrets.token_urlsafe(32) for client in missing}
        write_private(file, json.dumps(kept, indent=1))
    return kept
