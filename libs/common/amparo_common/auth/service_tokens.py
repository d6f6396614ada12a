"""The token that one service shows to another, by client credentials."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import structlog

from amparo_common.auth.client_secrets import SERVICE_CLIENT, client_secrets
from amparo_common.clock import Clock
from amparo_common.errors import TransientError
from amparo_common.http import ServiceClient, TransportError
from amparo_common.settings import PlatformSettings

_TIMEOUT_S: Final = 3.0
_PAUSE: Final = timedelta(seconds=1)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_MARGIN: Final = timedelta(seconds=5)
_log = structlog.get_logger()


class ServiceTokens:
    """Keeps one access token, renewed at half of its life by one request for all who wait. For one event loop."""

    def __init__(
        self, token_url: str, *, client_id: str, client_secret: str, http: ServiceClient, clock: Clock
    ) -> None:
        self._url, self._http, self._clock = token_url, http, clock
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        self._token, self._half_life, self._end = "", _NEVER, _NEVER
        self._failed_at: datetime | None = None
        self._renewing: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: PlatformSettings, *, http: ServiceClient, clock: Clock) -> Self:
        """Make the tokens of this installation: with the secret of the settings, else with the embedded issuer's."""
        secret = settings.service_client_secret.get_secret_value()
        if not secret:
            secret = client_secrets(settings.data_dir / "issuer", demo=settings.demo)[SERVICE_CLIENT]
        return cls(
            settings.oidc_token_url,
            client_id=settings.service_client_id,
            client_secret=secret,
            http=http,
            clock=clock,
        )

    async def current(self) -> str:
        """Return a token that is valid now; after half of its life a new one is fetched in the background.

        Raises TransientError when there is none and the issuer gives none.
        """
        now = self._clock.now()
        valid = bool(self._token) and now < self._end - _MARGIN
        if valid and now < self._half_life:
            return self._token
        if valid and self._paused(now):
            return self._token
        renewing = self._renewal()
        if not valid:
            await asyncio.shield(renewing)
            if not self._token or self._clock.now() >= self._end - _MARGIN:
                raise TransientError("the issuer gives no service token")
        return self._token

    def _paused(self, now: datetime) -> bool:
        return self._failed_at is not None and timedelta(0) <= now - self._failed_at < _PAUSE

    def _renewal(self) -> asyncio.Task[None]:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return self._renewing

    async def _renew(self) -> None:
        began = self._clock.now()
        try:
            reply = await self._http.post(self._url, data=self._form, timeout=_TIMEOUT_S)
            answer = json.loads(reply.content)
            token, life = str(answer["access_token"]), timedelta(seconds=float(answer["expires_in"]))
        except (TransportError, ValueError, KeyError, TypeError, OverflowError) as error:
            self._failed_at = began
            _log.warning("the issuer gave no service token", error=error)
            return
        self._token, self._half_life, self._end, self._failed_at = token, began + life / 2, began + life, None
