"""Hear of changes as they happen: graphql-transport-ws with the library `websockets`. Ends after the first change."""

import asyncio
import json
import sys

from amparo_client import GATEWAY, token
from websockets.asyncio.client import connect

DOCUMENT = """
subscription { queueChanged { removed incident { reference level status version } } }
"""


async def main() -> None:
    """Sign in, subscribe, print the first change."""
    address = GATEWAY.replace("http", "ws", 1) + "/graphql"
    async with connect(address, subprotocols=["graphql-transport-ws"]) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token()}"}}))
        # Anything else than an acknowledgement closes the socket: 4401 for the token, 4403 for the role.
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": DOCUMENT}}))
        print("listening", flush=True)
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "next":
                change = message["payload"]["data"]["queueChanged"]
                word = "left the queue" if change["removed"] else "waits"
                print("{reference} {level} version {version}".format(**change["incident"]), word)
                return
            if message["type"] == "error":
                sys.exit(f"refused: {message['payload']}")
        # The server closed: connect again with a fresh token, and read the list anew for what was missed.


asyncio.run(main())
