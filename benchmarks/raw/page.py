"""The ceiling for a page of the graph: a bare FastAPI route with the same SQL by sqlite3 and msgspec, no sign-in."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from fastapi import FastAPI, Response

_PAGE: Final = """
  SELECT newest_place, state FROM referral WHERE 1 = 1 ORDER BY newest_place LIMIT 51
"""
_PARTNERS: Final = "SELECT id, state FROM partner WHERE id IN ({marks})"


class _Referral(msgspec.Struct):
    """What the page shows of a referral."""

    referral_id: UUID
    reference: str
    destination: str
    status: str
    release: str
    level: str
    category: str
    created_at: datetime
    due_at: datetime | None
    version: int
    partner_id: UUID


class _Partner(msgspec.Struct):
    """What the page shows of a partner."""

    name: str


_referral: Final = msgspec.json.Decoder(_Referral).decode
_partner: Final = msgspec.json.Decoder(_Partner).decode
_encode: Final = msgspec.json.Encoder().encode


def create_app(projection: Path) -> FastAPI:
    """Make the bare route over the projection in the file `projection`."""
    connection = sqlite3.connect(projection, check_same_thread=False)
    app = FastAPI(openapi_url=None)

    @app.post("/graphql")
    async def page() -> Response:
        return Response(_encode({"data": {"referrals": {"edges": _edges(connection)}}}), media_type="application/json")

    return app


def _edges(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = connection.execute(_PAGE).fetchall()[:50]
    referrals = [_referral(state) for _, state in rows]
    ids = [one.bytes for one in {referral.partner_id for referral in referrals}]
    found = connection.execute(_PARTNERS.format(marks=", ".join("?" * len(ids))), ids)
    names = {UUID(bytes=key): _partner(state).name for key, state in found}
    return [{"node": _node(referral, name=names[referral.partner_id])} for referral in referrals]


def _node(referral: _Referral, *, name: str) -> dict[str, Any]:
    return {
        "id": str(referral.referral_id),
        "reference": referral.reference,
        "destination": referral.destination,
        "status": referral.status,
        "release": referral.release,
        "level": referral.level,
        "category": referral.category,
        "createdAt": referral.created_at,
        "dueAt": referral.due_at,
        "version": referral.version,
        "partner": {"name": name},
    }
