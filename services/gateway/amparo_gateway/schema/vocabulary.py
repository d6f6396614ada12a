"""The vocabulary's codes as enums of the graph."""

from __future__ import annotations

import strawberry

from amparo_common.vocabulary import codes
from amparo_gateway.domain_figures import Dimension

for _code, _words in (
    (codes.Level, "How soon a child needs help; P1 is the most urgent."),
    (codes.Lane, "The transport lane, not the level."),
    (codes.Channel, "How a report came in."),
    (codes.IncidentStatus, "Where an incident stands; only a person closes one."),
    (codes.Category, "What a report is about."),
    (codes.Factor, "Facts that change how soon a child needs help."),
    (codes.FactorSource, "Who found a factor."),
    (codes.Destination, "Kinds of body that a referral can go to."),
    (codes.ReferralStatus, "Where a referral stands."),
    (codes.Release, "When a route lets a referral go: on the machine's decision, on a person's, or on two persons'."),
    (codes.LawfulBasis, "Why a referral may carry what it carries."),
    (codes.AcknowledgementCode, "What a partner answers."),
    (codes.ClockKind, "What a clock waits for."),
    (codes.ClockState, "RUNNING until it is MET, MISSED or STOPPED."),
    (codes.Adapter, "How a partner is reached."),
    (codes.LinkKind, "How two incidents belong together."),
    (codes.RecordClass, "Record classes that a preservation hold names; the records themselves never enter Amparo."),
    (codes.Purpose, "What the caller is about to do with what it reads; recorded in the audit trail."),
):
    strawberry.enum(_code, description=_words)

strawberry.enum(Dimension, name="StatisticsDimension", description="What figures are counted by; DAY is the UTC day.")
