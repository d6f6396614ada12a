"""Keys, sealing, the blind index and where data keys come from."""
