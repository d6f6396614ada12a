"""The laws of the house as checks of the syntax tree; `python -m tools.laws` fails on a breach. Each law has an ADR.

Law 1 (imports between services) is checked by import-linter, law 11 (a machine only raises) by the tests of triage.
"""

from tools.laws.source import Breach, Module, modules
from tools.laws.table import LAWS, breaches

__all__ = ["LAWS", "Breach", "Module", "breaches", "modules"]
