"""A trial once counted stays counted: through crashes, rivals and second thoughts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine.domain import InvalidJournal
from argo_alpine.trials import Ledger

SOME = {
    "a": {"sharpe": 0.5},
    "b": {"sharpe": float("nan")},
    "c": {"sharpe": -1.0, "note": "\u2028"},
}

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    ledger = Ledger(tmp_path / "deep" / "trials.jsonl")
    ledger.add(SOME)
    return ledger.path


def test_what_was_written_is_read(path):
    ledger = Ledger(path)
    assert [*ledger.trials] == ["a", "b", "c"]
    assert ledger.trials["c"] == {"sharpe": "-1.0", "note": "\u2028"}


def test_the_same_trial_twice_is_one_line_and_another_result_of_it_one_trial(path):
    ledger = Ledger(path)
    before = path.read_bytes()
    ledger.add(SOME)
    assert path.read_bytes() == before
    ledger.add({"a": {"sharpe": 9.0}})
    assert (len(ledger), ledger.lines) == (3, 4)
    assert path.read_bytes().startswith(before)


@given(st.data())
def test_any_changed_byte_is_seen(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("ledger") / "trials.jsonl"
    Ledger(path).add(SOME)
    written = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(written) - 2))  # the last newline is a torn line
    written[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(written)
    with pytest.raises(InvalidJournal, match="is not what was written"):
        Ledger(path)


@pytest.mark.parametrize("order", [(1, 2), (0, 2), (0, 2, 1), (0, 0, 1, 2)])
def test_a_line_left_out_moved_or_doubled_is_seen(path, order):
    lines = path.read_text().split("\n")[:-1]
    path.write_text("".join(lines[i] + "\n" for i in order))
    with pytest.raises(InvalidJournal):
        Ledger(path)


@given(st.integers(1, 400))
def test_a_line_cut_short_is_dropped_loudly_and_can_be_written_again(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("ledger") / "trials.jsonl"
    Ledger(path).add(SOME)
    whole = path.read_bytes()
    last = len(whole.split(b"\n")[-2]) + 1
    path.write_bytes(whole[: -min(cut, last - 1)])
    with pytest.warns(UserWarning, match="cut short"):
        ledger = Ledger(path)
    assert [*ledger.trials] == ["a", "b"]
    ledger.add(SOME)
    assert path.read_bytes() == whole


def test_a_file_that_shrinks_while_it_is_open_is_refused(path):
    ledger = Ledger(path)
    path.write_text("")
    with pytest.raises(InvalidJournal, match="shorter"):
        ledger.add({"d": {}})


def add_some(path, name, count):
    ledger = Ledger(path)
    for n in range(count):
        ledger.add({f"{name}-{n}": {"n": n}, f"shared-{n}": {"n": n}})


def test_two_processes_never_interleave_and_never_count_twice(tmp_path):
    path = tmp_path / "trials.jsonl"
    # not by multiprocessing: it runs the main module again, whatever another test made of that
    adding = "import sys, pathlib; from tests.core.test_ledger import add_some as add; "
    adding += "add(pathlib.Path(sys.argv[1]), sys.argv[2], 25)"
    words = [sys.executable, "-c", adding, str(path)]
    both = [subprocess.Popen([*words, name], cwd=ROOT) for name in ("left", "right")]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    ledger = Ledger(path)  # the chain holds
    assert len(ledger) == ledger.lines == 75
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
    assert len(set(keys)) == 75


def test_without_the_lock_two_processes_would_break_the_chain(path, monkeypatch):
    first, second = Ledger(path), Ledger(path)
    monkeypatch.setattr(second, "catch_up", lambda file: None)  # does not look before it writes
    first.add({"d": {}})
    second.add({"e": {}})
    with pytest.raises(InvalidJournal, match="line 5"):
        Ledger(path)


@pytest.mark.parametrize("content", ['{"precious": true}', "a,b\n1,2\n3,4", "\x00\x01", "notes"])
def test_a_file_that_is_no_ledger_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "notes.json"
    path.write_text(content)
    with pytest.raises(InvalidJournal):
        Ledger(path)
    assert path.read_text() == content


def test_nothing_where_a_line_should_stand_is_a_line_cut_short(path):
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 100)
    with pytest.warns(UserWarning, match="cut short"):
        assert len(Ledger(path)) == len(SOME)
    assert path.read_bytes() == whole
