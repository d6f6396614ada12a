"""Policy packs: the table that analysts read, its checks, and the CEL engine that evaluates it."""
