"""What people may do with an incident, rule by rule, without any storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from amparo_common.ids import uuid7
from amparo_common.vocabulary.codes import (
    Category,
    Channel,
    ClockKind,
    ClockState,
    Factor,
    IncidentStatus,
    Level,
    LinkKind,
    Role,
)
from amparo_triage.domain import human
from amparo_triage.domain.facts import NOTHING_READ, Reading, Recurrence, ReportFacts, held
from amparo_triage.domain.human import LEASE, NotAllowedError, Person
from amparo_triage.domain.incident import clocks_missed, erased, joined, opened, read_later, referred
from amparo_triage.domain.judgement import Judgement
from amparo_triage.domain.state import event_of
from amparo_triage.policy.pack import base_pack, parse_pack

PACK = base_pack()
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
NOTHING = Recurrence()
ANA = Person(name="ana", subject="s-ana", role=Role.TRIAGER)
BEN = Person(name="ben", subject="s-ben", role=Role.SUPERVISOR)


def facts(**fields) -> ReportFacts:
    known = {
        "report_id": uuid7(), "received_at": NOW, "country": "BO", "channel": Channel.WEB,
        "category": Category.CYBERBULLYING, "factors": (), "victim_age": None, "victim_count": None,
        "imminent_danger": None, "reporter_type": None, "owner": None, "trusted_source": False, "is_test": False,
    }  # fmt: skip
    return ReportFacts(**(known | fields))


def incident(**fields):
    return opened(facts(**fields), reference="AM", reading=NOTHING_READ, recurrence=NOTHING, pack=PACK, now=NOW)


def mine(one, by=ANA, now=LATER):
    return human.claimed(one, by=by, now=now)


def decide(one, level, *, by=ANA, now=LATER, known=None, category=Category.CYBERBULLYING, **fields):
    judgement = Judgement(
        level=level,
        category=category,
        secondary=fields.get("secondary"),
        confirm=fields.get("confirm", ()),
        reject=fields.get("reject", ()),
        known_version=one.version if known is None else known,
    )
    return human.decided(one, judgement, by=by, pack=PACK, now=now)


def join(one, *, recurrence=NOTHING, reading=NOTHING_READ, pack=PACK, **fields):
    return joined(
        one, facts(**({"received_at": LATER} | fields)), reading=reading, recurrence=recurrence, pack=pack, now=LATER
    )


def message(one, *factors, report_id=None, settles=False, pack=PACK):
    reading = Reading(factors=factors)
    return read_later(one, report_id or one.id, reading, recurrence=NOTHING, settles=settles, pack=pack, now=LATER)


def sign(one, *, approve=True, by=BEN, known=None):
    version = one.version if known is None else known
    return human.countersigned(one, approve=approve, known_version=version, by=by, pack=PACK, now=LATER)


def close(one, by=ANA, known=None):
    return human.closed(one, known_version=one.version if known is None else known, by=by, now=LATER)


def clock(one, kind=ClockKind.HUMAN_TRIAGE):
    return next(reading for reading in one.clocks if reading.kind is kind)


def refusal(code):
    return pytest.raises(NotAllowedError, check=lambda error: error.code == code)


# ---------------------------------------------------------------- status and queue


def test_an_incident_is_open_then_in_review_then_decided_then_referred_then_closed():
    one = incident()
    assert one.status is IncidentStatus.OPEN
    one = mine(one)
    assert one.status is IncidentStatus.IN_REVIEW
    one = decide(one, Level.P3)
    assert one.status is IncidentStatus.DECIDED
    one = referred(one, delivered_at=LATER, pack=PACK, now=LATER)
    assert one.status is IncidentStatus.REFERRED
    assert close(one).status is IncidentStatus.CLOSED


def test_giving_a_claim_back_opens_the_incident_again_and_leaves_a_decision_as_it_is():
    assert human.released(mine(incident()), by=ANA, now=LATER).status is IncidentStatus.OPEN
    decided = decide(mine(incident()), Level.P3)
    assert human.released(decided, by=ANA, now=LATER).status is IncidentStatus.DECIDED


def test_an_automatic_referral_neither_decides_nor_takes_an_incident_out_of_the_queue():
    one = referred(incident(), delivered_at=LATER, pack=PACK, now=LATER)
    assert one.status is IncidentStatus.OPEN
    assert one.in_queue
    assert decide(mine(one), Level.P3).status is IncidentStatus.REFERRED


def test_a_decision_takes_an_incident_out_of_the_queue_and_a_waiting_lowering_keeps_it_there():
    assert not decide(mine(incident()), Level.P2).in_queue
    confirmed = decide(mine(incident(imminent_danger=True)), Level.P1)
    assert not confirmed.in_queue
    assert decide(confirmed, Level.P3).in_queue


# ---------------------------------------------------------------- claims


def test_a_claim_lasts_half_an_hour_and_nobody_else_takes_it_meanwhile():
    one = mine(incident(), now=NOW)
    assert (one.claimed_by, one.claimed_until) == ("ana", NOW + timedelta(minutes=30))
    with refusal("ALREADY_CLAIMED"):
        mine(one, by=BEN, now=NOW + LEASE - timedelta(seconds=1))
    assert mine(one, by=BEN, now=NOW + LEASE).claimed_by == "ben"


def test_claiming_again_renews_ones_own_lease_and_refuses_nobody():
    one = mine(incident(), now=NOW)
    again = mine(one, now=LATER)
    assert again.claimed_until == LATER + LEASE
    assert again.conflict_version == one.conflict_version < again.version


def test_a_lapsed_claim_is_taken_away_once():
    one = mine(incident(), now=NOW)
    assert human.lapsed(one, now=NOW + LEASE - timedelta(seconds=1)) is one
    free = human.lapsed(one, now=NOW + LEASE)
    assert (free.claimed_by, free.status, free.change) == (None, IncidentStatus.OPEN, "claim_lapsed")
    assert human.lapsed(free, now=NOW + LEASE) is free


@pytest.mark.parametrize(
    "act", [lambda one: decide(one, Level.P3), close, lambda one: human.released(one, by=ANA, now=LATER)]
)
def test_deciding_closing_and_releasing_need_ones_own_claim(act):
    with refusal("NOT_CLAIMED"):
        act(incident())
    with refusal("NOT_CLAIMED"):
        act(mine(incident(), by=BEN))
    with refusal("NOT_CLAIMED"):
        act(mine(incident(), now=LATER - LEASE))


# ---------------------------------------------------------------- versions


def test_a_change_of_what_a_human_decides_on_refuses_who_did_not_see_it():
    one = mine(incident())
    seen = one.version
    for changed in (
        join(one, category=Category.CONTACT_ABUSE),
        join(one, factors=(Factor.ADULT_UNKNOWN,)),
        message(one, Factor.VIRAL),
        decide(one, Level.P2),
        mine(human.released(one, by=ANA, now=LATER)),
    ):
        with refusal("VERSION_CONFLICT"):
            decide(changed, Level.P3, known=seen)
        assert decide(changed, Level.P1).level is Level.P1


def test_joined_reports_clocks_messages_and_answers_of_partners_refuse_nobody():
    one = mine(incident())
    seen = one.version
    one = join(one, recurrence=Recurrence(subject=True, item=True))
    one = join(one, factors=())
    one = clocks_missed(one, pack=PACK, now=NOW + timedelta(days=1))
    one = referred(one, delivered_at=LATER, pack=PACK, now=LATER)
    one = replace(one, claimed_until=NOW + timedelta(days=2))
    assert one.version > seen + 3
    assert decide(one, Level.P3, known=seen).human is not None


def test_links_refuse_nobody():
    one = mine(incident())
    tied = human.linked(one, incident(), kind=LinkKind.RELATED, by=BEN, now=LATER)
    assert decide(tied, Level.P3, known=one.version).human is not None


def test_a_version_that_is_not_there_yet_is_invalid():
    with refusal("INVALID"):
        decide(mine(incident()), Level.P3, known=99)


# ---------------------------------------------------------------- decisions


def test_a_decision_is_marked_human_carries_the_login_name_and_says_so_in_words():
    one = decide(mine(incident()), Level.P2, confirm=(Factor.ADULT_UNKNOWN,))
    assert (one.decision.human, one.decision.decided_by, one.decision.decided_at) == (True, "ana", LATER)
    assert (one.provisional, one.actor_role, one.change) == (False, Role.TRIAGER, "decided")
    assert {len(words) for words in one.decision.reasons.values()} == {len(one.decision.reasons["en"])}
    assert "A person set this level" in one.decision.reasons["en"][1]


def test_a_person_may_lower_what_is_not_p1_alone():
    one = incident(category=Category.GROOMING)
    assert one.level is Level.P2
    low = decide(mine(one), Level.P4, category=Category.HARMFUL_CONTENT)
    assert (low.level, low.decision.level, low.categories) == (Level.P4, Level.P4, (Category.HARMFUL_CONTENT,))
    assert low.proposal is None


def test_secondary_categories_stay_unless_they_are_given():
    one = mine(join(incident(), category=Category.HARASSMENT_STALKING))
    kept = decide(one, Level.P3, category=Category.PRIVACY_DATA)
    assert kept.categories == (Category.PRIVACY_DATA, Category.HARASSMENT_STALKING)
    assert decide(one, Level.P3, category=Category.PRIVACY_DATA, secondary=()).categories == (Category.PRIVACY_DATA,)


def test_a_decision_meets_the_clock_of_human_triage_and_no_other():
    one = decide(mine(incident()), Level.P3)
    assert (clock(one).state, clock(one).completed_at) == (ClockState.MET, LATER)
    assert clock(one, ClockKind.FIRST_REFERRAL).state is ClockState.RUNNING


def test_a_raise_by_a_person_brings_the_other_clocks_forward():
    one = decide(mine(incident()), Level.P1)
    referral = clock(one, ClockKind.FIRST_REFERRAL)
    assert referral.due_at == LATER + timedelta(minutes=60)
    assert clock(one).state is ClockState.MET


def test_a_late_decision_that_raises_completes_the_missed_clock_and_starts_no_new_one():
    tomorrow = NOW + timedelta(days=1)
    one = mine(clocks_missed(incident(), pack=PACK, now=tomorrow), now=tomorrow)
    one = decide(one, Level.P1, now=tomorrow)
    assert (clock(one).state, clock(one).completed_at) == (ClockState.MISSED, tomorrow)


def test_only_a_person_finds_an_overclaim():
    for one in (incident(factors=(Factor.OVERCLAIM,)), message(incident(), Factor.OVERCLAIM)):
        assert Factor.OVERCLAIM not in held(one.findings)
    assert Factor.OVERCLAIM in held(decide(mine(incident()), Level.P3, confirm=(Factor.OVERCLAIM,)).findings)


def test_a_factor_is_not_both_confirmed_and_rejected():
    with refusal("INVALID"):
        decide(mine(incident()), Level.P3, confirm=(Factor.VIRAL,), reject=(Factor.VIRAL,))


# ---------------------------------------------------------------- after a decision only news raises


def lowered(**fields):
    """An incident of P2 by a known factor, decided to be P4 by a person."""
    one = incident(category=Category.CYBERBULLYING, factors=(Factor.SELF_HARM_INDICATOR,), **fields)
    assert one.level is Level.P2
    return decide(mine(one), Level.P4)


def test_what_the_decision_knew_does_not_raise_again():
    one = join(lowered(), recurrence=Recurrence(subject=True, item=True))
    one = clocks_missed(one, pack=PACK, now=NOW + timedelta(days=9))
    assert (one.level, one.decision.human, one.provisional) == (Level.P4, True, False)
    assert one.decision.decided_by == "ana"


def test_a_new_reports_tick_raises_and_asks_for_a_human_again():
    one = join(lowered(), imminent_danger=True)
    assert (one.level, one.decision.human, one.provisional) == (Level.P1, False, True)
    assert one.in_queue
    assert clock(one).state is ClockState.RUNNING
    assert clock(one).due_at == LATER + timedelta(minutes=15)


def test_the_same_tick_in_a_new_report_is_news():
    assert join(lowered(), factors=(Factor.SELF_HARM_INDICATOR,)).level is Level.P2


def test_a_new_reports_text_and_a_new_message_are_news():
    assert join(lowered(), reading=Reading(factors=(Factor.SELF_HARM_ACTIVE,))).level is Level.P1
    assert message(lowered(), Factor.SELF_HARM_ACTIVE).level is Level.P1


def test_a_new_reports_category_is_news_and_a_repeated_one_is_not():
    assert join(lowered(), category=Category.CONTACT_ABUSE).level is Level.P1
    assert join(lowered(), category=Category.CYBERBULLYING).level is Level.P4


def test_one_piece_of_news_does_not_wake_what_was_known():
    one = incident(category=Category.CYBERBULLYING, factors=(Factor.SELF_HARM_ACTIVE,))
    low = sign(decide(mine(one), Level.P4))
    assert low.level is Level.P4
    assert join(low, factors=(Factor.VIRAL,)).level is Level.P4
    raised = join(low, factors=(Factor.SELF_HARM_INDICATOR,))
    assert raised.level is Level.P2
    assert join(raised, factors=(Factor.VIRAL,)).level is Level.P2


def rejected():
    one = incident(imminent_danger=True)
    return one, sign(decide(mine(one), Level.P3, reject=(Factor.IMMINENT_DANGER,)))


def test_a_rejected_finding_stays_rejected_for_its_report_under_a_new_pack_too():
    first, low = rejected()
    source = (resources.files("amparo_triage.policy") / "base.toml").read_text(encoding="utf-8")
    stricter = parse_pack(source.replace('version = "1"', 'version = "2"').encode(), file="base.toml")
    read = message(low, Factor.IMMINENT_DANGER, report_id=first.id, settles=True, pack=stricter)
    assert read.level is low.level is Level.P3
    assert Factor.IMMINENT_DANGER not in held(read.findings)
    again = join(read, pack=stricter)
    assert (again.level, again.decision.pack_digest) == (Level.P3, stricter.digest)


def test_a_rejected_finding_comes_back_by_another_report_and_by_a_new_message():
    _, low = rejected()
    assert join(low, imminent_danger=True).level is Level.P1
    assert message(low, Factor.IMMINENT_DANGER).level is Level.P1


def test_a_report_that_the_decision_did_not_see_keeps_what_it_ticked():
    one = mine(incident(factors=(Factor.SELF_HARM_INDICATOR,)))
    joined_meanwhile = join(one, factors=(Factor.SELF_HARM_INDICATOR,))
    decided = decide(joined_meanwhile, Level.P4, known=one.version, reject=(Factor.SELF_HARM_INDICATOR,))
    assert Factor.SELF_HARM_INDICATOR in held(decided.findings)
    assert (decided.level, decided.provisional) == (Level.P2, True)
    seen = decide(joined_meanwhile, Level.P4, reject=(Factor.SELF_HARM_INDICATOR,))
    assert (seen.level, seen.provisional) == (Level.P4, False)


def test_a_category_that_the_decision_did_not_see_still_counts():
    one = mine(incident())
    joined_meanwhile = join(one, category=Category.HARASSMENT_STALKING)
    assert joined_meanwhile.level is Level.P3
    unseen = decide(joined_meanwhile, Level.P4, known=one.version)
    assert (unseen.level, unseen.provisional) == (Level.P3, True)
    assert unseen.categories == (Category.CYBERBULLYING, Category.HARASSMENT_STALKING)
    assert decide(joined_meanwhile, Level.P4).level is Level.P4


def test_each_further_copy_does_not_undo_a_decision_that_knew_of_copies():
    again = Recurrence(subject=True, item=True)
    copied = join(incident(category=Category.OBSCENE_TO_CHILD), category=None, recurrence=again)
    decided = decide(mine(copied), Level.P3, category=Category.OBSCENE_TO_CHILD)
    after = join(decided, category=None, recurrence=again)
    assert (after.level, after.provisional) == (Level.P3, False)
    first = decide(mine(incident(category=Category.OBSCENE_TO_CHILD)), Level.P3, category=Category.OBSCENE_TO_CHILD)
    assert join(first, category=None, recurrence=again).level is Level.P2


FACTORS = st.sampled_from([factor for factor in Factor if factor is not Factor.OVERCLAIM])


@settings(max_examples=120, deadline=None)
@given(st.sets(FACTORS, max_size=4), st.sampled_from(Level), st.lists(st.sets(FACTORS, max_size=2), max_size=3))
def test_no_news_never_moves_what_a_person_decided_and_news_never_lowers_it(ticked, level, later):
    one = incident(factors=tuple(ticked), category=Category.GROOMING)
    decided = decide(mine(one), level, category=Category.GROOMING)
    if decided.proposal:
        decided = sign(decided)
    assert decided.level is level
    quiet = join(decided, category=Category.GROOMING, recurrence=NOTHING)
    assert quiet.level is level
    for factors in later:
        after = join(decided, category=Category.GROOMING, factors=tuple(factors))
        assert after.level.at_least(decided.level)
        decided = after


# ---------------------------------------------------------------- lowering from P1


def waiting(**fields):
    one = mine(incident(imminent_danger=True, **fields))
    return decide(one, Level.P3, reject=(Factor.IMMINENT_DANGER,))


def test_a_lowering_from_p1_waits_for_a_second_person_and_changes_nothing_meanwhile():
    one = waiting()
    state = event_of(one)
    assert (state.level, state.awaiting_signature, state.provisional) == (Level.P1, True, True)
    assert (state.proposed_lowering.level, state.proposed_lowering.by) == (Level.P3, "ana")
    assert not state.decision.human
    assert Factor.IMMINENT_DANGER in held(one.findings)
    assert clock(one).state is ClockState.MET


def test_the_same_person_does_not_sign_by_name_or_by_subject():
    with refusal("SAME_PERSON"):
        sign(waiting(), by=Person(name="ana", subject="other", role=Role.SUPERVISOR))
    with refusal("SAME_PERSON"):
        sign(waiting(), by=Person(name="renamed", subject="s-ana", role=Role.SUPERVISOR))


def test_a_second_signature_lowers_in_the_name_of_who_decided():
    one = sign(waiting())
    assert (one.level, one.provisional, one.proposal) == (Level.P3, False, None)
    assert (one.decision.decided_by, one.change, one.actor_role) == ("ana", "countersigned", Role.SUPERVISOR)
    assert Factor.IMMINENT_DANGER not in held(one.findings)


def test_a_refused_signature_keeps_the_level_and_the_queue():
    one = sign(waiting(), approve=False)
    assert (one.level, one.proposal, one.in_queue) == (Level.P1, None, True)
    with refusal("TRANSITION_NOT_ALLOWED"):
        sign(one)


def test_a_signature_for_another_state_is_refused():
    with refusal("VERSION_CONFLICT"):
        sign(waiting(), known=1)


def test_what_came_after_the_proposal_holds_the_level_up():
    one = waiting()
    again = join(one, imminent_danger=True)
    signed = sign(again, known=one.version)
    assert (signed.level, signed.provisional) == (Level.P1, True)
    assert Factor.IMMINENT_DANGER in held(signed.findings)


def test_deciding_p1_takes_a_proposed_lowering_back():
    one = decide(waiting(), Level.P1)
    assert (one.level, one.proposal, one.provisional) == (Level.P1, None, False)


# ---------------------------------------------------------------- closing


def test_closing_stops_the_clocks_ends_the_claim_and_the_joining():
    one = close(mine(incident()))
    assert {reading.state for reading in one.clocks} == {ClockState.STOPPED}
    assert (one.claimed_by, one.in_queue, one.takes_reports) == (None, False, False)
    assert event_of(one).due_at is None


def test_nothing_but_reopening_is_done_with_a_closed_incident():
    one = close(mine(incident()))
    for act in (mine, lambda one: decide(one, Level.P3), close, sign):
        with refusal("TRANSITION_NOT_ALLOWED"):
            act(one)
    with refusal("TRANSITION_NOT_ALLOWED"):
        human.reopened(incident(), by=ANA, pack=PACK, now=LATER)


def test_closing_does_not_get_round_a_second_signature():
    with refusal("LOWERING_NEEDS_SIGNATURE"):
        close(waiting())


def test_closing_what_changed_unseen_is_refused():
    one = mine(incident())
    with refusal("VERSION_CONFLICT"):
        close(join(one, imminent_danger=True), known=one.version)


def test_a_reopened_incident_is_back_in_the_queue_with_running_clocks():
    done = close(decide(mine(incident()), Level.P3))
    one = human.reopened(done, by=BEN, pack=PACK, now=LATER)
    assert (one.status, one.in_queue, one.provisional, one.level) == (IncidentStatus.OPEN, True, True, Level.P3)
    assert clock(one).state is ClockState.RUNNING
    assert clock(one).due_at == LATER + timedelta(minutes=480)
    assert one.takes_reports


def test_a_message_that_tells_of_danger_brings_a_closed_incident_back():
    done = close(decide(mine(incident()), Level.P3))
    assert message(done, Factor.VIRAL).closed
    back = message(done, Factor.SELF_HARM_ACTIVE)
    assert (back.status, back.level, back.in_queue) == (IncidentStatus.OPEN, Level.P1, True)
    assert clock(back).due_at == LATER + timedelta(minutes=15)


def test_a_closed_p1_comes_back_too():
    done = close(mine(incident(imminent_danger=True)))
    assert message(done, Factor.IMMINENT_DANGER).in_queue


def test_an_erased_incident_is_closed_and_stays_so():
    one = erased(mine(waiting()), count=1, pending=0, pack=PACK, now=LATER)
    assert (one.status, one.claimed_by, one.proposal) == (IncidentStatus.CLOSED, None, None)
    with refusal("INVALID"):
        human.reopened(one, by=ANA, pack=PACK, now=LATER)


# ---------------------------------------------------------------- links and words


def test_a_link_names_the_other_and_is_replaced_when_made_again():
    one, other = incident(), incident()
    tied = human.linked(one, other, kind=LinkKind.RELATED, by=ANA, now=LATER)
    tied = human.linked(tied, other, kind=LinkKind.DUPLICATE, by=ANA, now=LATER)
    (tie,) = event_of(tied).links
    assert (tie.incident_id, tie.kind, tie.by) == (other.id, LinkKind.DUPLICATE, "ana")
    assert human.unlinked(tied, other, by=ANA, now=LATER).links == ()


def test_an_incident_is_not_linked_to_itself_and_only_a_link_is_undone():
    one = incident()
    with refusal("INVALID"):
        human.linked(one, one, kind=LinkKind.RELATED, by=ANA, now=LATER)
    with refusal("NOT_FOUND"):
        human.unlinked(one, incident(), by=ANA, now=LATER)


def test_the_number_of_links_is_bounded():
    one = incident()
    for _ in range(human.MOST_LINKS):
        one = human.linked(one, incident(), kind=LinkKind.RELATED, by=ANA, now=LATER)
    with refusal("INVALID"):
        human.linked(one, incident(), kind=LinkKind.RELATED, by=ANA, now=LATER)


@pytest.mark.parametrize("words", ["", "  \n", "a\x00b", "x" * (human.LONGEST_WORDS + 1)])
def test_a_reason_says_something_and_not_too_much(words):
    with refusal("INVALID"):
        human.checked_words(words)
