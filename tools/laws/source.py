"""Reading the source: modules, their imports, their calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOTS = (
    "libs/common",
    "services/intake",
    "services/triage",
    "services/referral",
    "services/gateway",
    "services/standalone",
)


@dataclass(frozen=True)
class Breach:
    """A place that breaks a law."""

    law: int
    path: str
    line: int
    why: str


@dataclass(frozen=True)
class Module:
    """A source file. `path` is relative to the root of the project, in POSIX form."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.path)

    @cached_property
    def package(self) -> str:
        """The import package that the file belongs to, such as `amparo_triage`."""
        return next((part for part in self.path.split("/") if part.startswith("amparo")), "")

    @cached_property
    def within(self) -> str:
        """The path inside the package, such as `domain/clocks.py`."""
        return self.path.partition(f"{self.package}/")[2]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def imports(self) -> Iterator[tuple[str, int]]:
        """Yield each imported name in full (`package.module.name`) with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Yield each call with the dotted name of what is called, such as `self._log.append`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield dotted(node.func), node

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def dotted(node: ast.expr) -> str:
    """Write a chain of attributes as text; what is no name becomes `?`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def modules(root: Path) -> list[Module]:
    """Read every Python file of the services and libraries, migrations left out (Alembic writes those)."""
    files = (file for top in ROOTS for file in sorted((root / top).rglob("*.py")))
    return [
        Module(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8"))
        for file in files
        if "/migrations/versions/" not in file.as_posix()
    ]
