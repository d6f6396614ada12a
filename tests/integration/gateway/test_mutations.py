"""What every mutation keeps to: the table, ids by type, refusals as data, answers that the next query reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from amparo_common.auth.permissions import TABLE, Permission
from amparo_common.auth.principal import Principal
from amparo_common.events.types import PartnerChanged, TaskChanged
from amparo_common.ids import reference, uuid7
from amparo_common.vocabulary.codes import Adapter, Destination, IncidentStatus, Level, ReferralStatus, Role
from amparo_gateway.domain import Kind, global_id

pytestmark = pytest.mark.anyio

KEY, OTHER = UUID(int=1), UUID(int=2)
INCIDENT, LINKED = global_id(Kind.INCIDENT, KEY), global_id(Kind.INCIDENT, OTHER)
REFERRAL, PARTNER = global_id(Kind.REFERRAL, KEY), global_id(Kind.PARTNER, KEY)
TASK, HOLD = global_id(Kind.TASK, KEY), global_id(Kind.HOLD, KEY)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNTIL = "2026-04-01T00:00:00Z"
PEOPLE = [Role.AGENT, Role.TRIAGER, Role.SUPERVISOR, Role.PARTNER, Role.INTEGRATOR, Role.AUDITOR, Role.ADMIN]


@dataclass(frozen=True)
class Case:
    """A mutation with an input that the graph takes, and what goes to which place of the owning service."""

    permission: Permission
    fields: dict[str, Any]
    path: str
    body: dict[str, Any]
    #: The field of the payload that holds what changed.
    noun: str = "incident"
    method: str = "POST"
    #: The input field with the id of what is changed, when there is one.
    id_field: str | None = "incidentId"


OF_INCIDENT, OF_REFERRAL = f"/v1/incidents/{KEY}", f"/v1/referrals/{KEY}"
CASES = {
    "claimIncident": Case(Permission.WORK_QUEUE, {"incidentId": INCIDENT}, f"{OF_INCIDENT}/claim", {"release": False}),
    "claimNextIncident": Case(
        Permission.WORK_QUEUE, {"lane": "URGENT"}, "/v1/incidents/claim-next", {"lane": "URGENT"}, id_field=None
    ),
    "decideTriage": Case(
        Permission.WORK_QUEUE,
        {
            "incidentId": INCIDENT, "expectedVersion": 3, "level": "P2", "category": "GROOMING",
            "confirmFactors": ["ADULT_UNKNOWN"], "reason": "Seen.",
        },
        f"{OF_INCIDENT}/decision",
        {
            "expected_version": 3, "level": "P2", "category": "GROOMING", "secondary_categories": None,
            "confirm_factors": ["ADULT_UNKNOWN"], "reject_factors": None, "reason": "Seen.",
        },
    ),
    "countersignTriage": Case(
        Permission.SIGN,
        {"incidentId": INCIDENT, "expectedVersion": 3, "approve": True, "reason": "Yes."},
        f"{OF_INCIDENT}/countersignature",
        {"expected_version": 3, "approve": True, "reason": "Yes."},
    ),
    "linkIncidents": Case(
        Permission.WORK_QUEUE,
        {"incidentId": INCIDENT, "otherIncidentId": LINKED, "kind": "RELATED", "reason": "One house."},
        f"{OF_INCIDENT}/links",
        {"other_incident_id": str(OTHER), "kind": "RELATED", "reason": "One house."},
    ),
    "unlinkIncidents": Case(
        Permission.WORK_QUEUE,
        {"incidentId": INCIDENT, "otherIncidentId": LINKED, "reason": "Two houses."},
        f"{OF_INCIDENT}/links/removal",
        {"other_incident_id": str(OTHER), "reason": "Two houses."},
    ),
    "reopenIncident": Case(
        Permission.WORK_QUEUE,
        {"incidentId": INCIDENT, "reason": "New."},
        f"{OF_INCIDENT}/reopening",
        {"reason": "New."},
    ),
    "closeIncident": Case(
        Permission.WORK_QUEUE,
        {"incidentId": INCIDENT, "expectedVersion": 3, "reason": "Done."},
        f"{OF_INCIDENT}/closing",
        {"expected_version": 3, "reason": "Done."},
    ),
    "createReferral": Case(
        Permission.WORK_QUEUE,
        {"incidentId": INCIDENT, "destination": "HOTLINE", "partnerId": PARTNER, "lawfulBasis": "VITAL_INTEREST"},
        f"{OF_INCIDENT}/referrals",
        {"destination": "HOTLINE", "partner_id": str(KEY), "lawful_basis": "VITAL_INTEREST", "note": None},
        noun="referral",
    ),
    "approveReferral": Case(
        Permission.SIGN,
        {"referralId": REFERRAL, "approve": True, "reason": "Yes."},
        f"{OF_REFERRAL}/approval",
        {"expected_version": None, "approve": True, "reason": "Yes."},
        noun="referral",
        id_field="referralId",
    ),
    "respondToReferral": Case(
        Permission.RESPOND_TO_REFERRAL,
        {
            "referralId": REFERRAL, "code": "CLASSIFIED", "until": UNTIL, "forwardedTo": "HOTLINE",
            "classification": {"scheme": "s", "version": "1", "value": "v"},
        },
        f"{OF_REFERRAL}/response",
        {
            "code": "CLASSIFIED", "partner_reference": None, "note": None, "until": UNTIL, "forwarded_to": "HOTLINE",
            "classification": {"scheme": "s", "version": "1", "value": "v"},
        },
        noun="referral",
        id_field="referralId",
    ),
    "upsertPartner": Case(
        Permission.MANAGE_PARTNERS,
        {
            "id": PARTNER, "name": "A hotline", "destination": "HOTLINE", "countries": ["GT"], "languages": ["es"],
            "adapter": "WEBHOOK", "address": "https://hotline.example.org/in", "lastVerifiedAt": UNTIL,
        },
        "/v1/partners",
        {
            "id": str(KEY), "name": "A hotline", "destination": "HOTLINE", "countries": ["GT"], "languages": ["es"],
            "adapter": "WEBHOOK", "address": "https://hotline.example.org/in", "secret": None, "organisation": None,
            "accepts_emergency": None, "last_verified_at": UNTIL,
        },
        noun="partner",
        method="PUT",
        id_field="id",
    ),
    "setRoute": Case(
        Permission.MANAGE_PARTNERS,
        {"country": "GT", "destination": "HOTLINE", "partnerId": PARTNER, "priority": 10, "release": "AUTOMATIC"},
        "/v1/routes",
        {
            "country": "GT", "destination": "HOTLINE", "partner_id": str(KEY), "priority": 10, "release": "AUTOMATIC",
            "enabled": None, "categories": None, "levels": None,
        },
        noun="partner",
        method="PUT",
        id_field="partnerId",
    ),
    "completeTask": Case(
        Permission.WORK_QUEUE,
        {"taskId": TASK, "note": "They know."},
        f"/v1/tasks/{KEY}/completion",
        {"partner_reference": None, "note": "They know."},
        noun="task",
        id_field="taskId",
    ),
    "placeHold": Case(
        Permission.SIGN,
        {"incidentId": INCIDENT, "recordClasses": ["CGNAT"], "requestedBy": "Unit", "reason": "R.", "until": UNTIL},
        f"{OF_INCIDENT}/holds",
        {"record_classes": ["CGNAT"], "requested_by": "Unit", "reason": "R.", "until": UNTIL},
    ),
    "releaseHold": Case(
        Permission.SIGN,
        {"holdId": HOLD, "reason": "Over."},
        f"/v1/holds/{KEY}/release",
        {"reason": "Over."},
        id_field="holdId",
    ),
    "eraseIncident": Case(
        Permission.SIGN, {"incidentId": INCIDENT, "reason": "Asked."}, f"{OF_INCIDENT}/erasure", {"reason": "Asked."},
        noun="erased",
    ),
    "messageReporter": Case(
        Permission.WORK_QUEUE,
        {"incidentId": INCIDENT, "text": "Are you safe?", "idempotencyKey": "k"},
        f"{OF_INCIDENT}/messages",
        {"text": "Are you safe?", "idempotency_key": "k"},
    ),
}  # fmt: skip
SELECTED = {
    "incident": "incident { id version status }",
    "referral": "referral { id version status }",
    "partner": "partner { id name }",
    "task": "task { id completedBy }",
    "erased": "erased",
}
EVERY = pytest.mark.parametrize("name", CASES)


def document(name: str) -> str:
    kind = f"{name[0].upper()}{name[1:]}Input!"
    selected = SELECTED[CASES[name].noun]
    return f"mutation($input: {kind}) {{ {name}(input: $input) {{ {selected} errors {{ code message field }} }} }}"


def person_for(case: Case) -> Role:
    return next(role for role in reversed(PEOPLE) if TABLE[case.permission][role])


@pytest.fixture
def owner_urls(owning: Any) -> dict[str, str]:
    return dict.fromkeys(("intake", "triage", "referral"), owning.url)


@pytest.fixture
def answered(invented: Any) -> dict[str, Any]:
    """What the owning services answer when all is well, by the payload's noun."""
    at = invented.at
    incident = invented.incident(KEY, version=4, claimed_by="triager", status=IncidentStatus.IN_REVIEW)
    referral = invented.referral(KEY, key=KEY, version=4, status=ReferralStatus.ACCEPTED)
    partner = PartnerChanged(
        partner_id=KEY, version=4, changed_at=at, name="A hotline", destination=Destination.HOTLINE, countries=("GT",),
        languages=("es",), adapter=Adapter.WEBHOOK, organisation=None, accepts_emergency=False, last_verified_at=None,
        routes=(),
    )  # fmt: skip
    task = TaskChanged(
        task_id=KEY, version=4, changed_at=at, referral_id=KEY, incident_id=KEY, country="GT",
        kind=Adapter.PHONE_THEN_WRITTEN, created_at=at, due_at=at, instructions={"en": "Call."}, completed_at=at,
        completed_by="triager",
    )  # fmt: skip
    return {
        "incident": {"incident": incident},
        "referral": {"referral": referral},
        "partner": {"partner": partner},
        "task": {"task": task, "referral": referral},
    }


@dataclass
class Scene:
    """A gateway with services behind it that answer well."""

    gateway: Any
    owning: Any
    invented: Any
    answered: dict[str, Any]
    caller: Callable[..., Principal]

    async def ready(self, name: str) -> Case:
        """Let the services answer `name` well, and the projection know what the caller already saw."""
        return await ready(self.gateway, self.invented, self.owning, self.answered, name)


@pytest.fixture
def scene(
    gateway: Any, owning: Any, invented: Any, answered: dict[str, Any], caller: Callable[..., Principal]
) -> Scene:
    return Scene(gateway, owning, invented, answered, caller)


async def ready(gateway: Any, invented: Any, owning: Any, answered: Any, name: str) -> Case:
    case = CASES[name]
    claimed = {"claimed_by": person_for(case).lower(), "claimed_until": invented.at + timedelta(minutes=30)}
    await gateway.learn(invented.incident(KEY, version=3, **claimed))
    if name in {"placeHold", "releaseHold"}:
        owning.will(case.method, case.path, {"hold": {"hold_id": KEY, "incident_id": KEY}})
    elif name == "eraseIncident":
        owning.will(case.method, case.path, {"erased": True, "report_ids": [KEY]})
    elif name == "messageReporter":
        owning.will(case.method, case.path, {"message_id": uuid7()}, status=202)
    else:
        owning.will(case.method, case.path, answered[case.noun])
    return case


@EVERY
async def test_the_command_reaches_its_owner_as_the_seam_has_it_and_the_change_is_answered(
    scene: Scene, name: str
) -> None:
    gateway, owning, caller = scene.gateway, scene.owning, scene.caller
    case = await scene.ready(name)
    data = await gateway.data(caller(person_for(case)), document(name), input=case.fields)
    assert owning.asked == [(case.method, case.path, case.body)]
    payload = data[name]
    assert payload["errors"] == []
    expected = {
        "incident": {"id": INCIDENT, "version": 4, "status": "IN_REVIEW"},
        "referral": {"id": REFERRAL, "version": 4, "status": "ACCEPTED"},
        "partner": {"id": PARTNER, "name": "A hotline"},
        "task": {"id": TASK, "completedBy": "triager"},
        "erased": True,
    }
    if name in {"placeHold", "releaseHold", "messageReporter"}:
        assert payload["incident"] == {"id": INCIDENT, "version": 3, "status": "OPEN"}
    else:
        assert payload[case.noun] == expected[case.noun]


@EVERY
async def test_only_the_roles_of_the_table_may_use_it_and_a_denial_reaches_no_service(
    gateway: Any, owning: Any, caller: Callable[..., Principal], error_codes: Any, name: str
) -> None:
    case = CASES[name]
    for role in PEOPLE:
        answer = await gateway.ask(caller(role), document(name), input=case.fields)
        denied = not TABLE[case.permission][role]
        assert ("FORBIDDEN" in error_codes(answer)) is denied, role
        assert (answer["data"] is None) is denied, role
    allowed = [role for role in PEOPLE if TABLE[case.permission][role]]
    assert len(owning.asked) == (0 if name == "messageReporter" else len(allowed))
    query = text("SELECT role, action, subject FROM audit_entry WHERE NOT allowed")
    rows = await gateway.own.read(lambda session: {tuple(row) for row in session.execute(query)})
    subject = {
        "incidentId": reference("AM", of=KEY), "referralId": reference("RF", of=KEY)
    }.get(case.id_field or "", "graph")  # fmt: skip
    assert rows == {(role.lower(), f"Mutation.{name}", subject) for role in PEOPLE if role not in allowed}


@EVERY
async def test_an_id_of_another_type_and_an_unknown_one_are_not_found(
    gateway: Any, owning: Any, caller: Callable[..., Principal], name: str
) -> None:
    case = CASES[name]
    if case.id_field is None:
        return
    wrong = PARTNER if case.id_field == "incidentId" else INCIDENT
    person = caller(person_for(case))
    for bad in (wrong, "no-id", "", "é" * 40):
        data = await gateway.data(person, document(name), input=case.fields | {case.id_field: bad})
        assert [(one["code"], one["field"]) for one in data[name]["errors"]] == [("NOT_FOUND", case.id_field)]
        assert not data[name][case.noun]
    assert owning.asked == []
    data = await gateway.data(person, document(name), input=case.fields)  # a service answers 404
    field = "otherIncidentId" if name in {"linkIncidents", "unlinkIncidents"} else case.id_field
    assert [(one["code"], one["field"]) for one in data[name]["errors"]] == [("NOT_FOUND", field)]


@EVERY
async def test_a_refusal_of_the_owner_comes_as_data(scene: Scene, name: str) -> None:
    gateway, owning, caller = scene.gateway, scene.owning, scene.caller
    case = await scene.ready(name)
    owning.will_refuse(case.method, case.path, "TRANSITION_NOT_ALLOWED", "expected_version")
    data = await gateway.data(caller(person_for(case)), document(name), input=case.fields)
    error = {"code": "TRANSITION_NOT_ALLOWED", "message": "A rule says no.", "field": "expectedVersion"}
    assert data[name]["errors"] == [error]
    assert not data[name][case.noun]


@EVERY
async def test_an_owner_that_does_not_answer_makes_it_unavailable_without_words(
    scene: Scene, error_codes: Any, name: str
) -> None:
    case = await scene.ready(name)
    scene.owning.will(case.method, case.path, {"detail": "a secret of ours"}, status=500)
    answer = await scene.gateway.ask(scene.caller(person_for(case)), document(name), input=case.fields)
    assert error_codes(answer) == ["UNAVAILABLE"]
    assert "secret" not in str(answer)


async def test_wrong_fields_are_named_as_the_input_names_them(gateway: Any, owning: Any, caller: Any) -> None:
    errors = [
        {"pointer": "/requested_by", "detail": "must have at least 1 characters"},
        {"pointer": "/record_classes/0", "detail": "must be one of LOGIN"},
    ]
    owning.will(
        "POST", f"{OF_INCIDENT}/holds", {"type": "urn:amparo:problem:invalid-body", "errors": errors}, status=422
    )
    data = await gateway.data(caller(Role.SUPERVISOR), document("placeHold"), input=CASES["placeHold"].fields)
    assert data["placeHold"]["errors"] == [
        {"code": "INVALID", "message": "It must have at least 1 characters.", "field": "requestedBy"},
        {"code": "INVALID", "message": "It must be one of LOGIN.", "field": "recordClasses.0"},
    ]


async def test_a_token_that_ran_out_underway_is_told_as_such(
    gateway: Any, owning: Any, caller: Any, error_codes: Any
) -> None:
    owning.will("POST", f"{OF_INCIDENT}/claim", {"type": "urn:amparo:problem:invalid-token"}, status=401)
    answer = await gateway.ask(caller(Role.TRIAGER), document("claimIncident"), input={"incidentId": INCIDENT})
    assert error_codes(answer) == ["UNAUTHENTICATED"]


# ------------------------------------------------------------------ reading one's own writes


SEEN = (
    "query($id: ID!) { incident(id: $id) { version level claimedBy history(first: 9) { edges { node { version } } } } }"
)


async def test_a_query_right_after_a_command_reads_what_it_answered(
    gateway: Any, invented: Any, owning: Any, caller: Any
) -> None:
    await gateway.learn(invented.incident(KEY, version=3))
    owning.will("POST", f"{OF_INCIDENT}/claim", {"incident": invented.incident(KEY, version=4, claimed_by="triager")})
    await gateway.data(caller(Role.TRIAGER), document("claimIncident"), input={"incidentId": INCIDENT})
    seen = (await gateway.data(caller(Role.TRIAGER), SEEN, id=INCIDENT))["incident"]
    assert (seen["version"], seen["claimedBy"]) == (4, "triager")
    assert [edge["node"]["version"] for edge in seen["history"]["edges"]] == [3, 4]


async def test_the_command_leaves_the_bytes_that_the_event_would(
    gateway: Any, invented: Any, owning: Any, caller: Any
) -> None:
    after = invented.incident(KEY, version=4, claimed_by="triager", owners=("agent:1",))
    owning.will("POST", f"{OF_INCIDENT}/claim", {"incident": after})
    await gateway.data(caller(Role.TRIAGER), document("claimIncident"), input={"incidentId": INCIDENT})
    commanded = await rows_of(gateway)
    await gateway.learn(after)
    assert await rows_of(gateway) == commanded
    await gateway.projection.write(lambda connection: connection.execute(text("DELETE FROM incident")) and None)
    await gateway.projection.write(lambda connection: connection.execute(text("DELETE FROM incident_history")) and None)
    await gateway.learn(after)
    assert await rows_of(gateway) == commanded


async def rows_of(gateway: Any) -> list[Any]:
    def rows(session: Any) -> list[Any]:
        tables = ("incident", "incident_history", "incident_owner")
        return [[tuple(row) for row in session.execute(text(f"SELECT * FROM {name}"))] for name in tables]  # noqa: S608

    return await gateway.projection.read(rows)


async def test_an_answer_that_was_overtaken_never_takes_back_what_is_newer(
    gateway: Any, invented: Any, owning: Any, caller: Any
) -> None:
    await gateway.learn(invented.incident(KEY, version=7, level=Level.P1))
    owning.will("POST", f"{OF_INCIDENT}/claim", {"incident": invented.incident(KEY, version=4, level=Level.P3)})
    data = await gateway.data(caller(Role.TRIAGER), document("claimIncident"), input={"incidentId": INCIDENT})
    assert data["claimIncident"]["incident"]["version"] == 7


async def test_two_commands_of_one_document_each_answer_what_they_changed(
    gateway: Any, invented: Any, owning: Any, caller: Any
) -> None:
    owning.will("POST", f"{OF_INCIDENT}/claim", {"incident": invented.incident(KEY, version=4)})
    owning.will("POST", f"{OF_INCIDENT}/reopening", {"incident": invented.incident(KEY, version=5)})
    both = """mutation($id: ID!) {
        a: claimIncident(input: {incidentId: $id}) { incident { version } }
        b: reopenIncident(input: {incidentId: $id, reason: "New."}) { incident { version } }
    }"""
    data = await gateway.data(caller(Role.TRIAGER), both, id=INCIDENT)
    assert [data[name]["incident"]["version"] for name in "ab"] == [4, 5]


async def test_linking_shows_on_both_incidents_at_once(gateway: Any, invented: Any, owning: Any, caller: Any) -> None:
    both = {"incident": invented.incident(KEY, version=4), "other": invented.incident(OTHER, version=9)}
    owning.will("POST", f"{OF_INCIDENT}/links", both)
    await gateway.data(caller(Role.TRIAGER), document("linkIncidents"), input=CASES["linkIncidents"].fields)
    seen = (await gateway.data(caller(Role.TRIAGER), SEEN, id=LINKED))["incident"]
    assert seen["version"] == 9


async def test_nothing_free_to_claim_is_no_error(gateway: Any, owning: Any, caller: Any) -> None:
    owning.will("POST", "/v1/incidents/claim-next", {"incident": None})
    data = await gateway.data(caller(Role.TRIAGER), document("claimNextIncident"), input={})
    assert data["claimNextIncident"] == {"incident": None, "errors": []}
    assert owning.asked == [("POST", "/v1/incidents/claim-next", {"lane": None})]


async def test_an_answer_of_another_shape_is_masked(gateway: Any, owning: Any, caller: Any, error_codes: Any) -> None:
    for strange in ({"incident": {"text": "what a child wrote"}}, ["what a child wrote"], {}):
        owning.will("POST", f"{OF_INCIDENT}/claim", strange)
        answer = await gateway.ask(caller(Role.TRIAGER), document("claimIncident"), input={"incidentId": INCIDENT})
        assert error_codes(answer) == ["UNAVAILABLE"]
        assert "child" not in str(answer)


async def test_what_the_caller_may_not_see_is_not_shown_by_a_payload(
    gateway: Any, invented: Any, owning: Any, caller: Any
) -> None:
    owning.will("POST", f"{OF_INCIDENT}/claim", {"incident": invented.incident(KEY, version=4, country="GT")})
    elsewhere = caller(Role.TRIAGER, countries=frozenset({"CD"}))
    data = await gateway.data(elsewhere, document("claimIncident"), input={"incidentId": INCIDENT})
    assert data["claimIncident"]["incident"] is None


# ------------------------------------------------------------------ messages ask for the claim


@pytest.mark.parametrize(
    ("holder", "for_how_long", "allowed"),
    [
        ("triager", timedelta(minutes=1), True),
        ("triager", timedelta(0), False),
        ("supervisor", timedelta(minutes=1), False),
        (None, None, False),
    ],
)
async def test_only_who_holds_the_claim_writes_to_a_reporter(
    scene: Scene, holder: str | None, for_how_long: timedelta | None, allowed: bool
) -> None:
    gateway, owning, caller = scene.gateway, scene.owning, scene.caller
    until = NOON + for_how_long if for_how_long is not None else None
    await gateway.learn(scene.invented.incident(KEY, version=3, claimed_by=holder, claimed_until=until))
    owning.will("POST", f"{OF_INCIDENT}/messages", {"message_id": uuid7()}, status=202)
    data = await gateway.data(caller(Role.TRIAGER), document("messageReporter"), input=CASES["messageReporter"].fields)
    errors = [(one["code"], one["field"]) for one in data["messageReporter"]["errors"]]
    assert errors == ([] if allowed else [("NOT_CLAIMED", "incidentId")])
    assert len(owning.asked) == int(allowed)
