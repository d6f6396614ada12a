"""The master key: it wraps data keys and derives the platform's other secrets."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import threading
from pathlib import Path
from typing import Final, Protocol, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from amparo_common.crypto.sealing import KEY_BYTES, SealBrokenError

_FORMAT: Final = "amparo-master-key/1"
_WRAP_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = 1 + 4


class KeyProvider(Protocol):
    """Keeps the master key. Wrapped keys stay readable after a rotation; derived secrets never change."""

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Encrypt `key` under the newest master key, bound to `context` (the report's id)."""
        ...

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return what `wrap` took; raises SealBrokenError for another context, a changed byte or master key."""
        ...

    def derive(self, purpose: str) -> bytes:
        """Return the 32-byte secret of `purpose`, always the same; one purpose tells nothing about another."""
        ...


class KeyFileError(Exception):
    """A master key file that must not be used as it is; the text names the file and what to do, never its content."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the master key file {path} {why}")
        self.path = path


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    #: The version that wraps from now on.
    current: int
    #: The secret behind `derive`. It stays through rotations, or no blind index or case code would be found again.
    derivation: str
    #: Base64 of 32 bytes by version.
    versions: dict[str, str]

    def __repr__(self) -> str:
        return f"_KeyFile(current={self.current})"


class FileKeyProvider:
    """A master key in a JSON file that only its owner may read (mode 0600). Safe for use by several threads."""

    def __init__(self, path: Path, *, current: int, versions: dict[int, bytes], derivation: bytes) -> None:
        self._path, self._current, self._derivation = path, current, derivation
        self._versions = versions
        self._ciphers = {version: AESGCM(key) for version, key in versions.items()}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the key file, or make one with a random master key where there is none.

        Raises KeyFileError, naming the file, when group or others may touch it, when it is damaged or cannot be read.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _create(path, _new_content())
            return cls._parsed(path, _private_bytes(path))
        except OSError as error:
            raise KeyFileError(path, f"cannot be read or made ({error.strerror}).") from error

    @classmethod
    def _parsed(cls, path: Path, written: bytes) -> Self:
        try:
            content = msgspec.json.decode(written, type=_KeyFile)
            versions = {int(version): _key(text) for version, text in content.versions.items()}
            derivation = _key(content.derivation)
        except ValueError:
            # `from None`: a decoder's words may repeat what stands in the file.
            raise KeyFileError(
                path, "is damaged. Restore it from its backup; without it no sealed part opens."
            ) from None
        if content.format != _FORMAT or content.current not in versions:
            raise KeyFileError(
                path, "is damaged: its format or current version is unknown. Restore it from its backup."
            )
        return cls(path, current=content.current, versions=versions, derivation=derivation)

    @property
    def version(self) -> int:
        """The version of the master key that wraps now."""
        return self._current

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        nonce, version = os.urandom(_NONCE_BYTES), self._current
        header = _WRAP_VERSION + version.to_bytes(4)
        return header + nonce + self._ciphers[version].encrypt(nonce, key, _associated(header, context))

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        header, rest = wrapped[:_HEADER_BYTES], wrapped[_HEADER_BYTES:]
        if len(rest) < _NONCE_BYTES + 16 or header[:1] != _WRAP_VERSION:
            raise SealBrokenError("unknown_wrapping")
        cipher = self._ciphers.get(int.from_bytes(header[1:]))
        if cipher is None:
            raise SealBrokenError("unknown_master_key")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _associated(header, context))
        except InvalidTag:
            raise SealBrokenError("wrong_key_or_context") from None

    def derive(self, purpose: str) -> bytes:
        info = b"amparo.derive\x00" + purpose.encode()
        return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._derivation)

    def is_current(self, wrapped: bytes) -> bool:
        """Say whether `wrapped` was made under the newest master key; rewrap the others after a rotation."""
        return int.from_bytes(wrapped[1:_HEADER_BYTES]) == self._current

    def rewrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Wrap the same key under the newest master key; raises as `unwrap` does."""
        return self.wrap(self.unwrap(wrapped, context=context), context=context)

    def rotate(self) -> int:
        """Make a new master key, durable on disk when this returns, and wrap with it from now on; returns its version.

        Earlier versions stay in the file and go on unwrapping. Raises KeyFileError when the file cannot be written; the
        provider then keeps the key that it had.
        """
        with self._lock:
            version, key = max(self._versions) + 1, secrets.token_bytes(KEY_BYTES)
            versions = self._versions | {version: key}
            _replace(self._path, _encoded(current=version, versions=versions, derivation=self._derivation))
            self._versions = versions
            self._ciphers = self._ciphers | {version: AESGCM(key)}
            self._current = version
        return version

    def __repr__(self) -> str:
        return f"FileKeyProvider({str(self._path)!r}, version={self._current})"


def _associated(header: bytes, context: bytes) -> bytes:
    return b"amparo.wrapped\x00" + header + context


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError("a key of a wrong length")
    return key


def _new_content() -> bytes:
    return _encoded(current=1, versions={1: secrets.token_bytes(KEY_BYTES)}, derivation=secrets.token_bytes(KEY_BYTES))


def _encoded(*, current: int, versions: dict[int, bytes], derivation: bytes) -> bytes:
    content = _KeyFile(
        format=_FORMAT,
        current=current,
        derivation=base64.b64encode(derivation).decode(),
        versions={str(version): base64.b64encode(key).decode() for version, key in sorted(versions.items())},
    )
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _private_bytes(path: Path) -> bytes:
    """Read the file, its mode judged on the very file that is read."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise KeyFileError(path, f"may be touched by others (mode {mode:04o}). Set it with: chmod 600 {path}")
        return file.read()


def _create(path: Path, content: bytes) -> None:
    """Write the first key file; where another process wins the race, its file stays and is read."""
    staged = _staged(path, content)
    try:
        path.hardlink_to(staged)  # fails where the file exists meanwhile, which a rename would not
    except FileExistsError:
        pass
    finally:
        staged.unlink()
    _sync_directory(path.parent)


def _replace(path: Path, content: bytes) -> None:
    try:
        staged = _staged(path, content)
        try:
            staged.replace(path)
        except OSError:
            staged.unlink()
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise KeyFileError(path, f"cannot be written ({error.strerror}).") from error


def _staged(path: Path, content: bytes) -> Path:
    staged = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        staged.unlink()
        raise
    return staged


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
