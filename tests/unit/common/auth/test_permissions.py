"""The access table of the public contract, cell by cell."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from amparo_common.auth.permissions import COVERS, TABLE, Permission, Reach, markdown, reach
from amparo_common.auth.principal import ANONYMOUS, Principal
from amparo_common.vocabulary.codes import Role

COLUMNS = ("agent", "triager", "supervisor", "partner", "integrator", "auditor", "admin")
#: The table as the contract prints it; `*` stands for "within the claim `countries`".
CONTRACT = {
    Permission.READ_ME: "+ + + + + + +",
    Permission.READ_NODE: "+ + + + + + +",
    Permission.REPORT_INCIDENT: "+ + + + + + +",
    Permission.READ_INCIDENTS: "own * * - own - -",
    Permission.READ_SENSITIVE: "own * * - - - -",
    Permission.READ_HISTORY: "own * * - - - -",
    Permission.READ_REFERRALS: "- * * org - - -",
    Permission.READ_PACKAGE: "- * * org - - -",
    Permission.READ_PARTNERS: "- + + - - - +",
    Permission.READ_STATISTICS: "- * * - + + +",
    Permission.READ_AUDIT: "- - + - - + -",
    Permission.WORK_QUEUE: "- * * - - - -",
    Permission.SIGN: "- - * - - - -",
    Permission.RESPOND_TO_REFERRAL: "- - * org - - -",
    Permission.MANAGE_PARTNERS: "- - - - - - +",
}
MEANS = {"+": Reach.ALL, "-": Reach.NONE, "own": Reach.OWN, "*": Reach.COUNTRIES, "org": Reach.ORGANISATION}
CELLS = [
    (permission, Role(role.upper()), MEANS[cell])
    for permission, row in CONTRACT.items()
    for role, cell in zip(COLUMNS, row.split(), strict=True)
]


def principal(*roles: Role, **changed: object) -> Principal:
    given: dict[str, object] = {
        "subject": "sub-1",
        "name": "someone",
        "roles": frozenset(roles),
        "azp": "amparo-cli",
        "expires_at": datetime(2026, 11, 24, tzinfo=UTC),
        "token": "secret-token",
    }
    return Principal(**(given | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(("permission", "role", "expected"), CELLS)
def test_a_role_reaches_as_far_as_the_contract_says(permission: Permission, role: Role, expected: Reach) -> None:
    assert principal(role).may(permission) is expected


def test_every_permission_has_every_role_and_says_what_it_covers() -> None:
    assert set(TABLE) == set(COVERS) == set(Permission)
    assert all(set(row) == set(Role) for row in TABLE.values())


def test_any_role_may_post_a_report_and_only_services_fetch_data_keys() -> None:
    assert set(TABLE[Permission.SUBMIT_REPORT].values()) == {Reach.ALL}
    assert [role for role, how_far in TABLE[Permission.FETCH_DATA_KEYS].items() if how_far] == [Role.SERVICE]


def test_the_nameless_and_machines_read_no_case() -> None:
    case = {p for p in Permission if p.name.startswith("READ_") or p in {Permission.WORK_QUEUE, Permission.SIGN}}
    for role in (Role.ANONYMOUS, Role.SERVICE, Role.REPORTER_APP):
        assert not [permission for permission in case if TABLE[permission][role]]


def test_several_roles_reach_as_far_as_the_farthest() -> None:
    assert reach(Permission.READ_INCIDENTS, {Role.AGENT, Role.TRIAGER}) is Reach.COUNTRIES
    assert reach(Permission.READ_INCIDENTS, {Role.AUDITOR, Role.AGENT}) is Reach.OWN
    assert reach(Permission.READ_INCIDENTS, ()) is Reach.NONE


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TABLE[Permission.SIGN][Role.AGENT] = Reach.ALL  # type: ignore[index]


def test_the_page_has_a_row_for_each_permission() -> None:
    lines = markdown().splitlines()
    assert len(lines) == len(Permission) + 2
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("who", "owner"),
    [
        (principal(Role.AGENT), "agent:sub-1"),
        (principal(Role.INTEGRATOR), "integrator:sub-1"),
        (principal(Role.INTEGRATOR, organisation="operator"), "integrator:operator"),
        (
            principal(Role.INTEGRATOR, organisation="operator", azp="crm", name="service-account-crm"),
            "integrator:crm",
        ),
        (principal(Role.INTEGRATOR, azp="crm", name="service-account-other"), "integrator:sub-1"),
        (principal(Role.TRIAGER), None),
        (principal(Role.PARTNER, organisation="hotline"), None),
        (ANONYMOUS, None),
    ],
)
def test_reports_belong_to_who_sent_them(who: Principal, owner: str | None) -> None:
    assert who.owner == owner


def test_countries_are_a_list_or_all_and_nothing_when_absent() -> None:
    assert principal(Role.TRIAGER, countries=frozenset({"BO"})).sees_country("BO")
    assert not principal(Role.TRIAGER, countries=frozenset({"BO"})).sees_country("GT")
    assert principal(Role.TRIAGER, countries=frozenset({"*"})).sees_country("GT")
    assert not principal(Role.TRIAGER).sees_country("BO")


def test_the_most_telling_role_speaks() -> None:
    assert principal(Role.AUDITOR, Role.SUPERVISOR).role is Role.SUPERVISOR
    assert principal().role is Role.ANONYMOUS
    assert ANONYMOUS.role is Role.ANONYMOUS


def test_the_token_is_not_printed() -> None:
    assert "secret-token" not in repr(principal(Role.AGENT))
