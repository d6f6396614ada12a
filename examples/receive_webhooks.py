"""Receive referrals as a partner: verify, keep, answer 2xx, acknowledge. Ends after the first referral.

Run it as `receive_webhooks.py PORT whsec_...`.
"""

import http.server
import json
import sys
import urllib.request
from datetime import UTC, datetime

from standard_webhooks import signed, verify

PORT, SECRET = int(sys.argv[1]), sys.argv[2]
KNOWN: set[str] = set()  # in earnest: a table, written in the transaction that keeps the referral


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes one message a request."""

    def do_POST(self) -> None:
        """Answer only when the message is safe with you; without a 2xx it comes again."""
        body = self.rfile.read(min(int(self.headers.get("content-length", "0")), 1_000_000))
        if not verify(SECRET, headers={name.lower(): value for name, value in self.headers.items()}, body=body):
            self.send_error(401)
            return
        message_id, event = self.headers["webhook-id"], json.loads(body)
        new = message_id not in KNOWN  # every attempt has the same id: what you know already, you only confirm
        KNOWN.add(message_id)
        self.send_response(204)
        self.end_headers()
        if new:
            acknowledge(event)

    def log_message(self, *_: object) -> None:
        """Keep addresses and paths out of the output."""


def acknowledge(event: dict) -> None:
    """Say that the referral was received; 2xx was delivery only. `acknowledge_url` is posted to as it was given."""
    data = event["data"]
    answer = {
        "referral_reference": data["referral_reference"],
        "code": "RECEIVED",
        "at": datetime.now(UTC).isoformat(),
        "partner_reference": "H-2041",
    }
    body = json.dumps(answer).encode()
    headers = {"content-type": "application/json", **signed(SECRET, body=body)}
    request = urllib.request.Request(data["acknowledge_url"], data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        print(event["type"], data["referral_reference"], data["level"], json.load(reply)["status"], flush=True)


with http.server.HTTPServer(("127.0.0.1", PORT), Receiver) as server:
    print("listening", flush=True)
    while not KNOWN:
        server.handle_request()
