"""Two commands that try many policies, count every trial, and promise nothing."""

import json
import os
import signal
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from time import monotonic

import pytest

from argo_alpine.trials import TRIALS, Ledger
from services.commands import search
from services.commands.knobs import SLOW
from tests.together import waited

SHORT = ("--symbols", "AAPL,MSFT", "--from", "2009-01-02", "--to", "2010-12-31")
WALK = ("walk-forward", *SHORT, "--train", "200", "--test", "100", "--min-trades", "5")
HALVES = ("walk-forward", *SHORT, "--train", "200", "--test", "152", "--min-trades", "5")
SWEEP = ("sweep", *SHORT, "--min-trades", "5")
GRID = ("--grid", "sizing.stop_pct=2,4", "--grid", "consensus.threshold=66:72:3")


@pytest.fixture
def book(tmp_path):
    return tmp_path / "trials.jsonl"


@pytest.mark.parametrize("command", ["walk-forward", "sweep"])
def test_help_teaches_with_examples_and_names_every_option(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert out.count(f"  argo-alpine {command}") >= 4
    for option in ("--grid", "--set", "--ledger", "--cluster", "--workers", "--json"):
        assert option in out


def test_the_commands_are_found_by_those_who_ask_for_help(run):
    _, out, _ = run("--help")
    assert "argo-alpine sweep" in out
    assert "argo-alpine walk-forward" in out


def test_the_ledger_is_where_the_notebooks_say():
    assert search.LEDGER == TRIALS


def test_a_walk_answers_programs(run, book):
    code, out, _ = run(*WALK, *GRID, "--ledger", book, "--json")
    said = json.loads(out)
    assert code == 0
    assert said["trials"] == said["ever"] == len(Ledger(book)) == 6 * len(said["folds"])
    assert {"inside", "outside", "sizing.stop_pct", "test_from"} <= said["folds"][0].keys()
    assert said["summary"]["trades"] == sum(fold["trades"] for fold in said["folds"])
    assert "Hypothetical" in said["caveat"]


def table_of(out):
    """The first table of an answer: its head and the lines below the rule."""
    lines = out.splitlines()
    rule = next(n for n, line in enumerate(lines) if "\N{BOX DRAWINGS LIGHT HORIZONTAL}" in line)
    return lines[: rule + 1], [*takewhile(str.strip, lines[rule + 1 :])]


@pytest.mark.parametrize("aim", ["sharpe", "calmar"])
@pytest.mark.parametrize("more", [0, 1, 3])
@pytest.mark.parametrize(("command", "lines"), [(SWEEP, 6), (HALVES, 2)], ids=["sweep", "walk"])
def test_a_point_is_one_line_of_eighty_characters(
    run, book, monkeypatch, command, lines, more, aim
):
    monkeypatch.setenv("COLUMNS", "80")
    knobs = ("sizing.target_pct=5", "costs.slippage_bps=5", "sizing.volatility_pct=2")[:more]
    grids = [word for knob in knobs for word in ("--grid", knob)]
    _, out, _ = run(*command, *GRID, *grids, "--objective", aim, "--ledger", book)
    head, rows = table_of(out)
    assert len(rows) == lines
    assert max(map(len, [*head, *rows])) <= 80
    assert all(row.count("[") == row.count("]") for row in rows)
    for name in ("stop", "threshold", *(knob.partition(".")[2][:6] for knob in knobs)):
        assert any(name in line for line in head)


def test_a_walk_answers_people_with_its_caveats(run, book):
    code, out, _ = run(*WALK, *GRID, "--ledger", book)
    assert code == 0
    assert "Out of sample: return" in out
    assert "Inside scores are the best of 6 and flatter." in out
    assert "Hypothetical" in out


def test_a_fold_that_cannot_choose_says_why(run, book):
    code, out, _ = run(*WALK, *GRID, "--min-trades", "5000", "--ledger", book)
    assert code == 0
    assert "nothing could be chosen" in out
    assert "not defined" in out
    assert "nan" not in out.split()


def test_the_chooser_and_the_knobs_reach_the_walk(run, book):
    words = (*WALK, *GRID, "--ledger", book, "--json")
    base, other = (json.loads(run(*words, *more)[1]) for more in ((), ("--choose", "peak")))
    assert all(
        a["inside"] <= b["inside"] for a, b in zip(base["folds"], other["folds"], strict=True)
    )
    dear = json.loads(run(*words, "--set", "costs.slippage_bps=100")[1])
    assert dear["summary"]["total_return"] < base["summary"]["total_return"]


def test_a_sweep_answers_programs_and_counts_once(run, book):
    words = (*SWEEP, *GRID, "--ledger", book, "--json")
    code, out, _ = run(*words)
    said = json.loads(out)
    assert (code, said["trials"], said["ever"], len(said["table"])) == (0, 6, 6, 6)
    assert said["table"][said["peak"]]["score"] == max(row["score"] for row in said["table"])
    assert run(*words)[1] == out  # from the ledger: the same, and no further trial
    assert Ledger(book).lines == 6


def test_a_sweep_answers_people_with_both_answers_and_the_count(run, book):
    code, out, _ = run(*SWEEP, *GRID, "--ledger", book)
    assert code == 0
    assert "Peak: sizing.stop_pct" in out
    assert "Plateau: sizing.stop_pct" in out
    assert "The best of 6 trials flatters" in out


def test_a_range_is_searched_and_the_seed_decides(run, book, tmp_path):
    words = (*SWEEP, "--range", "consensus.threshold=60:80", "--range", "indicators.sma=20:60:10")
    words += ("--trials", "12", "--json", "--ledger")
    first = json.loads(run(*words, book)[1])
    again = json.loads(run(*words, tmp_path / "other.jsonl", "--workers", "1")[1])
    assert first == again
    other = json.loads(run(*words, book, "--seed", "2")[1])
    assert other["table"] != first["table"]


def test_a_search_of_too_few_trials_says_why_there_is_no_plateau(run, book):
    code, out, _ = run(*SWEEP, "--range", "indicators.sma=20:60", "--trials", "4", "--ledger", book)
    assert code == 0 and "Peak: indicators.sma " in out
    assert "Plateau: none, since around no trial enough others could be judged" in out
    words = ("--grid", "sizing.stop_pct=2,4", "--ledger", book, "--min-trades", "9999")
    out = run(*SWEEP, *words)[1]
    for name in ("Peak", "Plateau"):
        assert f"{name}: nothing could be judged: " in out and f"{name}: none" not in out


SWALLOWED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from contextlib import suppress
from pathlib import Path
import typer
from services import cli
from services.commands import knobs
from services.commands.screen import progress
from services.commands.search import watched
from services.common import folders

cli.app = typer.Typer()

@cli.app.command()
def command():
    with suppress(BaseException):  # as libraries do it while they are imported
        signal.raise_signal(signal.SIGINT)
        time.sleep(5)
    {then}
    print("went on")

cli.main()
"""
FOUND = "folders.is_own, folders.asked = lambda _: False, lambda *_: print('went on')"


@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("with watched('Trials', Path('book')) as tick: tick(1, 20)", 130),
        ("raise ImportError('numba failed to import')", 130),
        ("raise OSError(28, 'No space left on device')", 130),
        ("cli.ticker()(1, 2, 'Costs')", 130),
        ("with progress('Reading', 2) as tick: tick(1)", 130),
        (f"{FOUND}; knobs.asked(None, 'prices', 'AAPL', None, None, None)", 130),
        ("pass", 130),  # nothing is left to be stopped, and yet it was not let be
        ("sys.exit(0)", 130),
        ("sys.exit(3)", 3),
    ],
)
def test_a_ctrl_c_that_a_library_swallows_stops_what_comes_after_it(then, code):
    words = [sys.executable, "-c", SWALLOWED.format(then=then)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "went on" in done.stdout) == (code, then == "pass")
    assert "Traceback" not in done.stderr
    assert ("the same command goes on" in done.stderr) == ("watched" in then)


def test_a_judgement_that_was_to_be_stopped_is_not_shown(run, monkeypatch):
    from services.commands import interrupts

    monkeypatch.setattr(
        "argo_alpine.signal_quality.signal_quality", lambda *_, **__: interrupts.CAME.set()
    )
    monkeypatch.setattr("services.commands.quality.show_quality", lambda *_: print("shown"))
    code, out, _ = run("signal-quality", "--symbols", "AAPL")
    assert (code, out) == (130, "")


LOST = """
import signal, weakref
import typer
from services import cli
signal.signal(signal.SIGINT, signal.default_int_handler)

class Thing: ...

def lose(kind):
    thing = Thing()
    known = weakref.ref(thing, lambda _: kind())
    del thing

def error():
    raise ValueError("something else")

cli.app = typer.Typer()

@cli.app.command()
def command():
    lose(lambda: signal.raise_signal(signal.SIGINT))
    lose(error)

cli.main()
"""


def test_a_ctrl_c_in_a_callback_is_said_in_one_line_and_other_errors_as_ever():
    words = [sys.executable, "-c", LOST]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert "KeyboardInterrupt" not in done.stderr
    assert "ValueError: something else" in done.stderr
    assert done.stderr.endswith("\nargo-alpine: interrupted\n")


EARLY = """
import signal
import typer.main
from services import cli

real = typer.main.get_command
typer.main.get_command = lambda app: (signal.raise_signal(signal.SIGINT), real(app))[1]
cli.main(["--help"])
"""


def test_a_ctrl_c_before_the_command_is_known_is_one_line():
    words = [sys.executable, "-c", EARLY]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "argo-alpine: interrupted\n"


def test_after_ctrl_c_the_same_command_goes_on(run, book, monkeypatch):
    from argo_alpine import walk_forward

    monkeypatch.setattr(walk_forward, "BATCH", 2)
    real, calls = walk_forward.outcomes, []

    def interrupted(course, candidates, workers=1):
        calls.append(len(candidates))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(course, candidates, workers)

    monkeypatch.setattr("argo_alpine.optimize.outcomes", interrupted)
    code, out, err = run(*SWEEP, *GRID, "--ledger", book)
    assert (code, out, len(Ledger(book))) == (130, "", 2)
    assert "the same command goes on" in err
    assert run(*SWEEP, *GRID, "--ledger", book, "--json")[0] == 0
    assert sum(calls) - calls[1] == 6


MANY = ("--grid", "sizing.stop_pct=1:5:0.02", "--grid", "consensus.threshold=60:80:2")
BEGIN = "from services.cli import main; main()"


@pytest.mark.parametrize(
    "words", [(*SWEEP, *MANY), (*HALVES, *MANY)], ids=["sweep", "walk-forward"]
)
def test_a_real_ctrl_c_ends_at_once_keeps_the_ledger_and_loses_nothing(run, book, tmp_path, words):
    command = [sys.executable, "-c", BEGIN, *words, "--ledger", str(book), "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as searching:
        waited(300, lambda: book.is_file() and book.stat().st_size > 0)
        searching.send_signal(signal.SIGINT)
        began = monotonic()
        out, err = searching.communicate(timeout=60)
    assert monotonic() - began < 20  # a portion of each thread, not all that is left
    assert (searching.returncode, out) == (130, "")
    said = [line for line in err.splitlines() if line != SLOW]
    assert len(said) == 1 and said[0].startswith("Interrupted. Trials so far are in")
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        os.killpg(searching.pid, 0)
    kept = Ledger(book).lines
    assert kept > 0
    resumed = run(*words, "--ledger", book, "--json")[1]
    whole = run(*words, "--ledger", tmp_path / "other.jsonl", "--json")[1]
    assert 0 < kept < len(Ledger(tmp_path / "other.jsonl")) == len(Ledger(book))
    assert json.loads(resumed) == json.loads(whole.replace("other.jsonl", book.name))


def test_a_line_cut_short_in_the_ledger_is_told(run, book):
    run(*SWEEP, *GRID, "--ledger", book)
    book.write_bytes(book.read_bytes()[:-9])
    code, _, err = run(*SWEEP, *GRID, "--ledger", book)
    assert code == 0
    assert "Warning:" in err
    assert "cut short" in err


def test_a_changed_ledger_is_one_sentence_and_exit_code_one(run, book):
    run(*SWEEP, *GRID, "--ledger", book)
    book.write_text(book.read_text().replace("sharpe", "charme", 1))
    code, out, err = run(*SWEEP, *GRID, "--ledger", book)
    assert (code, out) == (1, "")
    assert "is not what was written" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grid", "sizing.stop=1,2"), "did you mean sizing.stop_pct"),
        (("--set", "sizing.stop_pct=much"), "sizing.stop_pct must be a finite number"),
        (("--grid", "sizing.stop_pct=3,2"), "must ascend"),
        (("--objective", "luck"), "no objective 'luck'"),
        (("--symbols", "TSLA"), "no TSLA in samples"),
        (("--cluster", "tcp://127.0.0.1:1"), "no scheduler answers"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_cannot_be_meant_is_one_sentence_and_exit_code_one(run, book, words, said):
    code, out, err = run("sweep", "--ledger", book, *words)
    assert (code, out) == (1, "")
    assert said in err.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ("sweep", "--grid", "sizing.stop_pct"),
        ("sweep", "--set", "=3"),
        ("sweep", "--range", "sizing.stop_pct=1"),
        ("sweep", "--range", "sizing.stop_pct=1:2", "--grid", "sizing.stop_pct=1,2"),
        ("sweep", "--workers", "0"),
        ("walk-forward", "--choose", "luck"),
        ("walk-forward", "--train", "1"),
        ("walk-forward", "--from", "yesterday"),
    ],
    ids=" ".join,
)
def test_a_wrong_question_is_exit_code_two(run, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert f"Usage: argo-alpine {words[0]}" in err
    assert not Path("data").exists()  # nothing was counted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grid", "sizing.stop_pct=2,3", "--grid", "sizing.stop_pct=4"), "is asked for twice"),
        (("--range", "sizing.stop_pct=1:2", "--seed", "-1"), "seed"),
        (("--from", "2005-3-1"), "write it as 2005-03-01"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(run, book, words, said):
    code, out, err = run(*SWEEP, *words, "--ledger", book)
    assert (code, out) == (2, "")
    assert said in " ".join(err.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())


def test_what_the_system_refuses_is_one_sentence(run, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run(*SWEEP, *GRID, "--ledger", tmp_path / "file" / "trials.jsonl")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"argo-alpine: File exists: {tmp_path / 'file'}"


@pytest.mark.parametrize("kind", ["folder", "pipe", "/dev/null", "/dev/full"])
def test_a_ledger_that_is_no_file_is_one_sentence(run, tmp_path, kind):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    code, out, err = run(*SWEEP, *GRID, "--ledger", tmp_path / kind)
    assert (code, out) == (1, "")
    said = f"{tmp_path / kind} is no file that lines can be kept in: name another"
    assert err.splitlines()[-1] == f"argo-alpine: {said}"


def test_a_ledger_in_a_home_that_nobody_has_is_one_sentence(run):
    code, out, err = run(*SWEEP, *GRID, "--ledger", "~nobody-of-that-name/t.jsonl")
    said = "no place ~nobody-of-that-name/t.jsonl: nobody of that name has a home here"
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"argo-alpine: {said}"
