"""The tables that people's commands are judged by."""

from __future__ import annotations

import pytest

from amparo_common.vocabulary.codes import Adapter, Destination, LawfulBasis
from amparo_referral.domain.lawfulness import TABLE, why_not
from amparo_referral.domain.routes import WORKED_BY_MACHINE
from amparo_referral.domain.tasks import Errand, for_person, instructions


@pytest.mark.parametrize("destination", list(Destination))
def test_every_kind_of_body_can_be_referred_to_on_some_basis(destination: Destination) -> None:
    assert any(why_not(basis, to=destination) is None for basis in LawfulBasis)


@pytest.mark.parametrize("basis", list(LawfulBasis))
def test_whoever_protects_a_child_in_danger_takes_a_vital_interest(basis: LawfulBasis) -> None:
    assert why_not(LawfulBasis.VITAL_INTEREST, to=Destination.LAW_ENFORCEMENT) is None
    assert why_not(basis, to=Destination.EMERGENCY_SERVICES) is None


def test_a_helpline_needs_a_yes_or_the_childs_best_interest() -> None:
    fits = {basis for basis in LawfulBasis if why_not(basis, to=Destination.CHILD_HELPLINE) is None}
    assert fits == {LawfulBasis.CONSENT, LawfulBasis.BEST_INTEREST_OVERRIDE}


def test_every_no_has_its_reason() -> None:
    for destination, row in TABLE.items():
        for basis in set(LawfulBasis) - row.fits:
            assert why_not(basis, to=destination) == row.reason
            assert row.reason.endswith(".")


@pytest.mark.parametrize("adapter", [adapter for adapter in Adapter if adapter not in WORKED_BY_MACHINE])
@pytest.mark.parametrize("errand", list(Errand))
def test_each_errand_of_each_adapter_is_told_in_three_languages(adapter: Adapter, errand: Errand) -> None:
    told = instructions(adapter, errand)
    assert set(told) == {"en", "es", "fr"}
    assert len(set(told.values())) == 3
    assert all("{" not in words for words in told.values())


def test_a_machine_gets_no_task_and_an_unknown_partner_none_either() -> None:
    assert not any(for_person(adapter) for adapter in (*WORKED_BY_MACHINE, None))
