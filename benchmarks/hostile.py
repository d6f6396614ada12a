"""Documents made to hurt, and what they cost: `python -m benchmarks.hostile`.

Prints how long the gateway takes to refuse each over HTTP, and how long ordinary queries take while many callers send
them, beside the same queries in peace. Asserts no time: `tests/security/gateway` asserts the refusals.
"""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
import threading
import time
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from amparo_common.settings import PORTS
from amparo_common.testing.platform import RunningPlatform, free_offset
from benchmarks.figures import percentile

ROUNDS, ATTACKERS, ORDINARY = 5, 2, 300
#: Each attacker sends some fifty documents a second, for as long as the ordinary queries run.
ATTACK_PAUSE_S: Final = 0.02
ORDINARY_QUERY: Final = (
    "{ incidents(first: 50) { edges { node { id reference level status category country dueAt } } } }"
)


def incidents(first: int, inner: str) -> str:
    """Ask for a page of incidents."""
    return f"incidents(first: {first}) {{ edges {{ node {{ {inner} }} }} }} "


def through_referrals(first: int, inner: str) -> str:
    """Ask an incident for its referrals and those for their incident."""
    return f"referrals(first: {first}) {{ edges {{ node {{ incident {{ {inner} }} }} }} }} "


def nested(count: int, *, inner: str = "id") -> str:
    """Go from incident to referral to incident, `count` times."""
    for _ in range(count):
        inner = through_referrals(1, inner)
    return inner


def doubled(count: int) -> str:
    """Write fragments of which each spreads the next twice, with fields between."""
    branches = [through_referrals(1, f"...F{n}") for n in range(count + 1)]
    fragments = [f"fragment F{n} on Incident {{ {branches[n + 1]} b: {branches[n + 1]} }}" for n in range(count)]
    return f"{{ {incidents(1, '...F0')} }} {' '.join(fragments)} fragment F{count} on Incident {{ id }}"


def doubled_inline(count: int) -> str:
    """Write fragments of which each spreads the next twice, without a field between."""
    fragments = [f"fragment F{n} on Query {{ ...F{n + 1} ... {{ ...F{n + 1} }} }}" for n in range(count)]
    return f"{{ ...F0 }} {' '.join(fragments)} fragment F{count} on Query {{ me {{ name }} }}"


def _wrapped(opening: str, inner: str, count: int) -> str:
    return f"{{ {opening * count}{inner}{' }' * count} }}"


def _many(count: int, one: str) -> str:
    return " ".join(one.format(n=n) for n in range(count))


_WIDE: Final = incidents(100, through_referrals(100, "id"))
_FILTERED: Final = "query($f: IncidentFilter) { incidents(first: 1, filter: $f) { edges { cursor } } }"

#: Each asks for too much: it is refused with LIMIT_EXCEEDED before anything is read.
TOO_MUCH: Final[dict[str, dict[str, Any]]] = {
    name: {"query": query}
    for name, query in {
        "depth of 120": f"{{ {incidents(1, nested(30))} }}",
        "depth just over": f"{{ {incidents(1, nested(3, inner='decision { proposedLowering { level } }'))} }}",
        "depth through node": f'{{ node(id: "x") {{ ... on Incident {{ {nested(5)} }} }} }}',
        "1000 aliases": f"{{ {_many(1000, 'a{n}: me {{ name }}')} }}",
        "100 aliases of a page": f"{{ {_many(100, 'a{n}: incidents(first: 1) {{ edges {{ cursor }} }}')} }}",
        "aliases hidden in a fragment": f"{{ {_many(20, 'a{n}: me {{ ...V }}')} }} "
        "fragment V on Viewer { a: name b: name c: name d: name }",
        "a million nodes": f"{{ {incidents(100, through_referrals(100, through_referrals(100, 'id')))} }}",
        "a million nodes by alias": f"{{ {' '.join(f'a{n}: {_WIDE}' for n in range(60))} }}",
        "ten thousand nodes": f"{{ {_WIDE} }}",
        "eight thousand nodes of twenties": "{ "
        + incidents(20, through_referrals(20, through_referrals(20, "id")))
        + "}",
        "a page of two billion": f"{{ {incidents(2_000_000_000, 'id')} }}",
        "a page beyond any integer": f"{{ {incidents(10**30, 'id')} }}",
        "history of every incident of a page": f"{{ {incidents(100, 'history(first: 100) { edges { cursor } }')} }}",
        "fragments that double": doubled(12),
        "fragments that double without a field": doubled_inline(30),
        "inline fragments in each other": _wrapped("... on Query { ", "me { name }", 200),
        "selections in each other": _wrapped("me { ", "name", 800),
        "lists in each other": "{ incidents(first: 1, filter: {levels: "
        + "[" * 450
        + "]" * 450
        + "}) { edges { cursor } } }",
        "objects in each other": "{ incidents(first: 1, filter: "
        + "{a: " * 200
        + "1"
        + "}" * 200
        + ") { edges { cursor } } }",
        "5000 directives": f"{{ me {{ name {'@skip(if: false) ' * 5000} }} }}",
        "5000 repeated fields": f"{{ me {{ {'name ' * 5000} }} }}",
        "5000 variables": f"query({_many(5000, '$v{n}: Int ')}) {{ me {{ name }} }}",
        "5000 arguments": f"{{ me({_many(5000, 'a{n}: 1')}) {{ name }} }}",
        "5000 fragments": f"{{ me {{ name }} }} {_many(5000, 'fragment F{n} on Query {{ me {{ name }} }}')}",
        "many operations": _many(21, "query Q{n} {{ incidents(first: 100) {{ edges {{ cursor }} }} }}"),
        "a comment of 200 KB": f"# {'a' * 200_000}\n{{ me {{ name }} }}",
        "3000 comments": "#\n" * 3_000 + "{ me { name } }",
        "a string of 200 KB": f'{{ me(a: "{"a" * 200_000}") {{ name }} }}',
        "a block string of 200 KB": f'{{ me(a: """{"a " * 100_000}""") {{ name }} }}',
        "a name of 200 KB": f"{{ {'a' * 200_000} }}",
        "200 KB of blanks": f"{{ me {{ name }} {' ' * 200_000} }}",
        "900 unknown fields": f"{{ {_many(900, 'f{n}')} }}",
        "900 equal fields": f"{{ me {{ {'name ' * 900} }} }}",
        "130 directives": f"{{ me {{ name {'@skip(if: false) ' * 130} }} }}",
        "overlapping fields": f"{{ {'me { ...A } ' * 100} }} fragment A on Viewer {{ {'name subject roles ' * 100} }}",
        "overlapping fragments": f"{{ {_many(90, '...F{n}')} }} "
        + _many(90, "fragment F{n} on Query {{ me {{ name }} }}"),
        "too many fields on a page": f"{{ {incidents(100, 'decision { rules { guidelines { id } } } ' * 60)} }}",
    }.items()
} | {
    "30000 values in a variable": {"query": _FILTERED, "variables": {"f": {"levels": ["P1"] * 30_000}}},
    "unused variables": {"query": "{ me { name } }", "variables": {f"v{n}": n for n in range(10_000)}},
}
#: Each makes no sense: it is refused, with whatever code, before anything is read.
NO_SENSE: Final[dict[str, dict[str, Any]]] = {
    name: {"query": query}
    for name, query in {
        "a fragment cycle": "query { ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
        "a fragment that names itself": "query { ...A } fragment A on Query { ...A }",
        "400 unknown fields": f"{{ {_many(390, 'f{n}')} }}",
        "one directive many times": f"{{ me {{ name {'@skip(if: false) ' * 40} }} }}",
        "names that conflict": f"{{ {_many(30, 'a: me {{ b: name }} a: me {{ b: subject }}')} }}",
        "a page of 101": f"{{ {incidents(101, 'id')} }}",
        "no page size": "{ incidents { edges { node { id } } } }",
        "half a document": "{ incidents(first: 1) { ",
        "a lone surrogate": "{ me { \ud800 } }",
    }.items()
}


class Asker:
    """A caller with one connection, kept open."""

    def __init__(self, platform: RunningPlatform, user: str) -> None:
        self._token = platform.token(user)
        self._connection = http.client.HTTPConnection("127.0.0.1", PORTS["gateway"] + platform.offset, timeout=30)

    def ask(self, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Post `body` and return the milliseconds it took, and the answer."""
        sent = json.dumps(body).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._token}"}
        began = time.perf_counter()
        self._connection.request("POST", "/graphql", body=sent, headers=headers)
        answer = self._connection.getresponse().read()
        return (time.perf_counter() - began) * 1000, json.loads(answer)


def main() -> None:
    """Measure and print."""
    directory = Path(tempfile.mkdtemp(prefix="amparo-hostile-"))
    # A budget that no round of this script spends: what is measured is the price of a refusal, not of a spent budget.
    generous = {"AMPARO_GRAPH_BUDGET": "1000000000", "AMPARO_GRAPH_BUDGET_PER_SECOND": "1000000000"}
    platform = RunningPlatform(directory / "data", free_offset(seed=int(time.time())), environment=generous)
    platform.start()
    try:
        platform.wait_ready()
        for number in range(60):
            report = {"channel": "web", "language": "en", "country": "GT", "text": f"An invented report, {number}."}
            assert platform.post("intake", "/v1/reports", report).status == 202
        _refusals(platform)
        peace = _ordinary(platform)
        attack = _under_attack(platform)
    finally:
        platform.stop()
        shutil.rmtree(directory)
    for when, times in (("in peace", peace), ("under attack", attack)):
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        print(f"ordinary queries {when}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, n {len(times)}")
    print(f"p99 under attack is {percentile(attack, 0.99) / percentile(peace, 0.99):.2f} times that in peace")


def _refusals(platform: RunningPlatform) -> None:
    asker = Asker(platform, "triager")
    slowest = []
    for name, body in (TOO_MUCH | NO_SENSE).items():
        # A comment makes every round another document, so that no cache answers.
        rounds = [asker.ask(body | {"query": f"{body['query']}#{number}"})[0] for number in range(ROUNDS)]
        slowest.append((percentile(rounds, 0.5), name))
        print(f"{percentile(rounds, 0.5):7.1f} ms {name}")
    worst, name = max(slowest)
    print(f"{len(slowest)} hostile documents; the slowest median is {worst:.1f} ms: {name}")


def _ordinary(platform: RunningPlatform) -> list[float]:
    asker = Asker(platform, "supervisor")
    return [asker.ask({"query": ORDINARY_QUERY})[0] for _ in range(ORDINARY)]


def _under_attack(platform: RunningPlatform) -> list[float]:
    over = threading.Event()

    def attack() -> None:
        asker = Asker(platform, "triager")
        for number, body in enumerate(cycle((TOO_MUCH | NO_SENSE).values())):
            if over.is_set():
                return
            asker.ask(body | {"query": f"{body['query']}#{number}"})
            time.sleep(ATTACK_PAUSE_S)

    attackers = [threading.Thread(target=attack) for _ in range(ATTACKERS)]
    for attacker in attackers:
        attacker.start()
    try:
        return _ordinary(platform)
    finally:
        over.set()
        for attacker in attackers:
            attacker.join()


if __name__ == "__main__":
    main()
