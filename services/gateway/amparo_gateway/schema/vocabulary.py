"""The vocabulary's codes as enums of the graph."""

from __future__ import annotations

import strawberry

from amparo_common.vocabulary import codes

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
):
    strawberry.enum(_code, description=_words)
