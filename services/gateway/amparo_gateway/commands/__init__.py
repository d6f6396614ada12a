"""Commands: passed on to the service that owns what they change, with the caller's own token."""
