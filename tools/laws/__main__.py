"""Print each breach as `path:line: law N: why`; exit 1 when there is one."""

import sys
from pathlib import Path

from tools.laws import LAWS, breaches

found = breaches(Path(__file__).resolve().parents[2])
for breach in found:
    print(f"{breach.path}:{breach.line}: law {breach.law}: {breach.why}")
print(f"{len(LAWS)} laws checked, {len(found)} breaches")
sys.exit(bool(found))
