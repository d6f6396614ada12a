"""Read all of your incidents, a page at a time: ask for more behind the cursor until there is no next page."""

from amparo_client import ask, token

DOCUMENT = """
query Mine($after: String) {
  incidents(first: 2, after: $after, orderBy: NEWEST) {
    pageInfo { hasNextPage endCursor }
    edges { node { reference level status receivedAt } }
  }
}
"""

bearer, after, found = token(), None, 0
while True:
    page = ask(DOCUMENT, bearer=bearer, after=after)["incidents"]
    for edge in page["edges"]:
        found += 1
        print("{reference} {level} {status} {receivedAt}".format(**edge["node"]))
    if not page["pageInfo"]["hasNextPage"]:
        break
    after = page["pageInfo"]["endCursor"]
print(f"{found} incidents")
