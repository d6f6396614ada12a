from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from amparo_common.db.migrations import differences, migrate
from amparo_common.db.sqlite import SqliteDatabase
from amparo_common.db.tables import common_metadata

pytestmark = pytest.mark.anyio

FIRST = """
from alembic import op
from amparo_common.db.common_schema import create_common_tables, drop_common_tables
revision = "0001"
down_revision = None
def upgrade() -> None:
    create_common_tables(op)
    op.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT)")
    op.execute("CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id REFERENCES parent (id) ON DELETE CASCADE)")
"""
REBUILD = """
from alembic import op
import sqlalchemy as sa
revision = "0002"
down_revision = "0001"
def upgrade() -> None:
    with op.batch_alter_table("parent", recreate="always") as batch:
        batch.alter_column("name", new_column_name="title", existing_type=sa.Text())
"""
BROKEN = """
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade() -> None:
    op.execute("CREATE TABLE half (id INTEGER)")
    op.execute("INSERT INTO nowhere VALUES (1)")
"""
Package = Callable[..., str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Make a service package of its own name with migrations of the given texts."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(*versions: str) -> str:
        name = f"service_{tmp_path.name}".replace("-", "_")
        folder = tmp_path / name / "migrations" / "versions"
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent.parent / "__init__.py").touch()
        (folder.parent / "env.py").write_text("from amparo_common.db.migration_env import run\n\nrun()\n")
        for number, version in enumerate(versions):
            (folder / f"v{number}.py").write_text(version)
        return name

    return make


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = await SqliteDatabase.open(tmp_path / "empty.db", service="intake")
    yield database
    await database.close()


async def test_the_common_migration_makes_the_tables_that_the_classes_describe(
    empty: SqliteDatabase, package: Package
) -> None:
    await migrate(empty, package=package(FIRST))
    await empty.write(lambda connection: connection.execute(text("DROP TABLE child")))
    await empty.write(lambda connection: connection.execute(text("DROP TABLE parent")))

    assert await differences(empty, metadata=[common_metadata]) == []


async def test_a_missing_column_is_a_difference(empty: SqliteDatabase, package: Package) -> None:
    await migrate(empty, package=package(FIRST))
    await empty.write(lambda connection: connection.execute(text("ALTER TABLE inbox DROP COLUMN topic")))

    found = await differences(empty, metadata=[common_metadata])

    assert any("add_column" in difference and "topic" in difference for difference in found)


async def test_migrating_again_changes_nothing_and_a_new_version_is_applied(
    empty: SqliteDatabase, package: Package
) -> None:
    name = package(FIRST)
    await migrate(empty, package=name)
    await migrate(empty, package=name)
    await empty.write(lambda connection: connection.execute(text("INSERT INTO parent VALUES (1, 'a')")))
    await empty.write(lambda connection: connection.execute(text("INSERT INTO child VALUES (1, 1)")))

    await migrate(empty, package=package(FIRST, REBUILD))

    titles = await empty.read(lambda session: session.execute(text("SELECT title FROM parent")).scalars().all())
    children = await empty.read(lambda session: session.execute(text("SELECT count(*) FROM child")).scalar())
    assert (titles, children) == (["a"], 1)


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(empty: SqliteDatabase, package: Package) -> None:
    await migrate(empty, package=package(FIRST))

    with pytest.raises(Exception, match="nowhere"):
        await migrate(empty, package=package(FIRST, BROKEN))

    tables = await empty.read(lambda session: session.execute(text("SELECT name FROM sqlite_master")).scalars().all())
    version = await empty.read(
        lambda session: session.execute(text("SELECT version_num FROM alembic_version")).scalar()
    )
    assert "half" not in tables
    assert version == "0001"


async def test_a_package_without_migrations_or_with_two_heads_is_named(empty: SqliteDatabase, package: Package) -> None:
    with pytest.raises(LookupError, match="has no migrations"):
        await migrate(empty, package="amparo_common.vocabulary")

    other_first = FIRST.replace("0001", "0009")
    with pytest.raises(LookupError, match="2 heads"):
        await migrate(empty, package=package(FIRST, other_first))


async def test_a_start_without_news_does_not_import_alembic(
    empty: SqliteDatabase, package: Package, tmp_path: Path
) -> None:
    name = package(FIRST)
    await migrate(empty, package=name)
    await empty.close()
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from amparo_common.db.sqlite import SqliteDatabase\n"
        "from amparo_common.db.migrations import migrate\n"
        "async def main():\n"
        "    database = await SqliteDatabase.open(Path('empty.db'), service='intake')\n"
        f"    await migrate(database, package='{name}')\n"
        "    await database.close()\n"
        "asyncio.run(main()); sys.exit('alembic' in sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
