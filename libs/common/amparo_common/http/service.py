"""The client that Amparo's services call each other with; partners are reached through the guarded client."""

from __future__ import annotations

from typing import Final, TypeAlias

import httpx2

#: What `service_client` makes. Others name it by this, for HTTP libraries are imported in this package alone.
ServiceClient: TypeAlias = httpx2.AsyncClient
#: No answer came, or none that could be read: not connected, cut off, timed out, undecodable.
TransportError: TypeAlias = httpx2.RequestError

_TIMEOUT: Final = httpx2.Timeout(5.0, connect=2.0)
_LIMITS: Final = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30.0)


def service_client(*, timeout: httpx2.Timeout = _TIMEOUT) -> ServiceClient:
    """Make a client without proxies or secrets from the environment that follows no redirect; the caller closes it."""
    return httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout, limits=_LIMITS)
