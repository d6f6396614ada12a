"""Every role at every address for operators, against the permission table."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from amparo_common.db.tables import AUDIT_ENTRY
from amparo_common.vocabulary.codes import Role

pytestmark = pytest.mark.anyio

UNKNOWN = "00000000-0000-7000-8000-000000000000"
AUDITORS = {Role.AUDITOR, Role.SUPERVISOR}
ADMINS = {Role.ADMIN}
PAGES = {
    ("GET", "/v1/audit/verification"): (AUDITORS, 200, "audit.verify"),
    ("GET", "/v1/audit/export"): (AUDITORS, 200, "audit.export"),
    ("GET", "/v1/audit/keys"): (AUDITORS, 200, "audit.keys"),
    ("GET", "/v1/dead-letters"): (ADMINS, 200, "dead_letter.list"),
    ("GET", f"/v1/dead-letters/{UNKNOWN}"): (ADMINS, 404, "dead_letter.show"),
    ("POST", f"/v1/dead-letters/{UNKNOWN}/replay"): (ADMINS, 404, "dead_letter.replay"),
    ("POST", f"/v1/dead-letters/{UNKNOWN}/discard"): (ADMINS, 404, "dead_letter.discard"),
}


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ANONYMOUS])
async def test_a_page_opens_for_its_roles_and_a_denial_goes_on_record(operated, page, role):
    (method, path), (allowed, status, action) = page, PAGES[page]
    body = {"json": {"reason": "the decoder was mended"}} if method == "POST" else {}

    reply = await operated.ask(method, path, role=role.lower(), **body)

    rows = await operated.database.read(
        lambda session: session.execute(select(AUDIT_ENTRY.c.actor, AUDIT_ENTRY.c.action, AUDIT_ENTRY.c.allowed)).all()
    )
    if role in allowed:
        assert reply.status_code == status
        assert all(row.allowed for row in rows)
    else:
        assert reply.status_code == 403
        assert rows == [(role.lower(), action, False)]


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
async def test_nobody_comes_in_without_a_token_or_with_a_wrong_one(operated, page):
    for role in (None, "stranger"):
        reply = await operated.ask(*page, role=role)
        assert reply.status_code == 401
        assert "www-authenticate" in reply.headers
