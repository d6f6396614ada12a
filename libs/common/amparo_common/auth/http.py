"""The caller of an HTTP request: FastAPI dependencies, also to be awaited directly by handlers of the hot path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from amparo_common.auth.permissions import Permission, Reach
from amparo_common.auth.principal import ANONYMOUS, Principal
from amparo_common.auth.verifier import TokenError, Verifier
from amparo_common.errors import Problem

_SCHEME: Final = "bearer "


def unauthenticated() -> Problem:
    """Make the 401 for a request without a token; `www-authenticate` is added where it is written out."""
    return Problem(401, "unauthenticated", "A bearer token is needed.")


def forbidden(permission: Permission) -> Problem:
    """Make the 403 for a caller whose role lacks `permission`."""
    return Problem(403, "forbidden", "Your role may not do this.", detail=f"It needs {permission}.")


async def optional_bearer(request: Request) -> Principal:
    """Return the caller, ANONYMOUS without an `Authorization` header; a bad token is still 401 (TokenError)."""
    header = request.headers.get("authorization")
    if header is None:
        return ANONYMOUS
    if len(request.headers.getlist("authorization")) > 1 or header[: len(_SCHEME)].lower() != _SCHEME:
        raise TokenError("no-bearer-token")
    verifier: Verifier = request.app.state.verifier
    return await verifier.verify(header[len(_SCHEME) :].strip())


async def bearer(request: Request) -> Principal:
    """Return the caller; a missing or bad token is 401."""
    principal = await optional_bearer(request)
    if principal is ANONYMOUS:
        raise unauthenticated()
    return principal


def require(permission: Permission) -> Callable[[Request], Awaitable[Principal]]:
    """Make a dependency that returns the caller, or answers 403 when its role does not have `permission` at all.

    How far the permission reaches (own, organisation, countries) is for the use case to apply to its rows.
    """

    async def permitted(request: Request) -> Principal:
        principal = await bearer(request)
        if principal.may(permission) is Reach.NONE:
            raise forbidden(permission)
        return principal

    return permitted
