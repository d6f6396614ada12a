"""Live changes: a hub that the projection feeds, and the sockets that listen to it."""
