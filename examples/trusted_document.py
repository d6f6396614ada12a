"""Run a trusted document by its id: the SHA-256 of its text. In production most roles may run these only."""

from amparo_client import GATEWAY, post, token

#: documents/me.graphql
ME = "59375e655a0790a8e68950f33f1bb2c5ff11a484822aaa9732f3c3370e4c2400"

answer = post(f"{GATEWAY}/graphql", {"documentId": f"sha256:{ME}"}, bearer=token())
print(f"hello, {answer['data']['me']['name']}")

answer = post(f"{GATEWAY}/graphql", {"documentId": "0" * 64}, bearer=token())
print(f"an id that nobody registered: {answer['errors'][0]['extensions']['code']}")
