"""`python -m benchmarks.pages [ROWS ...]`: what a page of the queue costs when more and more is stored (ratio R5).

Prints figures and asserts none: times belong to a machine.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from amparo_common.auth.principal import Principal
from amparo_common.clock import SystemClock
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.http import service_client
from amparo_common.vocabulary.codes import Role
from amparo_gateway import repository
from amparo_gateway.commands.client import Owners
from amparo_gateway.cursors import CursorSeal
from amparo_gateway.domain import EveryCountry, InCountries, Scope
from amparo_gateway.repository import QUEUE, Found, IncidentWish
from amparo_gateway.service import Desk, Question
from benchmarks.figures import percentile
from benchmarks.filled import NOON, multiply_incidents, opened

_SIZES: Final = (10_000, 1_000_000)
_PAGE, _ROUNDS, _WARM = 50, 600, 100
_SCOPES: Final[dict[str, Scope]] = {"all countries": EveryCountry(), "one country": InCountries(frozenset({"GT"}))}
_QUERY: Final = """query($after: String) { incidents(first: 50, after: $after, filter: {inQueue: true}) {
  edges { node { id reference level status category country dueAt receivedAt version claimedBy } } } }"""
_SEAL: Final = CursorSeal(bytes(32))
_LIST: Final = "benchmark|incidents|QUEUE"


def main(arguments: Sequence[str]) -> None:
    """Measure each size and print the ratio of the last to the first."""
    sizes = [int(argument) for argument in arguments] or list(_SIZES)
    directory = Path(tempfile.mkdtemp(prefix="amparo-pages-"))
    try:
        found = [asyncio.run(_measured(directory / f"{size}.db", rows=size)) for size in sizes]
    finally:
        shutil.rmtree(directory)
    for name in found[0]:
        print(f"{name}: {found[-1][name] / found[0][name]:.2f} of the first (R5: at most 1.3)")


async def _measured(path: Path, *, rows: int) -> dict[str, float]:
    database = await opened(path)
    try:
        started = time.perf_counter()
        await multiply_incidents(database, rows=rows)
        print(f"{rows} incidents stored in {time.perf_counter() - started:.1f} s")
        async with service_client() as http:
            desk = Desk(
                own=database,
                projection=database,
                seal=_SEAL,
                owners=Owners(http=http, urls={}),
                clock=SystemClock(),
            )
            return await _each(database, desk)
    finally:
        await database.close()


async def _each(database: SqliteDatabase, desk: Desk) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, scope in _SCOPES.items():
        what = f"queue page, {name}"
        found[what] = await _median(partial(_answered, desk, scope=scope), name=what)
        # The statement alone shows what the rest of a request would hide.
        what = f"its statement, {name}"
        found[what] = await _median(partial(_stated, database, scope=scope), name=what)
    return found


async def _median(page: Callable[[bytes], Awaitable[int]], *, name: str) -> float:
    """Ask for pages all over the queue, none twice, and return the median milliseconds of one."""
    spent = []
    for number in range(_ROUNDS + _WARM):
        # Levels stand first in a place; the stored ones are any bytes, so this is anywhere.
        after = (number * 7919 % 60_000 + 1_000).to_bytes(2) + bytes(35)
        started = time.perf_counter()
        rows = await page(after)
        if number >= _WARM:
            spent.append((time.perf_counter() - started) * 1000)
        if rows < _PAGE:
            raise RuntimeError(f"the page has {rows} rows")
    print(f"  {name}: p50 {percentile(spent, 0.5):.3f} ms, p99 {percentile(spent, 0.99):.3f} ms")
    return percentile(spent, 0.5)


async def _answered(desk: Desk, after: bytes, *, scope: Scope) -> int:
    countries = scope.codes if isinstance(scope, InCountries) else frozenset("*")
    caller = Principal(
        subject="benchmark",
        name="benchmark",
        roles=frozenset({Role.TRIAGER}),
        countries=countries,
        expires_at=NOON + timedelta(days=1),
        token="",
    )
    question = Question(query=_QUERY, variables={"after": _SEAL.seal(after, of=_LIST)})
    answer: Any = await desk.answer(question, principal=caller, trace_id="0" * 32)
    return len(answer["data"]["incidents"]["edges"])


async def _stated(database: SqliteDatabase, after: bytes, *, scope: Scope) -> int:
    def read(session: Session) -> list[Found]:
        wish = IncidentWish(in_queue=True)
        return repository.incidents(
            session, scope=scope, wish=wish, order=QUEUE, after=after, limit=_PAGE + 1, now=NOON
        )

    return len(await database.read(read))


if __name__ == "__main__":
    main(sys.argv[1:])
