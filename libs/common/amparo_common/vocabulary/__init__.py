"""Codes, labels and sets of the child-protection vocabulary."""
