"""Backtests: a few at a time, one's own only; and the database and the process around them."""

import os
import re
import signal
import socket
import subprocess
import sys
from threading import Event

import pytest
import requests
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from argo_alpine.domain import InvalidSettings
from services.alpine.app import wired
from services.alpine.migrations import upgrade
from services.alpine.tables import tables
from services.common.sections import Settings
from tests.alpine_stage import KEY, running

WANTED = {"symbols": ["AAPL"], "first": "2005-03-01", "last": "2006-03-01"}
FAKE = """
import json, pathlib, sys
said = json.load(sys.stdin)
out = pathlib.Path(said["out"]); out.mkdir(parents=True)
(out / "report.html").write_text("<p>report</p>")
(out / "metrics.json").write_text(json.dumps({"symbols": said["parameters"]["symbols"]}))
print(json.dumps({"state": "running", "progress": 0.5, "note": "half"}), flush=True)
print(json.dumps({"state": "done", "note": ""}), flush=True)
"""


@pytest.fixture
def idle(tmp_path, database_url):
    """An Alpine whose worker works when told to."""
    with running(tmp_path, database_url) as found:
        worker = found.alpine.worker
        worker.stop()
        worker.stopping = Event()
        worker.command = (sys.executable, "-c", FAKE)
        yield found


def asked(alpine, token, **changes):
    return alpine.post("/api/backtests", WANTED | changes, token)


def test_a_backtest_is_asked_for_done_and_read(idle):
    token = idle.token()
    reply = asked(idle, token)
    assert reply.status_code == 202
    path = f"/api/backtests/{reply.json()['id']}"
    waiting = idle.get(path, token)
    assert (waiting["state"], waiting["summary"], waiting["report_url"]) == ("waiting", None, None)
    assert idle.ask(f"{path}/report", token).status_code == 404
    assert idle.alpine.worker.turn() is True
    done = idle.get(path, token)
    assert (done["state"], done["progress"], done["summary"]) == ("done", 1.0, {"symbols": "AAPL"})
    report = idle.ask(done["report_url"], token)
    assert report.text == "<p>report</p>"
    assert "sandbox allow-scripts" in report.headers["content-security-policy"]
    assert [job["id"] for job in idle.get("/api/backtests", token)] == [done["id"]]
    assert idle.alpine.worker.turn() is False


def test_nobody_sees_the_backtests_of_others(idle):
    mine, other = idle.token(), idle.token("elite")
    name = asked(idle, mine).json()["id"]
    idle.alpine.worker.turn()
    assert idle.get("/api/backtests", other) == []
    for path in (f"/api/backtests/{name}", f"/api/backtests/{name}/report"):
        assert (idle.ask(path, mine).status_code, idle.ask(path, other).status_code) == (200, 404)


def test_three_wait_and_no_fourth_and_others_are_not_kept_from_asking(idle):
    mine, other = idle.token(), idle.token("elite")
    assert [asked(idle, mine).status_code for _ in range(4)] == [202, 202, 202, 429]
    assert asked(idle, other).status_code == 202
    idle.alpine.worker.claim()
    second = idle.alpine.worker.claim()
    owners = {row.user for row in idle.rows("SELECT * FROM jobs WHERE state = 'running'")}
    assert len(owners) == 2 and second.user in owners  # one of each
    assert idle.alpine.worker.claim() is None
    assert asked(idle, mine).status_code == 202  # one of his runs now


@pytest.mark.parametrize("program", ["", "import sys; sys.exit(3)", "print('no json')"])
def test_a_process_that_dies_fails_its_job_and_no_other(idle, program):
    token = idle.token()
    name = asked(idle, token).json()["id"]
    idle.alpine.worker.command = (sys.executable, "-c", program)
    idle.alpine.worker.turn()
    job = idle.get(f"/api/backtests/{name}", token)
    assert (job["state"], job["summary"]) == ("failed", None)
    assert job["note"]


def test_the_process_is_told_no_key(idle, monkeypatch):
    monkeypatch.setenv("ARGO_ALPINE__INTAKE_KEY", KEY)
    token = idle.token()
    name = asked(idle, token).json()["id"]
    tell = "import json, os; print(json.dumps({'state': 'failed', 'note': ' '.join(os.environ)}))"
    idle.alpine.worker.command = (sys.executable, "-c", tell)
    idle.alpine.worker.turn()
    assert "ARGO" not in idle.get(f"/api/backtests/{name}", token)["note"]


def test_what_ran_when_the_process_ended_begins_anew(tmp_path, database_url):
    with running(tmp_path, database_url) as alpine:
        alpine.alpine.worker.stop()
        asked(alpine, alpine.token())
        alpine.alpine.worker.claim()
    with running(tmp_path, database_url) as alpine:
        (row,) = alpine.rows("SELECT state FROM jobs")
        assert row.state in ("waiting", "running")


@pytest.mark.parametrize(
    "odd",
    [
        {"symbols": []},
        {"symbols": ["TSLA"]},
        {"symbols": ["AAPL", "AAPL"]},
        {"first": "2010-01-01", "last": "2009-01-01"},
        {"threshold": 40},
        {"cash": -1},
        {"slippage_bps": "nan"},
        {"out": "/etc"},
        {"cash\nimport os": 1},
    ],
)
def test_a_knob_that_does_not_exist_or_goes_too_far_is_refused(alpine, odd):
    assert asked(alpine, alpine.token(), **odd).status_code == 422


def test_migrations_make_exactly_the_tables_of_this_version(alpine):
    upgrade(alpine.alpine.database.writes)  # again: nothing happens
    with alpine.alpine.database.writes.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables) == []


def test_without_a_key_it_does_not_start(alpine):
    with pytest.raises(InvalidSettings, match="intake_key is empty"):
        wired(Settings(), alpine.alpine.database)


def test_the_process_starts_answers_and_ends_when_told(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = "import sys; from services.commands.alpine import chosen; "
    program += "from services.alpine.app import serve; sys.exit(serve(chosen(None, None)))"
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = known | {
        "ARGO_ALPINE__INTAKE_KEY": KEY,
        "ARGO_ALPINE__PORT": str(port),
        "PYTHONPATH": os.getcwd(),
    }
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True
    ) as made:
        assert made.stderr is not None
        for line in made.stderr:
            if re.search("running on", line, re.IGNORECASE):
                break
        with requests.Session() as session:
            session.trust_env = False
            reply = session.get(f"http://127.0.0.1:{port}/health", timeout=10)
        made.send_signal(signal.SIGTERM)
        rest = made.stderr.read()
        assert made.wait(20) == 0, rest
    assert reply.json()["status"] == "degraded"
    file = tmp_path / "data" / "recorded" / "alpine.sqlite"
    assert file.stat().st_mode & 0o777 == 0o600
    log = (tmp_path / "data" / "logs" / "alpine.jsonl").read_text()
    assert KEY not in log
