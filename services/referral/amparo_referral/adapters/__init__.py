"""Ways to reach a partner, each behind the port of `adapters/port.py`."""
