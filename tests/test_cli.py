"""One command that teaches, answers programs, and fails in one sentence."""

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from argo_alpine.fills import FillPolicy
from argo_alpine.risk import RiskPolicy
from services import cli

ROOT = Path(__file__).parents[1]
COMMANDS = ["bars", "backtest", "report", "lab"]
HEAVY = {"numpy", "pandas", "numba", "plotly", "papermill", "rich.table", "jupyter_client"}


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def invoke(*words):
        with pytest.raises(SystemExit) as left:
            cli.main(words)
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err

    return invoke


def loaded(code):
    """What a fresh interpreter has imported after some code."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {*done.stdout.splitlines()[-1].split()}


def test_the_command_line_loads_nothing_heavy_before_it_must():
    assert not loaded("import services.cli") & HEAVY


def test_something_heavy_would_be_seen():
    assert {"numpy", "pandas"} <= loaded("import pandas")


def test_the_installed_command_is_this_one():
    command = [Path(sys.executable).with_name("argo-alpine"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "argo-alpine 0.1.0\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "Examples:" in out
    assert f"  argo-alpine {command}" in out
    assert "--json" in out


def test_the_first_help_names_every_command_and_the_exit_codes(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"argo-alpine {command}" in out for command in COMMANDS)
    assert "Exit codes: 0" in out


def test_bars_are_listed_for_people_and_for_programs(run):
    code, out, _ = run("bars", "aapl", "--rows", "2")
    assert code == 0
    assert "2013-02-28" in out
    code, out, err = run("bars", "AAPL", "--rows", "2", "--json")
    (row,) = json.loads(out)
    assert (code, err, row["symbol"], row["bars"], row["sound"]) == (0, "", "AAPL", 3270, True)
    assert [r["close"] for r in row["rows"]] == [441.4, 430.47]


def test_a_damaged_file_is_a_failed_check(run, monkeypatch, tmp_path):
    from argo_alpine import bars

    for file in bars.samples_folder().glob("*"):
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "FB.csv").write_text("date,open\n")
    monkeypatch.setattr(bars, "samples_folder", lambda: tmp_path)
    code, out, err = run("bars", "AAPL", "FB", "--json")
    assert code == 1
    assert [row["sound"] for row in json.loads(out)] == [True, False]
    assert "FB.csv is damaged" in err


@pytest.mark.parametrize("command", [("bars", "TSLA"), ("backtest", "--symbols", "TSLA")])
def test_an_unknown_symbol_is_one_sentence_and_exit_code_one(run, command):
    code, out, err = run(*command)
    last = err.splitlines()[-1]
    assert (code, out) == (1, "")
    assert last.startswith("argo-alpine: no sample of TSLA: there are AAPL")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words",
    [
        ("bras",),
        ("bars", "--rows", "many"),
        ("backtest", "--from", "yesterday"),
        ("backtest", "--treshold", "80"),
        ("report",),
        ("report", "backtest", "--treshold", "80"),
        ("report", "backtest", "80"),
        ("report", "backtest", "--cash"),
        ("lab", "--port", "0"),
    ],
    ids=" ".join,
)
def test_a_wrong_question_is_exit_code_two(run, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "Usage: argo-alpine" in err


def test_an_unknown_option_of_a_report_is_answered_with_those_it_has(run):
    _, _, err = run("report", "backtest", "--treshold", "80")
    assert "--treshold" in err
    assert "--slippage-bps" in err


def test_a_report_that_is_not_there_or_a_value_of_the_wrong_type_is_exit_code_one(run):
    code, _, err = run("report", "nothing")
    assert (code, err.split(",")[0].strip()) == (
        1,
        "argo-alpine: no report 'nothing': there are backtest",
    )
    code, _, err = run("report", "backtest", "--cash", "much")
    assert (code, err) == (1, "argo-alpine: cash must be a float, was 'much'\n")


def test_a_backtest_answers_people_with_a_caveat_and_programs_with_numbers(run):
    words = ("backtest", "--symbols", "AAPL", "--from", "2011-01-03", "--to", "2011-12-30")
    code, out, _ = run(*words)
    assert code == 0
    assert "Hypothetical results" in out
    assert "Halts" in out
    code, out, _ = run(*words, "--json")
    said = json.loads(out)
    assert code == 0
    assert said["summary"]["start"].startswith("2011-01-03")
    assert said["paid"]["slippage"] > 0


def test_the_command_the_report_and_the_policies_start_from_the_same_numbers():
    options = {
        name: option.default for name, option in inspect.signature(cli.backtest).parameters.items()
    }
    template = json.loads((ROOT / "nbs" / "reports" / "backtest.ipynb").read_text())
    source = "".join(template["cells"][1]["source"])
    defaults = {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign)
    }
    assert {k: str(v) if k in {"first", "last"} else v for k, v in options.items()} == (
        defaults | {"json": False}
    )
    costs, risk = FillPolicy(), RiskPolicy()
    assert (options["slippage_bps"], options["spread_bps"]) == (
        costs.slippage_bps,
        costs.spread_bps,
    )
    assert (options["drawdown_pct"], options["rearm_after"]) == (
        risk.drawdown_pct,
        risk.rearm_after,
    )


def test_the_lab_listens_on_this_machine_only(run, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda path, command: started.append((path, command)))
    code, out, _ = run("lab", "--port", "9999", "--no-browser", "--json")
    ((path, command),) = started
    assert (code, path) == (0, sys.executable)
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.port=9999" in command
    assert "--no-browser" in command
    assert json.loads(out)["command"] == command
