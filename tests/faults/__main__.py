"""`make chaos`: kill at every hit of every fault point, print the counts; exit 1 on a loss, repeat or wrong order."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.faults.matrix import count_hits, hits_to_kill_at, places, run_chain
from tests.faults.oracle import Verdict, judge


def main() -> int:
    """Run the whole matrix; `--every-hit` kills at each hit, otherwise at the first, the middle and the last."""
    every = "--every-hit" in sys.argv[1:]
    kills = acknowledged = 0
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="amparo-chaos-") as top:
        counts = count_hits(Path(top), seed=900)
        for number, (service, point) in enumerate(places()):
            directory = Path(top) / f"{number}"
            directory.mkdir()
            hits = hits_to_kill_at(counts[f"{service}:{point}"], every=every)
            chain = run_chain(directory, service=service, point=point, hits=hits, seed=number)
            verdict = asyncio.run(judge(directory / "data", acknowledged=chain.acknowledged))
            kills, acknowledged = kills + chain.kills, acknowledged + len(chain.acknowledged)
            verdicts.append(verdict)
            print(
                f"{service}:{point}: {chain.kills} kills, {len(chain.acknowledged)} acknowledged", verdict, flush=True
            )
    totals = (sum(len(getattr(v, name)) for v in verdicts) for name in ("lost", "duplicated", "reordered", "broken"))
    lost, duplicated, reordered, broken = totals
    judged = f"lost {lost} duplicated {duplicated} reordered {reordered} broken {broken}"
    print(f"kills {kills} acknowledged {acknowledged} {judged}")
    return int(not all(verdict.well for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
