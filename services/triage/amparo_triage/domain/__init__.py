"""Triage's decisions: pure, frozen types in, frozen types out."""
