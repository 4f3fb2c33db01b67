"""One command that teaches, answers programs, and fails in one sentence."""

import ast
import inspect
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from argo_alpine import arithmetic
from argo_alpine.costs import FillPolicy
from argo_alpine.risk import RiskPolicy
from services import cli
from services.commands import backtest as backtests
from services.commands import search
from services.commands.knobs import SLOW
from services.common import reports

ROOT = Path(__file__).parents[1]
COMMANDS = ["bars", "backtest", "signal-quality", "report", "compare", "lab"]
YEAR = ("--symbols", "AAPL", "--from", "2011-01-03", "--to", "2011-12-30")
HEAVY = {"numpy", "pandas", "numba", "plotly", "papermill", "rich.table", "jupyter_client"}


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


def test_up_says_how_it_ends(run):
    assert "Ctrl+C ends it with exit code 0, or with 130" in run("up", "--help")[1]


def test_bars_are_listed_for_people_and_for_programs(run):
    code, out, _ = run("bars", "aapl", "--rows", "2")
    assert code == 0
    assert "2013-02-28" in out
    code, out, err = run("bars", "AAPL", "--rows", "2", "--json")
    (row,) = json.loads(out)
    assert (code, err, row["symbol"], row["bars"], row["sound"]) == (0, "", "AAPL", 3270, True)
    assert [r["close"] for r in row["rows"]] == [441.4, 430.47]


def test_a_damaged_file_is_a_failed_check(run, monkeypatch, tmp_path):
    from argo_alpine import samples

    for file in samples.samples_folder().glob("*"):
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "FB.csv").write_text("date,open\n")
    monkeypatch.setattr(samples, "SAMPLES", tmp_path)
    code, out, err = run("bars", "AAPL", "FB", "--json")
    assert code == 1
    assert [row["sound"] for row in json.loads(out)] == [True, False]
    assert "FB.csv is damaged" in err


@pytest.mark.parametrize(
    "command",
    [
        ("bars", "TSLA"),
        ("backtest", "--symbols", "TSLA"),
        ("signal-quality", "--symbols", "TSLA"),
    ],
)
def test_an_unknown_symbol_is_one_sentence_and_exit_code_one(run, command):
    code, out, err = run(*command)
    last = err.splitlines()[-1]
    assert (code, out) == (1, "")
    assert last.startswith("argo-alpine: no TSLA in samples: there are AAPL")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words", [("bars", "--data", "x"), ("export", __file__, "--into", "x")], ids=["bars", "export"]
)
def test_a_current_folder_that_is_gone_is_one_sentence(run, tmp_path, monkeypatch, words):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = "the current folder is gone: go to one that is there, and ask again"
    assert run(*words) == (1, "", f"argo-alpine: {said}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("bras",),
        ("bars", "--rows", "many"),
        ("backtest", "--from", "yesterday"),
        ("backtest", "--treshold", "80"),
        ("backtest", "--set", "sizing.stop_pct"),
        ("backtest", "--trades", "."),
        ("signal-quality", "--horizon", "0"),
        ("signal-quality", "--report", "--set", "sizing.stop_pct=2"),
        ("report",),
        ("report", "backtest", "--treshold", "80"),
        ("report", "backtest", "80"),
        ("report", "backtest", "--all"),
        ("report", "--all", "--cash", "5"),
        ("compare", "backtest"),
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
    known = ", ".join(reports.names())
    assert (code, err) == (1, f"argo-alpine: no report 'nothing': there are {known}\n")
    assert "backtest, daily" in known
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


@pytest.mark.parametrize(
    "command", [("backtest",), ("signal-quality",), ("sweep", "--grid", "sizing.stop_pct=2,3")]
)
def test_compiling_is_announced_only_where_nothing_is_compiled_yet(
    run, monkeypatch, tmp_path, command
):
    ledger = ("--ledger", str(tmp_path / "trials.jsonl")) * (command[0] == "sweep")
    words = (*command, "--symbols", "IBM", "--from", "2012-06-01", "--to", "2012-08-31", *ledger)
    run(*words)  # compiles what there is to compile
    assert run(*words)[2] == ""
    monkeypatch.setattr(arithmetic, "compiled_folder", lambda package: tmp_path)
    assert run(*words)[2] == f"{SLOW}\n"


def test_a_position_that_outlives_its_bars_is_told_to_people_and_programs(run):
    words = ("backtest", "--symbols", "AAPL,SPX", "--from", "2012-06-01", "--to")
    told = "AAPL had its last bar on 2013-03-01 and is still held"
    assert told in run(*words, "2013-06-28")[1]
    assert told not in run(*words, "2013-03-01")[1]
    ended = json.loads(run(*words, "2013-06-28", "--json")[1])["stranded"]
    assert [(p["symbol"], p["worth"] == p["quantity"] * p["last"]) for p in ended] == [
        ("AAPL", True)
    ]
    assert json.loads(run(*words, "2013-03-01", "--json")[1])["stranded"] == []


def test_any_knob_is_turned_from_the_command_line_and_goes_last(run):
    policies = {}
    for words in ((), ("--set", "sizing.stop_pct=2"), ("--set", "costs.slippage_bps=50")):
        said = json.loads(run("backtest", *YEAR, "--slippage-bps", "1", *words, "--json")[1])
        policies[words] = (said["policy"], said["paid"]["slippage"])
    base, stop, dear = policies.values()
    assert stop[0] != base[0]
    assert dear[0] == base[0]
    assert dear[1] > 10 * base[1]


def test_a_knob_there_is_not_is_answered_with_those_that_are_near(run):
    for name in ("backtest", "signal-quality"):
        code, out, err = run(name, *YEAR, "--set", "sizing.stop=1")
        assert (code, out) == (1, "")
        assert "did you mean sizing.stop_pct" in err.splitlines()[-1]


def test_sweeps_and_single_runs_read_knobs_with_the_same_code():
    from services.commands import knobs, quality

    assert backtests.base_of is search.base_of is quality.base_of is knobs.base_of


def test_trades_are_written_as_they_were_made(run, tmp_path):
    from argo_alpine.backtest import backtest
    from argo_alpine.loading import load

    path = tmp_path / "new" / "trades.csv"
    code, _, err = run("backtest", *YEAR, "--trades", str(path))
    assert code == 0
    assert str(path) in err
    made = backtest(load(["AAPL"], None, date(2011, 12, 30)), start=date(2011, 1, 3)).trades
    kept = pd.read_csv(path, parse_dates=["opened", "closed"])
    assert len(kept) > 5
    assert [*kept.columns] == [*made.columns]
    assert np.array_equal(kept["pnl"], made["pnl"])
    assert list(kept["opened"]) == list(made["opened"])


def test_trades_that_cannot_be_written_are_one_sentence(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run("backtest", *YEAR, "--trades", str(tmp_path / "file" / "trades.csv"))
    assert code == 1
    assert "cannot be written" in err.splitlines()[-1]


def test_raw_prices_with_their_splits_are_the_same_opinions_and_no_fall(run):
    """AAPL was split two for one on 2005-02-28; unadjusted and unconverted, half would be lost."""
    words = ("--symbols", "AAPL", "--from", "2005-01-03", "--to", "2005-06-30")
    words += ("--set", "risk.collar_pct=100", "--json")
    adjusted, raw = (json.loads(run("backtest", *words, *more)[1]) for more in ((), ("--raw",)))
    assert (adjusted["basis"], raw["basis"]) == ("splits", "raw")
    assert raw["summary"]["trades"] == adjusted["summary"]["trades"]
    assert abs(raw["summary"]["total_return"] - adjusted["summary"]["total_return"]) < 0.005
    assert "dividends are not recorded" in run("backtest", *YEAR, "--raw")[1]


def test_signal_quality_answers_people_with_what_was_needed_and_from_whom(run):
    code, out, _ = run("signal-quality", *YEAR)
    assert code == 0
    for word in ("needed to break even", "worth", "Shapley", "x_sentiment", "Hypothetical"):
        assert word in out
    assert "report signal_quality" in out


def test_signal_quality_answers_programs_with_the_numbers_of_the_package(run):
    from argo_alpine.loading import load
    from argo_alpine.signal_quality import figures, signal_quality

    code, out, _ = run("signal-quality", *YEAR, "--horizon", "10", "--json")
    said = json.loads(out)
    bars = load(["AAPL"], None, date(2011, 12, 30))
    assert code == 0
    assert said["figures"] == figures(signal_quality(bars, start=date(2011, 1, 3), horizon=10))
    assert said["figures"]["needed"] is not None
    assert {"coverage", "agreement", "adds", "low", "high"} <= said["sources"][0].keys()
    assert said["sources"][3]["agreement"] is None


def test_too_few_signals_are_a_count_and_no_rate(run):
    words = ("--symbols", "AAPL", "--from", "2011-11-01", "--to", "2011-12-30")
    code, out, _ = run("signal-quality", *words)
    assert code == 0
    assert "too few to judge" in out
    assert "nan" not in out


def test_the_report_that_signal_quality_names_can_be_run(run):
    from services.common.reports import declared, template

    _, out, _ = run("signal-quality", *YEAR, "--report")
    words = out.split()
    assert words[:3] == ["argo-alpine", "report", "signal_quality"]
    known = declared(template("signal_quality"))
    given = cli.settings(None, words[3:], known)
    assert given["first"] == "2011-01-03"


def test_a_wiped_out_account_is_one_sentence_that_says_when(run, monkeypatch):
    from argo_alpine import backtest

    def ruined(*prices, **knobs):
        real = whole(*prices, **knobs)
        real.equity[7] = -12.5
        return real

    whole = backtest.backtest
    monkeypatch.setattr(backtest, "backtest", ruined)
    words = ("backtest", "--symbols", "AAPL", "--from", "2011-01-03", "--to", "2011-12-30")
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    said = "argo-alpine: the account was wiped out at bar 7, 2011-01-12: equity was -12.50"
    assert said in err and "Traceback" not in err


def test_the_command_the_report_and_the_policies_start_from_the_same_numbers():
    options = {
        name: option.default
        for name, option in inspect.signature(backtests.backtest).parameters.items()
        if name != "context"
    }
    template = json.loads((ROOT / "nbs" / "reports" / "backtest.ipynb").read_text())
    source = "".join(template["cells"][1]["source"])
    defaults = {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign)
    }
    assert defaults.pop("knobs") == ""  # `--set` in a command
    assert {k: str(v) if k in {"first", "last"} else v for k, v in options.items()} == (
        defaults | {"settings": None, "raw": False, "trades": None, "json": False}
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


def test_the_module_is_the_command():
    """Whoever runs it as one must not be left with silence."""
    words = [sys.executable, "-m", "services.cli", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip()
