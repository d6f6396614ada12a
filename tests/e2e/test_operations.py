"""The operator's commands against a running platform, and an audit row edited behind its back."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from amparo_common.log.port import NewRecord
from amparo_common.log.sqlite import SqliteLog
from amparo_common.testing.platform import RunningPlatform, free_offset, wait_for

pytestmark = pytest.mark.slow

COUNT = "{ incidents(first: 100) { edges { node { reference version level } } } }"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningPlatform]:
    """A platform for one test, whose files may be touched."""
    running = RunningPlatform(tmp_path / "data", free_offset(seed=911))
    running.start()
    running.wait_ready()
    yield running
    running.stop()


def amparo(platform: RunningPlatform, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    place = {"AMPARO_DATA_DIR": str(platform.data_dir), "AMPARO_PORT_OFFSET": str(platform.offset), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "amparo", *words],
        env=place | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def send_reports(platform: RunningPlatform, count: int) -> None:
    for number in range(count):
        body = {"channel": "web", "language": "en", "country": "GH", "text": f"Somebody insults her, {uuid.uuid4()}"}
        assert platform.post("intake", "/v1/reports", body).status == 202, number


def incidents(platform: RunningPlatform) -> list[object]:
    return list(platform.query("triager", COUNT)["incidents"]["edges"])


def settled(platform: RunningPlatform) -> list[object] | None:
    """Return the incidents once they stay the same for a moment."""
    before = incidents(platform)
    time.sleep(0.5)
    return before if incidents(platform) == before else None


def edit_row(file: Path, *, sequence: int) -> None:
    with closing(sqlite3.connect(file)) as connection:
        changed = connection.execute("UPDATE audit_entry SET actor = 'nobody' WHERE sequence = ?", [sequence])
        connection.commit()
        assert changed.rowcount == 1


def test_every_chain_is_whole_and_an_edited_row_is_named(own: RunningPlatform, tmp_path: Path) -> None:
    send_reports(own, 5)
    whole = amparo(own, "audit", "verify")
    assert whole.returncode == 0, whole.stderr
    assert [line.split()[:2] for line in whole.stdout.splitlines()] == [
        ["whole", service] for service in ("intake", "triage", "referral", "gateway")
    ]
    keys, export = tmp_path / "keys.json", tmp_path / "intake.jsonl"
    keys.write_text(amparo(own, "audit", "keys").stdout, encoding="utf-8")
    export.write_text(amparo(own, "audit", "export", "--service", "intake").stdout, encoding="utf-8")

    own.stop()
    offline = amparo(own, "audit", "verify", "--file", str(export), "--keys", str(keys))
    assert (offline.returncode, offline.stdout.split()[:2]) == (0, ["whole", "intake"])
    edit_row(own.data_dir / "intake.db", sequence=3)
    own.start()
    own.wait_ready()

    broken = amparo(own, "audit", "verify", "--as", "supervisor")
    assert broken.returncode == 1
    (line,) = [line for line in broken.stdout.splitlines() if line.startswith("broken")]
    assert line.split()[1] == "intake"
    assert "row 3: the row is not what was recorded" in line
    export.write_text(amparo(own, "audit", "export", "--service", "intake").stdout, encoding="utf-8")
    offline = amparo(own, "audit", "verify", "--file", str(export), "--keys", str(keys))
    assert offline.returncode == 1
    assert "row 3:" in offline.stdout


def test_a_chain_is_signed_as_a_whole_at_an_orderly_stop(own: RunningPlatform) -> None:
    send_reports(own, 3)
    own.stop()
    with closing(sqlite3.connect(own.data_dir / "intake.db")) as connection:
        (size,) = connection.execute("SELECT size FROM audit_head").fetchone()
        (signed,) = connection.execute("SELECT max(size) FROM audit_checkpoint").fetchone()
    assert signed == size >= 3
    own.start()
    own.wait_ready()
    lines = amparo(own, "audit", "verify").stdout.splitlines()
    assert "1 checkpoints in the log" in lines[0]


def test_an_export_that_was_written_anew_fails_with_the_keys(platform: RunningPlatform, tmp_path: Path) -> None:
    send_reports(platform, 2)
    keys, export = tmp_path / "keys.json", tmp_path / "export.jsonl"
    keys.write_text(amparo(platform, "audit", "keys").stdout, encoding="utf-8")
    lines = amparo(platform, "audit", "export", "--service", "intake").stdout.splitlines(keepends=True)
    other = json.loads(lines[0])
    other["checkpoint"]["signature"] = "00" * 64
    export.write_text("".join([json.dumps(other) + "\n", *lines[1:]]), encoding="utf-8")
    verified = amparo(platform, "audit", "verify", "--file", str(export), "--keys", str(keys))
    assert verified.returncode == 1
    assert "signature is not valid" in verified.stdout


def test_commands_that_cannot_be_done_say_why_on_one_line(platform: RunningPlatform, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(b"\xff\x00")
    for words, why in (
        (("audit", "verify", "--as", "triager"), "Your role may not do this"),
        (("audit", "verify", "--as", "nobody"), "does not sign 'nobody' in"),
        (("audit", "verify", "--file", str(rubbish)), "is no export of an audit chain"),
        (("audit", "verify", "--file", str(tmp_path / "none")), "No such file"),
        (("audit", "verify", "--keys", str(rubbish)), "--keys goes with --file"),
        (("audit", "verify", "--file", str(rubbish), "--keys", str(rubbish)), "holds no public keys"),
        (("dlq", "show", "x"), "no service has a dead letter x"),
        (("dlq", "replay", str(uuid.uuid4()), "--reason", "mended"), "no service has a dead letter"),
        (("dlq", "list", "--as", "auditor"), "Your role may not do this"),
        (("replay", "gateway", "--as", "supervisor"), "Your role may not do this"),
        (("users", "grant", "nobody", "--role", "agent"), "there is no user nobody"),
        (("users", "invite", "eve", "--role", "service"), "a person cannot be service"),
        (("users", "invite", "eve", "--role", "queen"), "roles are agent, triager"),
        (("keys", "rotate", "intake"), "amparo down"),
    ):
        done = amparo(platform, *words)
        assert done.returncode == 2, words
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("amparo: ")
        assert why in done.stderr
        assert done.stdout == ""


def test_without_a_platform_the_commands_say_that_nobody_answers(tmp_path: Path) -> None:
    away = RunningPlatform(tmp_path / "none", free_offset(seed=913))
    for words in (("audit", "verify"), ("dlq", "list"), ("replay", "gateway")):
        done = amparo(away, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "nobody answers" in done.stderr


def test_a_replay_while_serving_ends_equal(own: RunningPlatform) -> None:
    send_reports(own, 12)
    wait_for("twelve incidents", lambda: len(incidents(own)) == 12, seconds=10)
    before = wait_for("quiet", lambda: settled(own), seconds=10)
    done = amparo(own, "replay", "gateway")
    assert done.returncode == 0, done.stderr
    assert "done, " in done.stdout
    assert incidents(own) == before
    own.kill()
    own.start()
    own.wait_ready()
    assert incidents(own) == before


def test_a_dead_letter_is_listed_replayed_and_discarded_without_a_word_of_what_it_holds(own: RunningPlatform) -> None:
    own.stop()
    poison = NewRecord(
        topic="amparo.reports.urgent",
        key=str(uuid.uuid4()).encode(),
        value=b"Zanzibaro was no event",
        headers=(("ce_type", b"org.amparo.report.received.v1"), ("ce_id", str(uuid.uuid4()).encode())),
    )
    asyncio.run(append(own.data_dir, poison))
    own.start()
    own.wait_ready()

    def waiting() -> list[dict[str, object]]:
        """Return triage's letters: the other readers of the stream have one each of the same record."""
        letters = [json.loads(line) for line in amparo(own, "dlq", "list", "--json").stdout.splitlines()]
        return [letter for letter in letters if letter["service"] == "triage"]

    (letter,) = wait_for("a dead letter", waiting, seconds=20)
    assert (letter["service"], letter["topic"], letter["attempt"]) == ("triage", "amparo.reports.urgent", 1)
    assert str(letter["reason"]).startswith("undecodable:")
    shown = amparo(own, "dlq", "show", str(letter["id"]))
    assert json.loads(shown.stdout)["value_bytes"] == len(poison.value)
    assert amparo(own, "dlq", "replay", str(letter["id"])).returncode == 2  # a reason is asked for

    replayed = amparo(own, "dlq", "replay", str(letter["id"]), "--reason", "a second look")
    assert json.loads(replayed.stdout)["state"] == "replayed"
    (again,) = wait_for("the letter of the second attempt", waiting, seconds=20)
    assert (again["attempt"], again["event_id"]) == (2, letter["event_id"])
    discarded = amparo(own, "dlq", "discard", str(again["id"]), "--reason", "nobody can read it")
    assert json.loads(discarded.stdout)["value_bytes"] == 0
    assert waiting() == []
    assert "was settled before" in amparo(own, "dlq", "discard", str(again["id"]), "--reason", "again").stderr

    assert "Zanzibaro" not in shown.stdout + replayed.stdout + discarded.stdout
    assert b"Zanzibaro" not in own.output.read_bytes()
    exported = amparo(own, "audit", "export", "--service", "triage").stdout
    assert [name for name in ("dead_letter.replay", "dead_letter.discard") if name in exported] == [
        "dead_letter.replay", "dead_letter.discard",
    ]  # fmt: skip


async def append(directory: Path, record: NewRecord) -> None:
    """Write what a stranger wrote into the log of a stopped platform."""
    log = await SqliteLog.open(directory)
    await log.append([record])
    await log.close()


def test_a_person_who_is_invited_signs_in_at_once_and_one_who_is_disabled_no_more(platform: RunningPlatform) -> None:
    name = f"maria-{uuid.uuid4().hex[:8]}"
    invited = amparo(platform, "users", "invite", name, "--role", "triager", "--country", "GT")
    assert invited.returncode == 0, invited.stderr
    password = invited.stdout.split()[-1]

    def sign_in() -> int:
        form = f"grant_type=password&client_id=amparo-cli&username={name}&password={password}".encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return platform.send("POST", "issuer", "/token", body=form, headers=headers).status

    assert sign_in() == 200
    assert "triager" in next(line for line in amparo(platform, "users", "list").stdout.splitlines() if name in line)
    assert amparo(platform, "users", "invite", name, "--role", "agent").returncode == 2
    assert amparo(platform, "users", "grant", name, "--role", "auditor").stdout.strip() == f"granted {name}: auditor"
    assert sign_in() == 200
    assert amparo(platform, "users", "disable", name).returncode == 0
    assert sign_in() == 400


def test_open_prints_the_graphs_page_outside_production(platform: RunningPlatform) -> None:
    opened = amparo(platform, "open")
    assert opened.stdout == f"http://127.0.0.1:{8080 + platform.offset}/graphql\n"
    assert amparo(platform, "open", AMPARO_ENVIRONMENT="production").stdout == (
        f"http://127.0.0.1:{8080 + platform.offset}/\n"
    )


def test_a_rotated_master_key_opens_what_was_sealed_before(own: RunningPlatform) -> None:
    body = {"channel": "web", "language": "en", "country": "GH", "text": "Somebody writes to her at night."}
    receipt = own.post("intake", "/v1/reports", body).json()

    def status() -> str:
        return str(own.post("intake", "/v1/cases/status", {"case_code": receipt["case_code"]}).json()["status"])

    before = status()
    own.stop()
    for service in ("intake", "triage", "referral", "gateway"):
        assert amparo(own, "keys", "rotate", service).returncode == 0
    own.start()
    own.wait_ready()
    assert status() == before
    assert amparo(own, "audit", "verify").returncode == 0
    send_reports(own, 1)
