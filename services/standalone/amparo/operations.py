"""What operators ask of the services, over HTTP: audit chains, dead letters, the projection. Offline: an export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from amparo.client import PlatformClient, PlatformError
from amparo_common.audit import Verdict, verify_export

SERVICES: Final = ("intake", "triage", "referral", "gateway")
_NOT_FOUND, _RUNS_ALREADY = 404, 409
_LOOK_EVERY_S: Final = 0.3
_REPLAY: Final = "/v1/projection/replay"


class _ServiceKeys(msgspec.Struct, frozen=True):
    service: str
    keys: dict[str, str]


class _FirstLine(msgspec.Struct, frozen=True):
    """Enough of an export's line to tell whose chain it is."""

    checkpoint: dict[str, Any] | None = None
    entry: dict[str, Any] | None = None
    head: dict[str, Any] | None = None

    @property
    def service(self) -> str | None:
        found = self.checkpoint or self.entry or self.head or {}
        return found.get("service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The verdict about one chain. `witnessed` is None when the log was not asked or could not be read."""

    service: str
    verdict: Verdict
    witnessed: int | None


async def verify(client: PlatformClient, *, user: str, services: Sequence[str] = SERVICES) -> list[Checked]:
    """Let each service walk its chain. Raises PlatformError."""
    return [_checked(await client.call("GET", service, "/v1/audit/verification", user=user)) for service in services]


def _checked(answer: Mapping[str, Any]) -> Checked:
    verdict = Verdict(
        ok=answer["ok"],
        size=answer["size"],
        head=answer["head"],
        problem=answer["problem"],
        sequence=answer["sequence"],
    )
    return Checked(service=answer["service"], verdict=verdict, witnessed=answer["witnessed"])


def verify_file(file: Path, *, keys: Path | None) -> Checked:
    """Walk an export with the public keys of `keys` (what `amparo audit keys` prints).

    Without keys only the chain itself is walked: whoever could write it anew would not be found. Raises PlatformError.
    """
    try:
        public_keys = _public_keys(keys) if keys else None
        with file.open("rb") as lines:
            service = _service_of(next(lines, b""), file=file)
            lines.seek(0)
            verdict = verify_export(
                lines, None if public_keys is None else public_keys.get(service, {}), service=service
            )
    except OSError as error:
        raise PlatformError(f"{error.filename}: {error.strerror}") from error
    return Checked(service=service, verdict=verdict, witnessed=None)


def _service_of(line: bytes, *, file: Path) -> str:
    try:
        service = msgspec.json.decode(line, type=_FirstLine).service
    except (msgspec.DecodeError, UnicodeDecodeError):
        service = None
    if service is None:
        raise PlatformError(f"{file} is no export of an audit chain; `amparo audit export` writes one")
    return service


def _public_keys(file: Path) -> dict[str, dict[str, Ed25519PublicKey]]:
    try:
        read = msgspec.json.decode(file.read_bytes(), type=list[_ServiceKeys])
        return {
            one.service: {
                key_id: Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for key_id, key in one.keys.items()
            }
            for one in read
        }
    except ValueError as error:
        raise PlatformError(f"{file} holds no public keys; `amparo audit keys` prints them") from error


async def public_keys(client: PlatformClient, *, user: str) -> list[dict[str, Any]]:
    """Return the public keys of every service's checkpoints. Raises PlatformError."""
    return [await client.call("GET", service, "/v1/audit/keys", user=user) for service in SERVICES]


def export(client: PlatformClient, service: str, *, user: str) -> AsyncIterator[bytes]:
    """Yield the export of one service's chain in pieces. Raises PlatformError."""
    return client.lines(service, "/v1/audit/export", user=user)


# ------------------------------------------------------------ dead letters


async def dead_letters(
    client: PlatformClient, *, user: str, services: Sequence[str] = SERVICES
) -> AsyncIterator[dict[str, Any]]:
    """Yield every waiting dead letter, oldest first within a service, with the `service` it lies in."""
    for service in services:
        path = "/v1/dead-letters?limit=200"
        while True:
            page = await client.call("GET", service, path, user=user)
            for letter in page["dead_letters"]:
                yield {"service": service, **letter}
            if page["next"] is None:
                break
            path = f"/v1/dead-letters?limit=200&after={quote(page['next'])}"


async def find_letter(client: PlatformClient, letter_id: str, *, user: str) -> dict[str, Any]:
    """Return a dead letter from whichever service has it. Raises PlatformError when none has."""
    for service in SERVICES:
        try:
            letter = await client.call("GET", service, f"/v1/dead-letters/{quote(letter_id, safe='')}", user=user)
        except PlatformError as error:
            if error.status != _NOT_FOUND:
                raise
        else:
            return {"service": service, **letter}
    raise PlatformError(f"no service has a dead letter {letter_id}; `amparo dlq list` shows those that wait")


async def settle(client: PlatformClient, letter_id: str, how: str, *, reason: str, user: str) -> dict[str, Any]:
    """Replay or discard a dead letter. Raises PlatformError."""
    letter = await find_letter(client, letter_id, user=user)
    path = f"/v1/dead-letters/{letter['id']}/{how}"
    settled = await client.call("POST", letter["service"], path, user=user, body={"reason": reason})
    return {"service": letter["service"], **settled}


# ------------------------------------------------------------ the projection


async def replay_projection(
    client: PlatformClient, *, user: str, on_progress: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    """Begin a replay, or follow the one that runs, and return how it ended. Raises PlatformError."""
    try:
        progress = await client.call("POST", "gateway", _REPLAY, user=user)
    except PlatformError as error:
        if error.status != _RUNS_ALREADY:
            raise
        progress = await client.call("GET", "gateway", _REPLAY, user=user)
    while progress["state"] == "running":
        on_progress(progress)
        await asyncio.sleep(_LOOK_EVERY_S)
        progress = await client.call("GET", "gateway", _REPLAY, user=user)
    on_progress(progress)
    return progress
