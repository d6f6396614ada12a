"""Standard Webhooks (standardwebhooks.com): verify what comes, sign what goes. Standard library only."""

import base64
import hmac
import time
import uuid
from collections.abc import Mapping

TOLERANCE_S = 300


def verify(secret: str, *, headers: Mapping[str, str], body: bytes) -> bool:
    """Say whether `body` came from who knows `secret`, now. Take the bytes as they came: JSON written anew differs."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    wanted = _signature(secret, message_id=message_id, timestamp=timestamp, body=body)
    offered = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(wanted, one) for one in offered)


def signed(secret: str, *, body: bytes) -> dict[str, str]:
    """Return the headers of a message of your own."""
    message_id, timestamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    signature = _signature(secret, message_id=message_id, timestamp=timestamp, body=body)
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}


def _signature(secret: str, *, message_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(mac).decode()}"
