from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from amparo_common import audit, dead_letters, outbox
from amparo_common.log.port import Record

pytestmark = pytest.mark.anyio
PAGE = "/v1/dead-letters"
CANARY = b"Zanzibaro"
REASON = {"json": {"reason": "the decoder was mended"}}


def poison(*, offset: int = 7, kind: bytes = b"org.amparo.report.received.v1", event_id: UUID | None = None) -> Record:
    event_id = event_id or uuid4()
    headers = (("ce_id", str(event_id).encode()), ("ce_type", kind), ("stranger", CANARY))
    return Record(
        topic="amparo.reports.urgent", partition=2, offset=offset, key=CANARY, value=CANARY * 3, headers=headers,
        appended_at_ms=0,
    )  # fmt: skip


async def waiting(operated) -> list[dict]:
    return (await operated.get(PAGE, role="admin"))["dead_letters"]


async def test_a_list_tells_where_a_record_stood_and_why_it_failed_but_nothing_it_holds(operated):
    event_id = uuid4()
    await operated.bury([poison(event_id=event_id)])
    reply = await operated.ask("GET", PAGE, role="admin")
    (letter,) = reply.json()["dead_letters"]

    assert letter["topic"] == "amparo.reports.urgent"
    assert (letter["partition"], letter["offset"], letter["attempt"]) == (2, 7, 1)
    assert (letter["reason"], letter["state"]) == ("handler_failed:KeyError", "waiting")
    assert (letter["event_type"], letter["event_id"]) == ("org.amparo.report.received.v1", str(event_id))
    assert (letter["key_bytes"], letter["value_bytes"]) == (9, 27)
    shown = await operated.ask("GET", f"{PAGE}/{letter['id']}", role="admin")
    assert shown.json() == letter
    assert CANARY not in reply.content + shown.content


async def test_a_type_that_a_stranger_wrote_is_not_shown(operated):
    await operated.bury([poison(kind=b"org.amparo." + CANARY), poison(kind=b"\xff")])
    assert [letter["event_type"] for letter in await waiting(operated)] == [None, None]


async def test_pages_follow_each_other_without_gap_or_repeat(operated):
    await operated.bury([poison(offset=offset) for offset in range(7)])
    offsets, path = [], f"{PAGE}?limit=3"
    while path:
        page = await operated.get(path, role="admin")
        assert page["waiting"] == 7
        offsets += [letter["offset"] for letter in page["dead_letters"]]
        path = f"{PAGE}?limit=3&after={page['next']}" if page["next"] else None
    assert offsets == list(range(7))


async def test_a_replay_publishes_the_original_bytes_one_attempt_higher_and_is_on_record(operated):
    await operated.bury([record := poison()])
    (letter,) = await waiting(operated)

    reply = await operated.ask("POST", f"{PAGE}/{letter['id']}/replay", role="admin", **REASON)

    assert reply.status_code == 200
    assert (reply.json()["state"], reply.json()["settled_because"]) == ("replayed", "the decoder was mended")
    assert reply.json()["reason"] == "handler_failed:KeyError"
    records = [one.record for one in await operated.database.read(lambda session: outbox.take(session, 10))]
    again = next(one for one in records if one.topic == record.topic)
    assert (again.key, again.value) == (record.key, record.value)
    assert again.headers == (*record.headers, ("amparo_attempt", b"2"))
    assert any(b'"dead_letter.replay"' in one.value and b'"admin"' in one.value for one in records)
    assert not any(b"mended" in one.value for one in records)
    assert (await operated.database.read(lambda session: audit.verify(session, service="triage"))).size == 1


async def test_a_discarded_record_is_wiped_and_its_reason_kept(operated):
    await operated.bury([poison()])
    (letter,) = await waiting(operated)

    reply = await operated.ask("POST", f"{PAGE}/{letter['id']}/discard", role="admin", **REASON)

    assert (reply.json()["state"], reply.json()["value_bytes"]) == ("discarded", 0)
    assert reply.json()["settled_because"] == "the decoder was mended"
    assert await waiting(operated) == []


async def test_a_settled_letter_is_not_settled_again(operated):
    await operated.bury([poison()])
    (letter,) = await waiting(operated)
    path = f"{PAGE}/{letter['id']}"
    answers = [await operated.ask("POST", f"{path}/{how}", role="admin", **REASON) for how in ("discard", "replay")]

    assert [reply.status_code for reply in answers] == [200, 409]
    assert answers[1].json()["type"] == "urn:amparo:problem:already-settled"
    kept = await operated.database.read(lambda session: dead_letters.find(session, UUID(letter["id"])))
    assert kept is not None
    assert kept.state == "discarded"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b'{"reason": ""}', b'{"reason": "  "}', b'{"reason": 3}', b'{"reason": "a\\nb"}',
     b'{"reason": "a", "more": 1}', b"\xff", b'{"reason": "' + b"x" * 501 + b'"}', b"[" * 9_000],
)  # fmt: skip
async def test_a_reason_of_one_line_is_required(operated, body):
    await operated.bury([poison()])
    (letter,) = await waiting(operated)
    parts = {"content": body, "headers": {"authorization": "Bearer admin", "content-type": "application/json"}}
    reply = await operated.http.request("POST", f"{PAGE}/{letter['id']}/discard", **parts)

    assert reply.status_code == 422
    assert [error["pointer"] for error in reply.json()["errors"]] == ["/reason"]
    assert len(await waiting(operated)) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=-1", "limit=", "after=x", "after=%FF"])
async def test_a_page_that_makes_no_sense_is_refused(operated, query):
    assert (await operated.ask("GET", f"{PAGE}?{query}", role="admin")).status_code == 422


@pytest.mark.parametrize("letter_id", ["x", "00000000-0000-7000-8000-000000000000"])
async def test_a_letter_that_is_not_here_is_not_found(operated, letter_id):
    await operated.get(f"{PAGE}/{letter_id}", role="admin", status=404)
