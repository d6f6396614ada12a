"""Which document is run: a trusted one by its id, or any, where and for whom that is allowed."""

from __future__ import annotations

from collections.abc import Mapping

from amparo_common.auth.permissions import Permission
from amparo_common.auth.principal import Principal
from amparo_gateway.documents import BY_ID, document_id, plain_id
from amparo_gateway.errors import DocumentError


class Trust:
    """Finds the document of a request. In production only trusted ones run, but for roles that may run any."""

    def __init__(self, *, production: bool, trusted: Mapping[str, str] = BY_ID) -> None:
        self._production, self._trusted = production, trusted

    def document(self, query: str | None, given_id: str | None, *, principal: Principal) -> str:
        """Return the text to run. Raises DocumentError, its code saying what was wrong.

        The id is the SHA-256 of the text; a text that comes with an id must have it.
        """
        if given_id is not None:
            return self._by_id(plain_id(given_id), query=query)
        if query is None:
            raise DocumentError("There is no document: send `query` or `documentId`.", code="NO_DOCUMENT")
        may_run_any = not self._production or bool(principal.may(Permission.RUN_ANY_DOCUMENT))
        if not may_run_any and document_id(query) not in self._trusted:
            words = "Your role may run trusted documents only; send the `documentId` of one."
            raise DocumentError(words, code="UNTRUSTED_DOCUMENT")
        return query

    def _by_id(self, wanted: str, *, query: str | None) -> str:
        if query is not None and document_id(query) != wanted:
            words = "`documentId` is not the SHA-256 of `query`."
            raise DocumentError(words, code="DOCUMENT_MISMATCH")
        if wanted not in self._trusted:
            raise DocumentError("No trusted document has this `documentId`.", code="UNKNOWN_DOCUMENT")
        return self._trusted[wanted]
