"""Streams and the topics behind their lanes."""

from __future__ import annotations

from enum import StrEnum

from amparo_common.vocabulary.codes import Lane


class Stream(StrEnum):
    """A kind of topic. `reports` and `incidents` have an urgent and a standard lane, the others one topic each."""

    REPORTS = "reports"
    INCIDENTS = "incidents"
    REFERRALS = "referrals"
    AUDIT = "audit"
    DLQ = "dlq"


LANED = frozenset({Stream.REPORTS, Stream.INCIDENTS})


def topic_of(stream: Stream, *, lane: Lane) -> str:
    """Return the topic of `stream` for `lane`; a stream without lanes has one topic for both."""
    return f"amparo.{stream}.{lane.lower()}" if stream in LANED else f"amparo.{stream}"
