"""Keyed hashes and kept receipts: equal after a restart, useless without the master key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from amparo_common.crypto.provider import FileKeyProvider
from amparo_common.crypto.sealing import SealBrokenError
from amparo_common.vocabulary.codes import Lane
from amparo_intake.keyed import IntakeSecrets, Receipt

RECEIPT = Receipt(
    report_id=UUID("01970000-0000-7000-8000-000000000001"),
    case_code="4821 7730 1195 6642",
    lane=Lane.URGENT,
    received_at=datetime(2026, 11, 24, 6, 0, tzinfo=UTC),
)


def secrets(path: Path) -> IntakeSecrets:
    return IntakeSecrets(FileKeyProvider.open(path))


def test_a_case_code_is_found_however_it_is_typed_and_after_a_restart(tmp_path: Path) -> None:
    first, again = secrets(tmp_path / "key"), secrets(tmp_path / "key")

    assert first.case_hash("4821 7730 1195 6642") == again.case_hash("4821773011956642")
    assert first.case_hash("4821-7730-1195-6642") == again.case_hash(" 4821 77301195 6642 ")
    assert first.case_hash("4821 7730 1195 6643") != again.case_hash("4821 7730 1195 6642")


@pytest.mark.parametrize("code", ["", "4821", "4821 7730 1195 664x", "٤٨٢١ ٧٧٣٠ ١١٩٥ ٦٦٤٢"])
def test_what_is_no_case_code_has_no_hash(tmp_path: Path, code: str) -> None:
    assert secrets(tmp_path / "key").case_hash(code) is None


def test_another_master_key_gives_other_hashes(tmp_path: Path) -> None:
    one, other = secrets(tmp_path / "one"), secrets(tmp_path / "other")

    assert one.case_hash(RECEIPT.case_code) != other.case_hash(RECEIPT.case_code)


def test_the_same_key_of_two_callers_is_two_keys(tmp_path: Path) -> None:
    mine = secrets(tmp_path / "key")

    assert mine.key_hash("k", caller="") != mine.key_hash("k", caller="agent")
    assert mine.key_hash("b", caller="a") != mine.key_hash("", caller="ab")


def test_a_kept_receipt_opens_for_its_own_request_only(tmp_path: Path) -> None:
    mine = secrets(tmp_path / "key")
    key_hash = mine.key_hash("k", caller="")
    sealed = mine.seal_receipt(RECEIPT, key_hash=key_hash)

    assert mine.open_receipt(sealed, key_hash=key_hash) == RECEIPT
    assert b"4821" not in sealed
    with pytest.raises(SealBrokenError):
        mine.open_receipt(sealed, key_hash=mine.key_hash("other", caller=""))


def test_no_text_shows_a_case_code(tmp_path: Path) -> None:
    assert "4821" not in repr(RECEIPT)
    assert repr(secrets(tmp_path / "key")) == "IntakeSecrets(hidden)"
