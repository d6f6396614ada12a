"""Each law's check sees a planted breach, and lets the same thing pass where the law allows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.laws import LAWS, Module, breaches

ROOT = Path(__file__).resolve().parents[3]
COMMON, TRIAGE, GATEWAY = (
    "libs/common/amparo_common",
    "services/triage/amparo_triage",
    "services/gateway/amparo_gateway",
)
FRESH = "fresh = inbox.fresh(connection)\n"

PLANTED = [
    (2, f"{TRIAGE}/domain/clocks.py", "from sqlalchemy import Column\n"),
    (2, f"{TRIAGE}/domain.py", "import structlog\n"),
    (2, f"{TRIAGE}/domain.py", "from amparo_common.log.port import Record\n"),
    (3, f"{TRIAGE}/consumer.py", "from aiokafka import AIOKafkaConsumer\n"),
    (3, f"{TRIAGE}/service.py", FRESH + "from sqlalchemy import select\n"),
    (3, f"{TRIAGE}/api.py", "connection.exec_driver_sql('DELETE FROM incident')\n"),
    (3, f"{TRIAGE}/settings.py", "import os\nport = os.environ['PORT']\n"),
    (3, f"{TRIAGE}/api.py", "settings = TriageSettings()\n"),
    (4, f"{TRIAGE}/api.py", "async def publish(self): await self._log.append([])\n"),
    (4, f"{TRIAGE}/api.py", "async def skip(consumer): await consumer.commit({})\n"),
    (5, f"{TRIAGE}/repository.py", "def store(session, row): session.add(row)\n"),
    (5, f"{TRIAGE}/consumer.py", "for delivery in deliveries:\n    log.info('applied')\n"),
    (6, f"{TRIAGE}/service.py", "async def apply(deliveries): ...\n"),
    (7, f"{TRIAGE}/api.py", "from fastapi import UploadFile\n"),
    (7, f"{TRIAGE}/service.py", FRESH + "import httpx2\n"),
    (9, f"{COMMON}/events/types.py", "class Told(Event):\n    narrative: str\n"),
    (9, f"{TRIAGE}/api.py", "log.info(f'read {text}')\n"),
    (10, f"{GATEWAY}/repository.py", "def incidents(session): ...\n"),
    (12, f"{TRIAGE}/api.py", "kind = 'incidentType'\n"),
    (13, f"{TRIAGE}/api.py", "x = 1\n" * 401),
    (13, f"{TRIAGE}/api.py", "def long():\n" + "    x = 1\n" * 60),
]
ALLOWED = [
    (
        f"{TRIAGE}/domain/clocks.py",
        "import datetime\nimport msgspec\nfrom amparo_common.vocabulary.codes import Level\n",
    ),
    (f"{TRIAGE}/domain/queue.py", "from amparo_triage.domain.clocks import Clock\n"),
    (f"{TRIAGE}/repository.py", "from sqlalchemy import select\n"),
    (f"{TRIAGE}/app.py", "import os\nport = os.environ['PORT']\nsettings = TriageSettings()\n"),
    (f"{COMMON}/log/kafka.py", "from aiokafka import AIOKafkaConsumer\n"),
    (f"{COMMON}/relay.py", "async def publish(self): await self._log.append([])\n"),
    (f"{COMMON}/http.py", "import httpx2\n"),
    (f"{TRIAGE}/api.py", "entries.append(1)\nlog.info('started', service='triage')\n"),
    (f"{GATEWAY}/repository.py", "def incidents(session, *, scope): ...\n"),
]


def plant(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("law", "path", "text"), PLANTED, ids=[f"law{law}-{path[-20:]}" for law, path, _ in PLANTED])
def test_a_planted_breach_is_found_at_its_place(tmp_path: Path, law: int, path: str, text: str) -> None:
    plant(tmp_path, path, text)
    found = breaches(tmp_path)
    assert {breach.law for breach in found} == {law}
    assert {breach.path for breach in found} == {path}


@pytest.mark.parametrize(("path", "text"), ALLOWED, ids=[path for path, _ in ALLOWED])
def test_the_same_thing_passes_in_the_room_that_may_do_it(tmp_path: Path, path: str, text: str) -> None:
    plant(tmp_path, path, text)
    assert breaches(tmp_path) == []


def test_every_checked_law_has_a_planted_breach() -> None:
    assert {law for law, _, _ in PLANTED} == set(LAWS)


def test_every_law_has_an_adr_that_names_it() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/adr").glob("*.md"))
    missing = [law for law in range(1, 14) if f"Law {law}\n" not in pages]
    assert missing == []


def test_a_service_that_imports_another_breaks_the_import_contracts(tmp_path: Path) -> None:
    """Law 1 is import-linter's: run it on copies of the packages, one of which imports its neighbour."""
    for package in ("amparo_common", "amparo_intake", "amparo_triage", "amparo_referral", "amparo_gateway", "amparo"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "amparo_common" / "testing.py").write_text("")
    (tmp_path / "amparo_intake" / "service.py").write_text("import amparo_triage\n")
    (tmp_path / ".importlinter").write_text((ROOT / ".importlinter").read_text())
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    run = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "Law 1: services never import each other BROKEN" in run.stdout


def test_a_module_knows_its_package_and_its_place_in_it() -> None:
    module = Module("services/triage/amparo_triage/domain/clocks.py", "")
    assert (module.package, module.within) == ("amparo_triage", "domain/clocks.py")
