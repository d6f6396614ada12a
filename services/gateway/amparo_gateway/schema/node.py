"""What has an id of its own."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="Something with a global id: opaque, typed, for `node(id)`.")
class Node:
    id: strawberry.ID
