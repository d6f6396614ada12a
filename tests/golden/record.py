"""Add samples of event types to the golden corpus. What stands there is never changed: its bytes were once released.

Run it after a new event type, or a new field of one: `python tests/golden/record.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from amparo_common.events.codec import REGISTRY, decode, encode
from amparo_common.events.types import Event
from amparo_common.log.port import NewRecord
from amparo_common.testing.samples import as_read, envelope_of, sample

CORPUS = Path(__file__).parent / "events"


def load(path: Path) -> NewRecord:
    """Read a sample's exact bytes."""
    kept = json.loads(path.read_text("utf-8"))
    headers = tuple((name, value.encode()) for name, value in kept["headers"].items())
    return NewRecord(topic=kept["topic"], key=kept["key"].encode(), value=kept["value"].encode(), headers=headers)


def covered(folder: Path) -> bool:
    """Tell whether the newest samples of a type hold every field that it has today."""
    numbers = sorted(int(path.stem) for path in folder.glob("*.json"))
    for number in numbers[-2:]:
        record = load(folder / f"{number}.json")
        received = decode(as_read(record))
        if encode(received.event, envelope=received.envelope) != record:
            return False
    return len(numbers) >= 2


def add(kind: type[Event], folder: Path) -> list[Path]:
    """Write a full and a sparse sample behind those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    last = max((int(path.stem) for path in folder.glob("*.json")), default=0)
    written = []
    for number, full in enumerate((True, False), start=last + 1):
        event = sample(kind, full=full)
        record = encode(event, envelope=envelope_of(event, full=full))
        kept = {
            "topic": record.topic,
            "key": record.key.decode(),
            "headers": {name: value.decode() for name, value in record.headers},
            "value": record.value.decode(),
        }
        path = folder / f"{number}.json"
        with path.open("x", encoding="utf-8") as file:  # x: a file that is there is never written again
            file.write(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
        written.append(path)
    return written


def main(corpus: Path = CORPUS) -> None:
    for name, kind in REGISTRY.items():
        if not covered(corpus / name):
            for path in add(kind, corpus / name):
                sys.stdout.write(f"recorded {path.relative_to(corpus)}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
