"""The demonstration: forty invented reports that travel to a partner or into the human queue."""
