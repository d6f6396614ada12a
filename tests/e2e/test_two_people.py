"""Two people at once: every race has one winner, the others are told why, and what is read afterwards is the winner's.

The clients are processes of their own that send at the same moment over real sockets, through the gateway.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from amparo_common.settings import PORTS
from amparo_common.testing.platform import RunningPlatform, free_offset, wait_for
from amparo_common.testing.racers import Racer, race, racers

pytestmark = pytest.mark.slow

ROUNDS = 6
COUNTRY = "BO"
PEOPLE = ("triager", "supervisor", "supervisor2", "partner")
#: The two tabs of one person, or two people of one partner.
SECOND = {"triager": "triager/2", "supervisor": "supervisor/2", "partner": "partner/2"}

INCIDENT = "id reference version level status claimedBy decision { human decidedBy awaitingSignature }"
ERRORS = "errors { code message field }"
CLAIM = f"mutation($i: ClaimIncidentInput!) {{ claimIncident(input: $i) {{ incident {{ {INCIDENT} }} {ERRORS} }} }}"
NEXT = f"mutation {{ claimNextIncident(input: {{}}) {{ incident {{ {INCIDENT} }} {ERRORS} }} }}"
DECIDE = f"mutation($i: DecideTriageInput!) {{ decideTriage(input: $i) {{ incident {{ {INCIDENT} }} {ERRORS} }} }}"
SIGN = (
    f"mutation($i: CountersignTriageInput!) {{ countersignTriage(input: $i) {{ incident {{ {INCIDENT} }} {ERRORS} }} }}"
)
CLOSE = f"mutation($i: CloseIncidentInput!) {{ closeIncident(input: $i) {{ incident {{ {INCIDENT} }} {ERRORS} }} }}"
REFERRAL = "id reference version status acknowledgements { code }"
REFER = f"mutation($i: CreateReferralInput!) {{ createReferral(input: $i) {{ referral {{ {REFERRAL} }} {ERRORS} }} }}"
APPROVE = (
    f"mutation($i: ApproveReferralInput!) {{ approveReferral(input: $i) {{ referral {{ {REFERRAL} }} {ERRORS} }} }}"
)
RESPOND = (
    f"mutation($i: RespondToReferralInput!) {{ respondToReferral(input: $i) {{ referral {{ {REFERRAL} }} {ERRORS} }} }}"
)
BY_REPORT = f"query($id: ID!) {{ incidentByReport(reportId: $id) {{ {INCIDENT} }} }}"
SENT = """
  query($id: ID!) { incidentByReport(reportId: $id) { referrals(first: 5) { edges { node { reference status } } } } }
"""
READ_REFERRAL = f"query($id: ID!) {{ referral(id: $id) {{ {REFERRAL} }} }}"
READ_PACKAGE = f"query($id: ID!) {{ referral(id: $id) {{ {REFERRAL} package {{ profile }} }} }}"
THEIRS = (
    f"query($r: String!) {{ referrals(first: 5, filter: {{reference: $r}}) {{ edges {{ node {{ {REFERRAL} }} }} }} }}"
)
PARTNERS = "query($c: String!) { partners(first: 100, country: $c) { edges { node { id name destination } } } }"
ROUTE = f"mutation($i: SetRouteInput!) {{ setRoute(input: $i) {{ partner {{ id }} {ERRORS} }} }}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform of this file's own: who claims the next incident must meet no other test's."""
    running = RunningPlatform(tmp_path_factory.mktemp("two-people") / "data", free_offset(seed=970))
    running.start()
    running.wait_ready()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def clients(house: RunningPlatform) -> Iterator[Mapping[str, Racer]]:
    names = [*PEOPLE, *SECOND.values()]
    tokens = [house.token(name.partition("/")[0]) for name in names]
    with racers(tokens, host="127.0.0.1", port=PORTS["gateway"] + house.offset) as started:
        yield dict(zip(names, started, strict=True))


def body(document: str, **given: Any) -> dict[str, Any]:
    return {"query": document, "variables": {"i": given} if given else {}}


def payload(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the one payload of a mutation that was run; faults of the graph fail the test."""
    assert answer["status"] == 200, answer
    assert "errors" not in answer["answer"], answer["answer"]
    (found,) = answer["answer"]["data"].values()
    return dict(found)


def raced(clients: Mapping[str, Racer], entries: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    answers = race([(clients[name], request) for name, request in entries.items()])
    return {name: payload(answer) for name, answer in zip(entries, answers, strict=True)}


def codes(found: dict[str, Any]) -> list[str]:
    return [error["code"] for error in found["errors"]]


def winners(outcome: Mapping[str, dict[str, Any]]) -> list[str]:
    return [name for name, found in outcome.items() if not found["errors"]]


def one_winner(outcome: Mapping[str, dict[str, Any]], *, lost: set[str]) -> str:
    """Return who won; everybody else was refused with one of the codes of `lost`."""
    (winner,) = winners(outcome)
    for name, found in outcome.items():
        if name != winner:
            assert len(found["errors"]) == 1, found
            assert codes(found)[0] in lost, found
    return winner


def run(house: RunningPlatform, user: str, document: str, **given: Any) -> dict[str, Any]:
    """Run a mutation that must succeed and return its payload."""
    reply = house.post("gateway", "/graphql", body(document, **given), user=user)
    found = payload({"status": reply.status, "answer": reply.json()})
    assert found["errors"] == [], found
    return found


def incident(house: RunningPlatform, *, urgent: bool = False, country: str = COUNTRY) -> dict[str, Any]:
    """Send a report and wait for its incident."""
    about = (
        {"category": "OFFLINE_MALTREATMENT", "factors": ["ONGOING_ABUSE"]} if urgent else {"category": "CYBERBULLYING"}
    )
    text = f"Somebody frightens her. {uuid.uuid4()}"
    report = {"channel": "web", "language": "en", "country": country, "text": text} | about
    receipt = house.post("intake", "/v1/reports", report).json()

    def known() -> dict[str, Any] | None:
        return house.query("supervisor", BY_REPORT, id=receipt["report_id"])["incidentByReport"]

    found = wait_for("the incident", known, seconds=10)
    return found | {"report": receipt["report_id"]}


def read(house: RunningPlatform, case: dict[str, Any]) -> dict[str, Any]:
    return dict(house.query("supervisor", BY_REPORT, id=case["report"])["incidentByReport"])


def claim(house: RunningPlatform, user: str, case: dict[str, Any]) -> dict[str, Any]:
    return dict(run(house, user, CLAIM, incidentId=case["id"])["incident"])


def decision(case: dict[str, Any], *, level: str, version: int) -> dict[str, Any]:
    return body(
        DECIDE, incidentId=case["id"], expectedVersion=version, level=level, category="CYBERBULLYING",
        reason=f"It looks like {level}.",
    )  # fmt: skip


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_of_three_who_claim_an_incident_one_has_it(
    house: RunningPlatform, clients: Mapping[str, Racer], turn: int
) -> None:
    case = incident(house)
    people = ("triager", "supervisor", "supervisor2")
    outcome = raced(clients, {name: body(CLAIM, incidentId=case["id"]) for name in people})

    winner = one_winner(outcome, lost={"ALREADY_CLAIMED"})

    assert outcome[winner]["incident"]["claimedBy"] == winner
    assert read(house, case)["claimedBy"] == winner
    assert read(house, case)["status"] == "IN_REVIEW"


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_three_who_ask_for_the_next_incident_get_three(
    house: RunningPlatform, clients: Mapping[str, Racer], turn: int
) -> None:
    for _ in range(3):
        incident(house)
    people = ("triager", "supervisor", "supervisor2")
    outcome = raced(clients, {name: body(NEXT) for name in people})

    assert winners(outcome) == list(people)
    got = {name: found["incident"] for name, found in outcome.items()}
    assert len({case["reference"] for case in got.values()}) == 3
    assert all(case["claimedBy"] == name for name, case in got.items())


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_of_two_decisions_on_the_same_version_one_stands(
    house: RunningPlatform, clients: Mapping[str, Racer], turn: int
) -> None:
    case = incident(house)
    claimed = claim(house, "triager", case)
    levels = {"triager": "P2", SECOND["triager"]: "P4"}
    outcome = raced(
        clients, {name: decision(case, level=level, version=claimed["version"]) for name, level in levels.items()}
    )

    winner = one_winner(outcome, lost={"VERSION_CONFLICT"})

    after = read(house, case)
    assert after["level"] == outcome[winner]["incident"]["level"] == levels[winner]
    assert (after["decision"]["human"], after["decision"]["decidedBy"]) == (True, "triager")


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_a_decision_and_a_closing_at_once_leave_one_of_them(
    house: RunningPlatform, clients: Mapping[str, Racer], turn: int
) -> None:
    case = incident(house)
    first = claim(house, "triager", case)
    run(house, "triager", DECIDE, **decision(case, level="P4", version=first["version"])["variables"]["i"])
    version = read(house, case)["version"]
    closing = body(CLOSE, incidentId=case["id"], expectedVersion=version, reason="Nothing more to do.")
    outcome = raced(clients, {"triager": decision(case, level="P2", version=version), SECOND["triager"]: closing})

    winner = one_winner(outcome, lost={"VERSION_CONFLICT", "TRANSITION_NOT_ALLOWED", "NOT_CLAIMED"})

    after = read(house, case)
    assert (after["status"] == "CLOSED") == (winner == SECOND["triager"])
    assert (after["level"] == "P2") == (winner == "triager")


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_of_two_second_signatures_one_counts(house: RunningPlatform, clients: Mapping[str, Racer], turn: int) -> None:
    case = incident(house, urgent=True)
    assert case["level"] == "P1"
    claimed = claim(house, "triager", case)
    lowered = run(house, "triager", DECIDE, **decision(case, level="P3", version=claimed["version"])["variables"]["i"])
    assert lowered["incident"]["decision"]["awaitingSignature"]
    version = read(house, case)["version"]
    verdicts = {"supervisor": True, "supervisor2": False}
    outcome = raced(
        clients,
        {
            name: body(SIGN, incidentId=case["id"], expectedVersion=version, approve=approve, reason="I looked at it.")
            for name, approve in verdicts.items()
        },
    )

    winner = one_winner(outcome, lost={"VERSION_CONFLICT", "TRANSITION_NOT_ALLOWED"})

    after = read(house, case)
    assert after["level"] == ("P3" if verdicts[winner] else "P1")
    assert not after["decision"]["awaitingSignature"]


@pytest.fixture(scope="module")
def asks_two(house: RunningPlatform) -> str:
    """A destination that gets nothing of Guatemala before a second person approved it."""
    edges = house.query("admin", PARTNERS, c="GT")["partners"]["edges"]
    partner = next(edge["node"] for edge in edges if "review" in edge["node"]["name"])
    run(
        house, "admin", ROUTE, country="GT", destination="CHILD_PROTECTION_AUTHORITY", partnerId=partner["id"],
        priority=1, release="WITH_APPROVAL", enabled=True,
    )  # fmt: skip
    return "CHILD_PROTECTION_AUTHORITY"


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_of_an_approval_and_a_refusal_one_counts(
    house: RunningPlatform, clients: Mapping[str, Racer], asks_two: str, turn: int
) -> None:
    case = incident(house, country="GT")
    claimed = claim(house, "triager", case)
    run(house, "triager", DECIDE, **decision(case, level="P3", version=claimed["version"])["variables"]["i"])
    referral = packaged(house, refer(house, case, destination=asks_two))
    assert referral["status"] == "AWAITING_APPROVAL"
    verdicts = {"supervisor": True, "supervisor2": False}
    outcome = raced(
        clients,
        {
            name: body(
                APPROVE, referralId=referral["id"], expectedVersion=referral["version"], approve=approve, reason="Seen."
            )
            for name, approve in verdicts.items()
        },
    )

    winner = one_winner(outcome, lost={"VERSION_CONFLICT", "TRANSITION_NOT_ALLOWED"})

    after = house.query("supervisor", READ_REFERRAL, id=referral["id"])["referral"]
    assert (after["status"] == "REVOKED") != verdicts[winner]
    assert after["status"] != "AWAITING_APPROVAL"


def refer(house: RunningPlatform, case: dict[str, Any], *, destination: str) -> dict[str, Any]:
    """Refer as soon as referral knows of the decision."""

    def made() -> dict[str, Any] | None:
        reply = house.post(
            "gateway",
            "/graphql",
            body(REFER, incidentId=case["id"], destination=destination, lawfulBasis="VITAL_INTEREST"),
            user="triager",
        )
        return payload({"status": reply.status, "answer": reply.json()})["referral"]

    return wait_for("a referral", made, seconds=10)


def packaged(house: RunningPlatform, referral: dict[str, Any]) -> dict[str, Any]:
    """Wait for the package that is to be approved; when intake's keys come late, it has a version of its own."""

    def found() -> dict[str, Any] | None:
        now = house.query("supervisor", READ_PACKAGE, id=referral["id"])["referral"]
        return now if now["package"] else None

    return wait_for("a package", found, seconds=10)


def with_partner(house: RunningPlatform) -> dict[str, Any]:
    """Return a referral that the demo partner has received, as its people see it."""
    case = incident(house, urgent=True, country="GH")

    def reference() -> str | None:
        edges = house.query("supervisor", SENT, id=case["report"])["incidentByReport"]["referrals"]["edges"]
        return next((edge["node"]["reference"] for edge in edges if edge["node"]["status"] == "ACKNOWLEDGED"), None)

    name = wait_for("an acknowledged referral", reference, seconds=15)
    (edge,) = house.query("partner", THEIRS, r=name)["referrals"]["edges"]
    return dict(edge["node"])


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_of_a_rejection_and_a_closing_by_a_partners_people_one_counts(
    house: RunningPlatform, clients: Mapping[str, Racer], turn: int
) -> None:
    referral = with_partner(house)
    answers = {"partner": "REJECTED_NOT_COMPETENT", SECOND["partner"]: "CLOSED_ACTION_TAKEN"}
    outcome = raced(
        clients, {name: body(RESPOND, referralId=referral["id"], code=code) for name, code in answers.items()}
    )

    winner = one_winner(outcome, lost={"TRANSITION_NOT_ALLOWED"})

    after = house.query("supervisor", READ_REFERRAL, id=referral["id"])["referral"]
    assert after["status"] == {"partner": "REJECTED", SECOND["partner"]: "CLOSED"}[winner]
    assert [answer["code"] for answer in after["acknowledgements"]] == ["RECEIVED", answers[winner]]


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_an_acceptance_never_stands_behind_a_rejection(
    house: RunningPlatform, clients: Mapping[str, Racer], turn: int
) -> None:
    """A partner may reject what it accepted, and may not accept what it rejected."""
    referral = with_partner(house)
    answers = {"partner": "ACCEPTED", SECOND["partner"]: "REJECTED_JURISDICTION"}
    outcome = raced(
        clients, {name: body(RESPOND, referralId=referral["id"], code=code) for name, code in answers.items()}
    )

    after = house.query("supervisor", READ_REFERRAL, id=referral["id"])["referral"]
    taken = [answer["code"] for answer in after["acknowledgements"]]
    assert outcome[SECOND["partner"]]["errors"] == []
    assert after["status"] == "REJECTED"
    if outcome["partner"]["errors"]:
        assert codes(outcome["partner"]) == ["TRANSITION_NOT_ALLOWED"]
        assert taken == ["RECEIVED", "REJECTED_JURISDICTION"]
    else:
        assert taken == ["RECEIVED", "ACCEPTED", "REJECTED_JURISDICTION"]
