"""Schema migrations of a service, forward to the newest, quick when nothing is to do."""

from __future__ import annotations

import ast
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, MetaData, inspect, text

from amparo_common.db.port import Database

#: Alembic keeps the running migration in module globals, and one process may open four services at once.
_alembic: Final = threading.Lock()


async def migrate(database: Database, *, package: str) -> None:
    """Bring `database` to the newest revision of `<package>.migrations`, in one transaction.

    Without anything to do it costs one query: Alembic is not even imported. Raises LookupError when the package has no
    migrations or several heads.
    """
    folder = _folder(package)
    head = _head(folder)
    if await database.read(lambda session: _stored_revision(session.connection())) != head:
        await database.change_schema(lambda connection: _upgrade(connection, folder))


async def differences(database: Database, *, metadata: Sequence[MetaData]) -> list[str]:
    """Return how the tables differ from all of `metadata` together, one line each; empty is right.

    Give `common_metadata` too where the database holds the common tables.
    """
    wanted = list(metadata)
    return await database.change_schema(lambda connection: _differences(connection, wanted))


def _folder(package: str) -> Path:
    spec = find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(place) / "migrations").is_dir():
            return folder
    raise LookupError(f"{package} has no migrations folder")


def _head(folder: Path) -> str:
    revisions: dict[str, str | None] = {}
    for path in folder.glob("versions/*.py"):
        names = _constants(path)
        if (revision := names.get("revision")) is not None:
            revisions[revision] = names.get("down_revision")
    heads = revisions.keys() - set(revisions.values())
    if len(heads) != 1:
        raise LookupError(f"{folder} has {len(heads)} heads, not one")
    return heads.pop()


def _constants(path: Path) -> dict[str, str | None]:
    """Return the module's plain assignments of text or None, read without running it."""
    found: dict[str, str | None] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str)):
            found |= {target.id: value.value for target in targets if isinstance(target, ast.Name)}
    return found


def _stored_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade(connection: Connection, folder: Path) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import, and a start without news does not need it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _alembic:
        command.upgrade(config, "head")


def _differences(connection: Connection, wanted: list[MetaData]) -> list[str]:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - as above
    from alembic.migration import MigrationContext  # noqa: PLC0415

    context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": wanted})
    return [repr(difference) for difference in compare_metadata(context, wanted)]  # type: ignore[arg-type]  # takes several
