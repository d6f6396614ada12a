"""Measurements, each beside what the disk and the machine can do at best."""
