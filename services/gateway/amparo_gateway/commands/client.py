"""The one client to the services that own incidents, reports and referrals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

import msgspec

from amparo_common.auth.principal import Principal
from amparo_common.errors import FieldError, Problem, Refusal, Refused, TransientError
from amparo_common.http import ServiceClient, TransportError
from amparo_gateway.errors import ForbiddenError

#: A command that is not answered by then may have been carried out all the same; its caller reads before it asks again.
_BUDGET_S: Final = 2.0
_JSON: Final = "application/json"
_PROBLEM: Final = "urn:amparo:problem:"


class NotVisible(Exception):  # noqa: N818 - an answer, as Refused is
    """There is no such thing, or it is not for this caller to know of."""


class _FieldProblem(msgspec.Struct, frozen=True):
    pointer: str = ""
    detail: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    code: str
    message: str
    field: str | None = None


class _Problem(msgspec.Struct, frozen=True):
    """What is read of a problem document."""

    type: str = ""
    title: str = ""
    detail: str | None = None
    errors: tuple[_FieldProblem, ...] = ()
    refusals: tuple[_Refusal, ...] = ()
    guidance: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Calls the owning services as the caller, with the caller's token. `urls` is their addresses by service name."""

    http: ServiceClient
    urls: Mapping[str, str]
    traceparent: str | None = None

    def traced(self, traceparent: str) -> Owners:
        """Return the same client for one request, whose trace goes along."""
        return replace(self, traceparent=traceparent)

    async def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        principal: Principal,
        body: Any | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the decoded JSON of a success.

        Raises Refused for a rule that said no, NotVisible for 404, ForbiddenError for 403, TransientError when no
        answer comes within 2 s or the service cannot answer now, Problem for the rest (401 of a token that ran out,
        422 with the wrong fields). A GET is sent once more when the first got no answer; a command never is.
        """
        tries = 2 if method == "GET" else 1
        sent = self._headers(principal, headers)
        content = None if body is None else msgspec.json.encode(body)
        try:
            async with asyncio.timeout(_BUDGET_S):
                while True:
                    tries -= 1
                    try:
                        return await self._once(service, method, path, content=content, headers=sent)
                    except TransientError:
                        if not tries:
                            raise
        except TimeoutError as error:
            raise TransientError(f"{service} does not answer within {_BUDGET_S:g} s") from error

    async def _once(
        self, service: str, method: str, path: str, *, content: bytes | None, headers: Mapping[str, str]
    ) -> Any:
        try:
            response = await self.http.request(method, self.urls[service] + path, content=content, headers=headers)
        except TransportError as error:
            raise TransientError(f"{service} does not answer: {type(error).__name__}") from error
        if not response.is_success:
            raise _failure(service, response.status_code, response.content, response.headers)
        try:
            return msgspec.json.decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # `from None`: a decoder's words may repeat what stands in the answer.
            raise TransientError(f"{service} gives an answer that is not understood") from None

    def _headers(self, principal: Principal, more: Mapping[str, str] | None) -> dict[str, str]:
        trace = {"traceparent": self.traceparent} if self.traceparent else {}
        return {"authorization": f"Bearer {principal.token}", "content-type": _JSON, **trace, **(more or {})}


def _failure(service: str, status: int, body: bytes, headers: Mapping[str, str]) -> Exception:
    problem = _read(body)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and problem.guidance is None:
        return TransientError(f"{service} cannot answer: HTTP {status}")
    if status == HTTPStatus.CONFLICT and problem.refusals:
        return Refused(*(Refusal(one.code, one.message, one.field) for one in problem.refusals))
    if status == HTTPStatus.NOT_FOUND:
        return NotVisible(f"{service}: {problem.type}")
    if status == HTTPStatus.FORBIDDEN:
        return ForbiddenError()
    return Problem(
        status,
        problem.type.removeprefix(_PROBLEM) or "refused",
        problem.title or f"{service} refused the request.",
        detail=problem.detail,
        errors=[FieldError(one.pointer, one.detail) for one in problem.errors],
        retry_after_s=_seconds(headers.get("retry-after")),
        extra={"guidance": problem.guidance} if problem.guidance is not None else None,
    )


def _read(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Problem()


def _seconds(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
