"""The dashboard is started with two addresses and none of the keys."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.commands import dashboard
from services.common.sections import Settings


def test_streamlit_listens_here_and_tells_nobody() -> None:
    words = dashboard.command(Path("app.py"), "127.0.0.1", 8501)
    assert "--server.address=127.0.0.1" in words
    assert "--browser.gatherUsageStats=false" in words
    assert "--server.headless=true" in words


def test_no_key_reaches_the_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MASSIVE__API_KEY", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-key")
    places = dashboard.addresses(Settings(), None, "http://127.0.0.1:1")
    known = dashboard.environment(places, dashboard.place())
    assert "a-key" not in known.values()
    assert known["ARGO_DASHBOARD__ARGO_URL"] == "http://127.0.0.1:1"
    assert known["ARGO_DASHBOARD__ALPINE_URL"] == "http://127.0.0.1:9001"


def test_the_pages_are_where_the_command_looks_for_them() -> None:
    assert dashboard.place().is_file()
    assert (dashboard.place().parent / ".streamlit" / "config.toml").is_file()


STOPPED = """
import os, signal, sys
import typer
from services import cli
from services.commands.dashboard import run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
cli.app = typer.Typer()
CHILD = "import os, signal; os.kill(os.getppid(), signal.SIGINT)"

@cli.app.command()
def command():
    raise typer.Exit(run([sys.executable, "-c", CHILD], os.environ))

cli.main()
"""


def test_a_ctrl_c_that_ends_the_dashboard_is_no_failure() -> None:
    words = [sys.executable, "-c", STOPPED]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
