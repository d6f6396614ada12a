"""The master key file: private, durable, rotated without losing a report."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from amparo_common.crypto.provider import FileKeyProvider, KeyFileError
from amparo_common.crypto.sealing import SealBrokenError, new_data_key

DATA_KEY = new_data_key().raw()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "master.json"


def test_a_missing_file_is_made_with_a_random_key_that_only_the_owner_may_read(path: Path, tmp_path: Path) -> None:
    FileKeyProvider.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["master.json"]
    other = FileKeyProvider.open(tmp_path / "other.json")
    assert other.derive("a") != FileKeyProvider.open(path).derive("a")


def test_a_key_file_opened_again_unwraps_and_derives_the_same(path: Path) -> None:
    first = FileKeyProvider.open(path)
    wrapped = first.wrap(DATA_KEY, context=b"report")
    again = FileKeyProvider.open(path)
    assert again.unwrap(wrapped, context=b"report") == DATA_KEY
    assert again.derive("blind-index") == first.derive("blind-index")


def test_each_purpose_has_a_secret_of_its_own(path: Path) -> None:
    provider = FileKeyProvider.open(path)
    secrets = [provider.derive(purpose) for purpose in ("blind-index", "case-code", "audit-signing", "receipt", "")]
    assert len(set(secrets)) == len(secrets)
    assert {len(secret) for secret in secrets} == {32}
    assert not any(secret in path.read_bytes() for secret in secrets)


def test_a_wrapped_key_opens_for_its_report_only(path: Path) -> None:
    provider = FileKeyProvider.open(path)
    wrapped = provider.wrap(DATA_KEY, context=b"report 1")
    with pytest.raises(SealBrokenError):
        provider.unwrap(wrapped, context=b"report 2")


@given(data=st.data())
def test_any_flipped_bit_of_a_wrapped_key_is_detected(data: st.DataObject, tmp_path_factory: object) -> None:
    provider = FileKeyProvider.open(_shared_file(tmp_path_factory))
    wrapped = bytearray(provider.wrap(DATA_KEY, context=b"r"))
    bit = data.draw(st.integers(0, 8 * len(wrapped) - 1))
    wrapped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBrokenError):
        provider.unwrap(bytes(wrapped), context=b"r")


def _shared_file(factory: object) -> Path:
    return factory.getbasetemp() / "flipped-bits" / "master.json"


@pytest.mark.parametrize("wrapped", [b"", b"\x01", b"\x01\0\0\0\x01" + bytes(20), bytes(65)])
def test_what_is_no_wrapped_key_is_refused(path: Path, wrapped: bytes) -> None:
    with pytest.raises(SealBrokenError):
        FileKeyProvider.open(path).unwrap(wrapped, context=b"r")


def test_after_a_rotation_old_keys_open_new_ones_use_the_new_version_and_derived_secrets_stay(path: Path) -> None:
    provider = FileKeyProvider.open(path)
    old, derived = provider.wrap(DATA_KEY, context=b"r"), provider.derive("case-code")
    assert provider.rotate() == 2
    for reader in (provider, FileKeyProvider.open(path)):
        assert reader.version == 2
        assert reader.unwrap(old, context=b"r") == DATA_KEY
        assert not reader.is_current(old)
        anew = reader.rewrap(old, context=b"r")
        assert reader.is_current(anew)
        assert reader.unwrap(anew, context=b"r") == DATA_KEY
        assert reader.derive("case-code") == derived
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_from_before_the_rotation_says_that_it_lacks_the_master_key(path: Path) -> None:
    old_content = (FileKeyProvider.open(path), path.read_bytes())[1]
    provider = FileKeyProvider.open(path)
    provider.rotate()
    wrapped = provider.wrap(DATA_KEY, context=b"r")
    path.write_bytes(old_content)
    with pytest.raises(SealBrokenError) as caught:
        FileKeyProvider.open(path).unwrap(wrapped, context=b"r")
    assert caught.value.reason == "unknown_master_key"


def test_a_rotation_that_cannot_be_written_leaves_file_and_provider_as_they_were(path: Path) -> None:
    provider = FileKeyProvider.open(path)
    content = path.read_bytes()
    # A directory in the file's place makes the rename fail, also for root.
    path.rename(path.with_suffix(".aside"))
    path.mkdir()
    with pytest.raises(KeyFileError, match=str(path)):
        provider.rotate()
    assert provider.version == 1
    assert path.with_suffix(".aside").read_bytes() == content
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


def test_the_new_key_is_synced_before_it_takes_the_old_ones_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = FileKeyProvider.open(path)
    steps: list[str] = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("sync"), sync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (steps.append("rename"), rename(self, to))[1])
    provider.rotate()
    assert steps == ["sync", "rename", "sync"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_a_file_that_others_may_touch_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    FileKeyProvider.open(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        FileKeyProvider.open(path)


def _without(content: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in content.items() if key != name}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"{",
        lambda content: b"[]",
        lambda content: b"\xff\xfe",
        lambda content: json.dumps(content).encode()[:-30],
        *(lambda content, name=name: json.dumps(_without(content, name)).encode() for name in ("current", "versions")),
        lambda content: json.dumps(content | {"format": "amparo-master-key/9"}).encode(),
        lambda content: json.dumps(content | {"current": 7}).encode(),
        lambda content: json.dumps(content | {"derivation": "c2hvcnQ="}).encode(),
        lambda content: json.dumps(content | {"derivation": "no base64 !"}).encode(),
        lambda content: json.dumps(content | {"versions": {"one": content["derivation"]}}).encode(),
        lambda content: json.dumps(content | {"versions": {}}).encode(),
    ],
)
def test_a_damaged_file_is_named_and_its_content_is_not_shown(path: Path, damage: object) -> None:
    FileKeyProvider.open(path)
    content = json.loads(path.read_bytes())
    path.write_bytes(damage(content))
    with pytest.raises(KeyFileError, match=str(path)) as caught:
        FileKeyProvider.open(path)
    assert caught.value.__cause__ is None
    assert content["derivation"] not in str(caught.value)
    assert path.exists(), "a damaged file is never replaced: it may still be mended"


@pytest.mark.parametrize("full", [True, False])
def test_a_key_file_that_cannot_be_written_whole_is_told_and_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    if full:
        monkeypatch.setattr(os, "fsync", _no_space)
    else:
        monkeypatch.setattr(Path, "hardlink_to", _no_space)
    with pytest.raises(KeyFileError, match=f"{path}.*No space left"):
        FileKeyProvider.open(path)
    assert list(path.parent.iterdir()) == []


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=str(tmp_path)):
        FileKeyProvider.open(tmp_path)


def test_two_processes_that_start_at_once_end_with_one_key(path: Path) -> None:
    first = FileKeyProvider.open(path)
    made = path.read_bytes()
    from amparo_common.crypto import provider as module  # noqa: PLC0415 - the race is on a private step

    module._create(path, module._new_content())
    assert path.read_bytes() == made
    assert FileKeyProvider.open(path).derive("a") == first.derive("a")


def test_a_provider_shows_its_file_and_no_key(path: Path) -> None:
    provider = FileKeyProvider.open(path)
    assert repr(provider) == f"FileKeyProvider({str(path)!r}, version=1)"
