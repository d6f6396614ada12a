"""Consumer groups inside one process: who reads which partition, and how partitions change hands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from amparo_common.errors import TransientError
from amparo_common.log.port import TOPICS, OnRevoked, TopicPartition


class Member:
    """One reader of a group. `held` is what it reads, but for `leaving`, which is being handed over."""

    def __init__(self, topics: Sequence[str], *, on_revoked: OnRevoked | None) -> None:
        self.topics = tuple(dict.fromkeys(topics))
        self.on_revoked = on_revoked
        self.held: frozenset[TopicPartition] = frozenset()
        self.leaving: frozenset[TopicPartition] = frozenset()
        #: The next offset to read of each partition that is held.
        self.places: dict[TopicPartition, int] = {}
        #: Rung when there may be something new to read, also after a change of hands.
        self.bell = asyncio.Event()
        #: An error of `on_revoked`; the member's next fetch raises it.
        self.trouble: Exception | None = None
        self.ending: asyncio.Task[None] | None = None

    @property
    def read(self) -> frozenset[TopicPartition]:
        return self.held - self.leaving


class Group:
    """The members of one group and its committed positions."""

    def __init__(self, positions: Mapping[TopicPartition, int], *, revoke_timeout_s: float) -> None:
        self.positions = dict(positions)
        self._members: list[Member] = []
        self._changing = asyncio.Lock()
        self._revoke_timeout_s = revoke_timeout_s

    async def join(self, member: Member) -> None:
        """Take `member` in and give it its share."""
        async with self._changing:
            self._members.append(member)
            try:
                await self._share()
            except asyncio.CancelledError:
                # Nobody will read for a member that never came to be.
                self._members.remove(member)
                self._hand_over()
                raise

    async def leave(self, member: Member) -> None:
        """Let `member` go and share anew. Its own `on_revoked` is not called: who leaves has ended its work."""
        ending = member.ending
        if ending is not None and ending is not asyncio.current_task():
            ending.cancel()
        async with self._changing:
            if member in self._members:
                self._members.remove(member)
                _give(member, frozenset(), positions=self.positions)
                await self._share()

    async def _share(self) -> None:
        shares = _shares(self._members)
        for member in self._members:
            member.leaving = member.held - shares[member]
        await asyncio.gather(*(self._end_work(member) for member in self._members if member.leaving))
        self._hand_over()

    def _hand_over(self) -> None:
        shares = _shares(self._members)
        for member in self._members:
            _give(member, shares[member], positions=self.positions)

    async def _end_work(self, member: Member) -> None:
        """Await `on_revoked`, bounded: a member that hangs must not hold up the group. Its failure is its own."""
        if member.on_revoked is None:
            return
        member.ending = asyncio.ensure_future(_awaited(member.on_revoked, member.leaving))
        try:
            done, _ = await asyncio.wait({member.ending}, timeout=self._revoke_timeout_s)
            if not done:
                member.trouble = TransientError(f"on_revoked did not end within {self._revoke_timeout_s:g} s")
            elif not member.ending.cancelled() and isinstance(error := member.ending.exception(), Exception):
                member.trouble = error
        finally:
            member.ending.cancel()
            member.ending = None


async def _awaited(on_revoked: OnRevoked, lost: frozenset[TopicPartition]) -> None:
    await on_revoked(lost)


def _give(member: Member, share: frozenset[TopicPartition], *, positions: Mapping[TopicPartition, int]) -> None:
    gained = share - member.held
    kept = {at: place for at, place in member.places.items() if at in share}
    member.places = kept | {at: positions.get(at, 0) for at in gained}
    member.held, member.leaving = share, frozenset()
    member.bell.set()


def _shares(members: Iterable[Member]) -> dict[Member, frozenset[TopicPartition]]:
    """Deal the partitions of each topic round among the members that read it."""
    shares: dict[Member, set[TopicPartition]] = {member: set() for member in members}
    topics = sorted({topic for member in shares for topic in member.topics})
    turn = 0
    for topic in topics:
        readers = [member for member in shares if topic in member.topics]
        for partition in range(TOPICS[topic]):
            shares[readers[turn % len(readers)]].add(TopicPartition(topic, partition))
            turn += 1
    return {member: frozenset(share) for member, share in shares.items()}
