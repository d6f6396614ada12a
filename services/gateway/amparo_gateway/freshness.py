"""How fresh an answer is: what stood in the log when a question came is in the projection before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from amparo_common.errors import TransientError
from amparo_common.log.port import EventLog, TopicPartition

_PATIENCE_S: Final = 0.25
_LOOK_EVERY_S: Final = 0.002

Positions = Callable[[], Mapping[TopicPartition, int]]


class Freshness:
    """Lets a question wait, for a bounded while, until the projection holds what others were already told.

    A partner whose acknowledgement was answered, or a person whose command went to an owner directly, finds it in the
    graph at once. When the projection is far behind or the log does not answer, the question goes on with what is.
    """

    def __init__(
        self, log: EventLog, *, topics: Sequence[str], applied: Positions, patience_s: float = _PATIENCE_S
    ) -> None:
        self._log, self._topics, self._applied, self._patience_s = log, topics, applied, patience_s

    async def wait(self) -> None:
        """Wait until everything that stands in the log now is applied, or the patience is over."""
        with suppress(TimeoutError, TransientError):  # an answer of a moment ago is better than none
            async with asyncio.timeout(self._patience_s):
                ends = await self._log.end_offsets(self._topics)
                while not self._holds(ends):  # noqa: ASYNC110 - a look is cheaper than a bell in each lane
                    await asyncio.sleep(_LOOK_EVERY_S)

    def _holds(self, ends: Mapping[TopicPartition, int]) -> bool:
        applied = self._applied()
        return all(applied.get(at, 0) >= end for at, end in ends.items())
