"""Standard Webhooks: signing what goes to a partner, verifying what a partner sends."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_FEWEST_BYTES, _MOST_BYTES = 24, 64
#: More signatures than anyone rotates through; a header with more is an attempt to make us compute.
_MOST_SIGNATURES: Final = 16


class SignatureError(Exception):
    """A message that no secret vouches for, or of another time. `reason` is a slug; no content, no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the webhook signature is refused: {reason}")
        self.reason = reason


def new_secret() -> str:
    """Make a random secret in its written form, `whsec_` and base 64 of 32 bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(text: str) -> bytes:
    """Return the 24 to 64 bytes of a written secret (`whsec_...`); raises ValueError, without the text, for others."""
    if not text.startswith(_PREFIX):
        raise ValueError(f"a webhook secret starts with {_PREFIX}")
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook secret is {_PREFIX} and base 64") from None
    if not _FEWEST_BYTES <= len(secret) <= _MOST_BYTES:
        raise ValueError(f"a webhook secret has {_FEWEST_BYTES} to {_MOST_BYTES} bytes")
    return secret


def sign(secret: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` of a message: `v1,` and base 64 of HMAC-SHA256 over `id.timestamp.body`.

    `timestamp` is seconds since 1970, sent as `webhook-timestamp`. Raises ValueError for an id that is empty or has a
    dot, with which two messages could share a signature.
    """
    if not _is_message_id(message_id):
        raise ValueError("a webhook-id is visible ASCII without a dot")
    return f"{_VERSION},{base64.b64encode(_mac(secret, message_id, timestamp, body)).decode()}"


def verify(
    secrets: Sequence[bytes], *, headers: Mapping[str, str], body: bytes, now: datetime, tolerance_s: int = 300
) -> None:
    """Return when one of `secrets` made a signature in `headers` over `body`, at most `tolerance_s` from `now`.

    Header names in any case; several signatures are separated by spaces. Raises SignatureError with the reason
    `missing_header`, `bad_id`, `bad_timestamp`, `too_old`, `too_new`, `too_many_signatures` or `no_match`.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, written = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split()
    except KeyError:
        raise SignatureError("missing_header") from None
    if not _is_message_id(message_id):
        raise SignatureError("bad_id")
    timestamp = _checked_timestamp(written, now=now, tolerance_s=tolerance_s)
    if len(signatures) > _MOST_SIGNATURES:
        raise SignatureError("too_many_signatures")
    wanted = [_mac(secret, message_id, timestamp, body) for secret in secrets]
    offered = [mac for mac in map(_offered, signatures) if mac is not None]
    # Every pair is compared, so that the time tells neither which secret nor which signature matched.
    if not any([hmac.compare_digest(mac, other) for mac in wanted for other in offered]):  # noqa: C419
        raise SignatureError("no_match")


def _checked_timestamp(written: str, *, now: datetime, tolerance_s: int) -> int:
    # The exact form that `sign` uses: another way to write the number would be another signed text.
    if not (written.isascii() and written.isdigit()) or len(written) > 12 or written != str(int(written)):  # noqa: PLR2004
        raise SignatureError("bad_timestamp")
    timestamp, present = int(written), now.timestamp()
    if timestamp < present - tolerance_s:
        raise SignatureError("too_old")
    if timestamp > present + tolerance_s:
        raise SignatureError("too_new")
    return timestamp


def _mac(secret: bytes, message_id: str, timestamp: int, body: bytes) -> bytes:
    return hmac.digest(secret, b"%b.%d.%b" % (message_id.encode("ascii"), timestamp, body), "sha256")


def _offered(signature: str) -> bytes | None:
    version, _, text = signature.partition(",")
    if version != _VERSION:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_message_id(text: str) -> bool:
    return 0 < len(text) <= 256 and text.isascii() and text.isprintable() and not {" ", "."} & set(text)  # noqa: PLR2004
