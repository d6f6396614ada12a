"""The kinds of error, and how a program tells them apart."""

import urllib.error
import urllib.request

from amparo_client import GATEWAY, GraphError, ask, token

bearer = token()

# A field that your role may not use is null, with a code; what you may not see is null, without any.
try:
    ask("{ partners(first: 1) { edges { node { name } } } }", bearer=bearer)
except GraphError as error:
    print("a field of another role:", *error.codes)
print("an incident that is not yours:", ask('{ incident(id: "SQ") { reference } }', bearer=bearer)["incident"])

# What asks for too much is refused before it runs.
try:
    ask("{ incidents(first: 100) { edges { node { a: history(first: 100) { edges { cursor } } } } } }", bearer=bearer)
except GraphError as error:
    print("too much at once:", *error.codes)

# Without a good token there is no answer at all, but a problem document (RFC 9457).
request = urllib.request.Request(f"{GATEWAY}/graphql", data=b"{}", headers={"content-type": "application/json"})
try:
    urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    print("no token:", error.code, error.headers["content-type"])
