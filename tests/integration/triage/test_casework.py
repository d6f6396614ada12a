"""People at work on a real database: one winner each, one unit for state, note, outbox and record, sealed words."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from sqlalchemy import select, text

from amparo_common.db.migrations import differences, migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.db.tables import common_metadata
from amparo_common.errors import Problem, Refused, TransientError
from amparo_common.events.types import AuditRecorded
from amparo_common.ids import reference, uuid7
from amparo_common.vocabulary.codes import Category, Factor, IncidentStatus, Lane, Level, LinkKind, Purpose, Role
from amparo_triage import repository
from amparo_triage.domain.judgement import Judgement
from amparo_triage.tables import INCIDENT, NOTE, triage_metadata

pytestmark = pytest.mark.anyio
WHY = "Her sister confirmed by telephone."
PAGE = "https://gallery.example.net/p/77"


def judgement(state, level, **fields):
    known = {
        "level": level, "category": Category.CYBERBULLYING, "secondary": None, "confirm": (), "reject": (),
        "known_version": state.version,
    }  # fmt: skip
    return Judgement(**(known | fields))


@pytest.fixture
def ana(desk):
    return desk.person("ana")


@pytest.fixture
def ben(desk):
    return desk.person("ben", Role.SUPERVISOR)


async def reported(desk, **fields):
    """Take a report and return its incident."""
    report = desk.report(**({"category": Category.CYBERBULLYING} | fields))
    await desk.take(report)
    return await found(desk, report.report_id)


async def found(desk, incident_id):
    return await desk.database.read(lambda session: repository.find_incident(session, incident_id))


async def claimed(desk, who, **fields):
    incident = await reported(desk, **fields)
    return await desk.casework.claim(incident.id, release=False, caller=who)


async def rows(desk, table):
    return await desk.database.read(lambda session: session.execute(select(*table.c)).mappings().all())


def codes(outcomes):
    return [one.refusals[0].code for one in outcomes if isinstance(one, Refused)]


def refusal(code):
    return pytest.raises(Refused, check=lambda error: error.refusals[0].code == code)


async def gathered(*calls):
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_a_command_answers_exactly_what_it_put_into_the_outbox(desk, ana):
    state = await claimed(desk, ana)
    decided = await desk.casework.decide(state.incident_id, judgement(state, Level.P2), reason=WHY, caller=ana)
    closed = await desk.casework.close(state.incident_id, expected_version=decided.version, reason=WHY, caller=ana)
    told = await desk.states()
    assert told[-3:] == [state, decided, closed]
    assert [one.change for one in told] == ["triaged", "claimed", "decided", "closed"]
    assert [one.actor_role for one in told] == [None, Role.TRIAGER, Role.TRIAGER, Role.TRIAGER]
    assert [one.version for one in told] == [1, 2, 3, 4]


async def test_every_command_is_one_audit_row_of_the_login_name_and_the_reference(desk, ana):
    state = await claimed(desk, ana)
    await desk.casework.decide(state.incident_id, judgement(state, Level.P3), reason=WHY, caller=ana)
    assert await desk.audited() == [("ana", "incident.claim", True), ("ana", "incident.decide", True)]
    entries = await desk.told(AuditRecorded)
    assert {one.subject for one in entries} == {reference("AM", of=state.incident_id)}


async def test_a_refused_command_leaves_nothing(desk, ana, ben):
    state = await claimed(desk, ana)
    told, noted = len(await desk.states()), len(await rows(desk, NOTE))
    with refusal("NOT_CLAIMED"):
        await desk.casework.decide(state.incident_id, judgement(state, Level.P3), reason=WHY, caller=ben)
    assert (len(await desk.states()), len(await rows(desk, NOTE))) == (told, noted)
    assert (await found(desk, state.incident_id)).version == state.version


# ---------------------------------------------------------------- what people wrote


async def test_words_stand_sealed_and_nowhere_else(desk, ana, ben):
    one, other = await claimed(desk, ana), await reported(desk)
    await desk.casework.link(one.incident_id, other.id, kind=LinkKind.SAME_SUBJECT, reason=WHY, caller=ana)
    tied = await found(desk, one.incident_id)
    await desk.casework.decide(one.incident_id, judgement(tied, Level.P2), reason=WHY, caller=ana)
    decided = await found(desk, one.incident_id)
    await desk.casework.close(one.incident_id, expected_version=decided.version, reason=WHY, caller=ana)
    await desk.casework.reopen(one.incident_id, reason=WHY, caller=ben)
    with sqlite3.connect(desk.path) as raw:
        dump = "\n".join(raw.iterdump())
    raw.close()
    assert WHY not in dump
    assert WHY.encode().hex().upper() not in dump.upper()
    opened = await desk.notes.read(one.incident_id, purpose=Purpose.QUALITY_REVIEW, caller=ben)
    assert [(note.by, note.kind) for note in opened.notes] == [
        ("ana", "link"), ("ana", "decision"), ("ana", "closing"), ("ben", "re-opening"),
    ]  # fmt: skip
    assert {note.text for note in opened.notes} == {WHY}
    assert [(link.incident_id, link.reason) for link in opened.links] == [(other.id, WHY)]
    assert WHY not in repr(opened)


async def test_reading_notes_is_one_audit_row_with_its_purpose(desk, ana):
    state = await claimed(desk, ana)
    await desk.notes.read(state.incident_id, purpose=Purpose.LEGAL_REQUEST, caller=ana)
    (entry,) = [one for one in await desk.told(AuditRecorded) if one.action == "incident.notes"]
    assert (entry.actor, entry.purpose, entry.allowed) == ("ana", Purpose.LEGAL_REQUEST, True)


async def test_evidence_tells_where_a_proposal_rests(desk, ana):
    words = "They mock her in the chat. She says: I want to kill myself."
    incident = await reported(desk, text=words)
    opened = await desk.notes.read(incident.id, purpose=Purpose.TRIAGE, caller=ana)
    passages = {one.factor: words[one.start : one.stop] for one in opened.evidence}
    assert "kill myself" in passages[Factor.SELF_HARM_ACTIVE]


async def test_nothing_is_decided_on_an_erased_incident_and_its_notes_are_gone(desk, ana):
    first = desk.report(category=Category.CYBERBULLYING, urls=(PAGE,))
    second = desk.report(category=Category.CYBERBULLYING, urls=(PAGE,))
    await desk.take(first, second)
    state = await desk.casework.claim(first.report_id, release=False, caller=ana)
    await desk.casework.decide(state.incident_id, judgement(state, Level.P3), reason=WHY, caller=ana)
    await desk.take(desk.erasure(first.report_id, first.report_id))
    after = await found(desk, first.report_id)
    assert not after.erased
    assert await rows(desk, NOTE) == []
    with refusal("INVALID") as caught:
        await desk.casework.decide(after.id, judgement(after, Level.P3), reason=WHY, caller=ana)
    assert "erased" in caught.value.refusals[0].message


async def test_an_erasure_between_the_key_and_the_write_refuses_the_note(desk, ana):
    state = await claimed(desk, ana)
    sealed_with = desk.keys.keys[state.incident_id]
    await desk.take(desk.erasure(state.incident_id, uuid7()))
    await desk.database.write(
        lambda connection: repository.note_erased(connection, [state.incident_id], at=desk.clock.now())
    )
    assert desk.keys.keys[state.incident_id] is sealed_with
    with refusal("INVALID"):
        await desk.casework.decide(
            state.incident_id, judgement(await found(desk, state.incident_id), Level.P3), reason=WHY, caller=ana
        )
    assert await rows(desk, NOTE) == []


async def test_without_a_key_nothing_is_stored_and_the_caller_may_try_again(desk, ana):
    state = await claimed(desk, ana)
    desk.keys.reachable = False
    with pytest.raises(TransientError):
        await desk.casework.decide(state.incident_id, judgement(state, Level.P2), reason=WHY, caller=ana)
    desk.keys.reachable = True
    decided = await desk.casework.decide(state.incident_id, judgement(state, Level.P2), reason=WHY, caller=ana)
    assert decided.version == state.version + 1


async def test_a_blank_reason_is_invalid_and_names_its_field(desk, ana):
    state = await claimed(desk, ana)
    with refusal("INVALID") as caught:
        await desk.casework.decide(state.incident_id, judgement(state, Level.P2), reason="  ", caller=ana)
    assert caught.value.refusals[0].field == "reason"


# ---------------------------------------------------------------- sight


async def test_what_is_outside_ones_countries_is_not_there_and_that_is_on_record(desk):
    incident = await reported(desk, country="BO")
    there = await reported(desk, country="GT")
    foreign = desk.person("carla", Role.SUPERVISOR, "GT")
    why = {"reason": WHY, "caller": foreign}
    calls = [
        desk.casework.claim(incident.id, release=False, caller=foreign),
        desk.casework.decide(incident.id, judgement(incident, Level.P3), **why),
        desk.casework.countersign(incident.id, approve=True, expected_version=1, **why),
        desk.casework.close(incident.id, expected_version=1, **why),
        desk.casework.reopen(incident.id, **why),
        desk.casework.link(incident.id, there.id, kind=LinkKind.RELATED, **why),
        desk.casework.link(there.id, incident.id, kind=LinkKind.RELATED, **why),
        desk.casework.unlink(there.id, incident.id, **why),
        desk.casework.claimed_by(incident.id, caller=foreign),
        desk.notes.read(incident.id, purpose=Purpose.TRIAGE, caller=foreign),
    ]
    for call in calls:
        with pytest.raises(Problem) as hidden:
            await call
        assert (hidden.value.status, hidden.value.slug) == (404, "incident-unknown")
    recorded = await desk.audited()
    assert len(recorded) == len(calls)
    assert not any(allowed for _, _, allowed in recorded)
    assert (await found(desk, incident.id)).version == 1
    with pytest.raises(Problem) as unknown:
        await desk.casework.claim(uuid7(), release=False, caller=foreign)
    assert unknown.value.body() == hidden.value.body()
    asked = desk.keys.calls
    with pytest.raises(Problem):
        await desk.casework.decide(incident.id, judgement(incident, Level.P3), **why)
    assert desk.keys.calls == asked, "no key is asked for what the caller may not see"


async def test_an_agent_reads_notes_of_what_it_reported_only(desk):
    agent = desk.person("agent", Role.AGENT)
    own = await reported(desk, owner=agent.owner)
    other = await reported(desk)
    await desk.notes.read(own.id, purpose=Purpose.REPORTER_CONTACT, caller=agent)
    with pytest.raises(Problem):
        await desk.notes.read(other.id, purpose=Purpose.REPORTER_CONTACT, caller=agent)


# ---------------------------------------------------------------- claim next


async def test_the_next_incident_is_the_first_free_one_in_queue_order(desk, ana):
    mild = await reported(desk, category=Category.FRAUD_COMMERCIAL)
    late = {"received_at": desk.clock.now().replace(minute=1), "factors": (Factor.UNDER13, Factor.VIRAL)}
    urgent_late = await reported(desk, imminent_danger=True, **late)
    urgent = await reported(desk, imminent_danger=True)
    heavier = await reported(desk, imminent_danger=True, factors=(Factor.UNDER13,))
    middle = await reported(desk)
    order = [await desk.casework.claim_next(lane=None, caller=ana) for _ in range(6)]
    expected = [heavier.id, urgent.id, urgent_late.id, middle.id, mild.id, None]
    assert [one and one.incident_id for one in order] == expected
    assert order[0].status is IncidentStatus.IN_REVIEW
    assert (await desk.states())[-5:] == order[:5]


async def test_the_next_incident_is_of_the_lane_and_countries_asked_for(desk):
    standard = await reported(desk, country="GT")
    await reported(desk, country="BO", imminent_danger=True)
    carla = desk.person("carla", Role.TRIAGER, "GT")
    assert await desk.casework.claim_next(lane=Lane.URGENT, caller=carla) is None
    assert (await desk.casework.claim_next(lane=Lane.STANDARD, caller=carla)).incident_id == standard.id
    nobody = desk.person("nobody", Role.TRIAGER, "ZZ")
    assert await desk.casework.claim_next(lane=None, caller=nobody) is None


async def test_decided_closed_and_claimed_incidents_are_not_next_and_lapsed_claims_are(desk, ana, ben):
    state = await claimed(desk, ana)
    assert await desk.casework.claim_next(lane=None, caller=ben) is None
    desk.wait(minutes=30)
    taken = await desk.casework.claim_next(lane=None, caller=ben)
    assert (taken.incident_id, taken.claimed_by) == (state.incident_id, "ben")
    decided = await desk.casework.decide(taken.incident_id, judgement(taken, Level.P3), reason=WHY, caller=ben)
    assert not decided.provisional
    desk.wait(hours=1)
    assert await desk.casework.claim_next(lane=None, caller=ana) is None
    await desk.casework.claim(taken.incident_id, release=False, caller=ana)
    current = await found(desk, taken.incident_id)
    await desk.casework.close(current.id, expected_version=current.version, reason=WHY, caller=ana)
    assert await desk.casework.claim_next(lane=None, caller=ana) is None
    await desk.casework.reopen(current.id, reason=WHY, caller=ben)
    assert (await desk.casework.claim_next(lane=None, caller=ana)).incident_id == current.id


async def test_an_own_proposal_is_not_ones_next_work(desk, ana, ben):
    state = await claimed(desk, ana, imminent_danger=True)
    await desk.casework.decide(state.incident_id, judgement(state, Level.P3), reason=WHY, caller=ana)
    await desk.casework.claim(state.incident_id, release=True, caller=ana)
    assert await desk.casework.claim_next(lane=None, caller=ana) is None
    assert (await desk.casework.claim_next(lane=None, caller=ben)).awaiting_signature


async def test_many_callers_at_once_get_an_incident_each(desk):
    await desk.take(*(desk.report(category=Category.CYBERBULLYING) for _ in range(12)))
    people = [desk.person(f"person{number}") for number in range(16)]
    taken = await asyncio.gather(*(desk.casework.claim_next(lane=None, caller=one) for one in people))
    ids = [one.incident_id for one in taken if one is not None]
    assert len(ids) == len(set(ids)) == 12
    for person, one in zip(people, taken, strict=True):
        assert one is None or one.claimed_by == person.name


# ---------------------------------------------------------------- races


async def test_one_of_many_claims_wins(desk):
    incident = await reported(desk)
    people = [desk.person(f"person{number}") for number in range(12)]
    outcomes = await gathered(*(desk.casework.claim(incident.id, release=False, caller=one) for one in people))
    (winner,) = [one for one in outcomes if not isinstance(one, Refused)]
    assert codes(outcomes) == ["ALREADY_CLAIMED"] * 11
    assert (await found(desk, incident.id)).claimed_by == winner.claimed_by


async def test_one_of_many_decisions_wins(desk, ana):
    state = await claimed(desk, ana)
    levels = [Level.P1, Level.P2, Level.P3, Level.P4] * 2
    outcomes = await gathered(
        *(desk.casework.decide(state.incident_id, judgement(state, level), reason=WHY, caller=ana) for level in levels)
    )
    assert codes(outcomes) == ["VERSION_CONFLICT"] * 7
    assert len(await rows(desk, NOTE)) == 1


async def test_one_of_many_signatures_wins(desk, ana):
    state = await claimed(desk, ana, imminent_danger=True)
    waiting = await desk.casework.decide(state.incident_id, judgement(state, Level.P3), reason=WHY, caller=ana)
    signers = [desk.person(f"signer{number}", Role.SUPERVISOR) for number in range(8)]
    outcomes = await gathered(
        *(
            desk.casework.countersign(
                state.incident_id,
                approve=number % 2 == 0,
                expected_version=waiting.version,
                reason=WHY,
                caller=signer,
            )
            for number, signer in enumerate(signers)
        )
    )
    assert codes(outcomes) == ["TRANSITION_NOT_ALLOWED"] * 7
    (signed,) = [one for one in outcomes if not isinstance(one, Refused)]
    assert (await found(desk, state.incident_id)).version == signed.version == waiting.version + 1


async def test_people_and_batches_at_once_lose_nothing(desk, ana):
    state = await claimed(desk, ana, urls=(PAGE,))
    joining = [desk.take(desk.report(category=Category.CYBERBULLYING, urls=(PAGE,))) for _ in range(10)]
    deciding = desk.casework.decide(state.incident_id, judgement(state, Level.P3), reason=WHY, caller=ana)
    outcomes = await gathered(*joining[:5], deciding, *joining[5:])
    assert [one for one in outcomes if isinstance(one, BaseException)] == []
    incident = await found(desk, state.incident_id)
    assert (incident.report_count, incident.human.by) == (11, "ana")
    versions = [one.version for one in await desk.states() if one.incident_id == incident.id]
    assert versions == list(range(1, incident.version + 1))


async def test_links_from_both_sides_at_once_do_not_block_each_other(desk, ana, ben):
    one, other = await reported(desk), await reported(desk)
    outcomes = await gathered(
        desk.casework.link(one.id, other.id, kind=LinkKind.RELATED, reason=WHY, caller=ana),
        desk.casework.link(other.id, one.id, kind=LinkKind.DUPLICATE, reason=WHY, caller=ben),
    )
    assert codes(outcomes) == []
    ties = [(await found(desk, one_id)).links for one_id in (one.id, other.id)]
    assert [len(tie) for tie in ties] == [1, 1]
    assert ties[0][0].kind is ties[1][0].kind


# ---------------------------------------------------------------- links


async def test_both_ends_of_a_link_change_and_are_told_of(desk, ana):
    one, other = await reported(desk), await reported(desk)
    states = await desk.casework.link(one.id, other.id, kind=LinkKind.DUPLICATE, reason=WHY, caller=ana)
    assert [state.version for state in states] == [2, 2]
    assert [state.links[0].incident_id for state in states] == [other.id, one.id]
    assert sorted((await desk.states())[-2:], key=lambda state: state.incident_id) == sorted(
        states, key=lambda state: state.incident_id
    )
    states = await desk.casework.unlink(other.id, one.id, reason=WHY, caller=ana)
    assert [state.links for state in states] == [(), ()]
    with refusal("NOT_FOUND"):
        await desk.casework.unlink(one.id, other.id, reason=WHY, caller=ana)


async def test_an_incident_is_not_linked_to_itself(desk, ana):
    one = await reported(desk)
    with refusal("INVALID"):
        await desk.casework.link(one.id, one.id, kind=LinkKind.RELATED, reason=WHY, caller=ana)
    assert (await found(desk, one.id)).version == 1


# ---------------------------------------------------------------- leases, closing, tables


async def test_lapsed_claims_are_freed_by_upkeep_and_told_of_once(desk, ana):
    states = [await claimed(desk, ana) for _ in range(3)]
    assert await desk.triage.free_lapsed_claims() == 0
    desk.wait(minutes=30)
    told = len(await desk.states())
    assert await desk.casework.claimed_by(states[0].incident_id, caller=ana) is None
    assert len(await desk.states()) == told, "asking tells nobody"
    assert await desk.triage.free_lapsed_claims() == 3
    assert await desk.triage.free_lapsed_claims() == 0
    news = (await desk.states())[told:]
    assert {(one.change, one.claimed_by, one.status) for one in news} == {("claim_lapsed", None, IncidentStatus.OPEN)}
    assert len(news) == 3


async def test_a_report_about_a_closed_incident_opens_one_of_its_own(desk, ana):
    state = await claimed(desk, ana, urls=(PAGE,))
    await desk.casework.close(state.incident_id, expected_version=state.version, reason=WHY, caller=ana)
    report = desk.report(urls=(PAGE,))
    await desk.take(report)
    assert (await found(desk, report.report_id)).report_count == 1
    assert (await found(desk, state.incident_id)).report_count == 1


async def test_a_referral_of_a_decided_incident_is_seen_in_its_status(desk, ana):
    state = await claimed(desk, ana)
    await desk.casework.decide(state.incident_id, judgement(state, Level.P3), reason=WHY, caller=ana)
    await desk.take(desk.referral(state))
    assert (await found(desk, state.incident_id)).status is IncidentStatus.REFERRED


async def test_data_of_the_first_migration_outlive_the_second(desk, tmp_path):
    incident = await reported(desk)
    await desk.database.change_schema(_back_to_first)
    await desk.database.close()
    again = await SqliteDatabase.open(desk.path, service="triage")
    try:
        await migrate(again, package="amparo_triage")
        assert await differences(again, metadata=[common_metadata, triage_metadata]) == []
        row = await again.read(lambda session: session.execute(select(*INCIDENT.c)).mappings().one())
        assert (row["id"], row["in_queue"], row["claimed_by"]) == (incident.id, True, None)
        assert await again.read(lambda session: repository.find_incident(session, incident.id)) == incident
    finally:
        await again.close()


def _back_to_first(connection):
    connection.execute(text("DROP TABLE note"))
    for index in ("incident_queue", "incident_lease"):
        connection.execute(text(f"DROP INDEX {index}"))
    for column in ("in_queue", "claimed_by", "claimed_until", "proposed_by"):
        connection.execute(text(f"ALTER TABLE incident DROP COLUMN {column}"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
