"""A position that outlives its bars is told of, and no other is."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.backtest import Backtest, backtest
from argo_alpine.bars import COLUMNS, Bars
from argo_alpine.engine import Policy
from argo_alpine.fields import Grid
from argo_alpine.folds import Windows
from argo_alpine.optimize import sweep
from argo_alpine.results import stranded_in_words
from argo_alpine.risk import RiskPolicy
from argo_alpine.sizing import SizingPolicy
from argo_alpine.stretches import Candidate, Span, course_of, stitched, stretch
from argo_alpine.walk_forward import Objective, WalkForward, fold_table, outcomes, walk_forward
from tests.test_parity import QUICK, a_market

EAGER = Policy(
    indicators=QUICK,
    risk=RiskPolicy(drawdown_pct=99.0),
    sizing=SizingPolicy(stop_pct=40.0, target_pct=60.0),
)


def cut(bars: Bars, symbol: str, last: int) -> Bars:
    """The same bars, without those of one symbol after a row."""
    columns = {name: getattr(bars, name).copy() for name in COLUMNS}
    for column in columns.values():
        column[last + 1 :, bars.symbols.index(symbol)] = np.nan
    return replace(bars, **columns)


def run_of(seed: int, last: int | None) -> Backtest:
    bars = a_market(seed, 60, ("A", "B"), 0.02, missing=0.0)
    return backtest(bars if last is None else cut(bars, "B", last), EAGER)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(30, 50))
def test_what_is_held_of_an_ended_symbol_is_stranded_since_its_last_bar(seed, last):
    run = run_of(seed, last)
    held, left = run.holdings.set_index("symbol"), run.stranded.set_index("symbol")
    assert {*left.index} == {*held.index} & {"B"}
    assert ("B had its last bar" in stranded_in_words(run)) == ("B" in held.index)
    for row in left.itertuples():
        assert row.since == run.bars.times[last]
        assert (row.quantity, row.last) == (held.loc["B", "quantity"], run.bars.close[last, 1])
        assert row.worth == row.quantity * row.last
        assert row.share == row.worth / run.equity[-1]
    assert ("without bars" in run._repr_html_()) == ("B" in held.index)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_of_symbols_whose_bars_go_on_nothing_is_said(seed):
    run = run_of(seed, None)
    assert run.stranded.empty
    assert stranded_in_words(run) == ""
    assert "without bars" not in run._repr_html_()


def test_a_pause_at_the_end_is_no_end():
    """A holiday elsewhere, a weekend beside a coin: nobody knows yet whether more bars come."""
    for last in (56, 57, 58):
        assert all(run_of(seed, last).stranded.empty for seed in range(10))
        assert not any(shares(seed, last, 1)[0] for seed in range(10))


def test_the_markets_above_strand_positions_and_hold_others():
    runs = [run_of(seed, 45) for seed in range(20)]
    assert sum(len(run.stranded) for run in runs) > 3
    assert sum(len(run.holdings) - len(run.stranded) for run in runs) > 3


def shares(seed: int, last: int | None, n_spans: int) -> list[float]:
    """What a search says of some candidates, on a sheet or in spans put end to end."""
    bars = a_market(seed, 60, ("A", "B"), 0.02, missing=0.0)
    course = course_of(bars if last is None else cut(bars, "B", last))
    spans = (Span(0, 20), Span(20, 60))[-n_spans:] if n_spans > 1 else course.spans
    thrifty = replace(EAGER, sizing=replace(EAGER.sizing, base_pct=5.0))
    some = [Candidate(EAGER), Candidate(thrifty)]
    return [one.stranded for one in outcomes(replace(course, spans=spans), some)]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.one_of(st.none(), st.integers(30, 50)))
def test_a_candidate_is_stranded_with_what_a_backtest_holds_beyond_its_bars(seed, last):
    first, second = shares(seed, last, 1)
    assert first == run_of(seed, last).stranded["share"].abs().sum()
    assert (second == 0) == (first == 0) and second <= first


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(30, 50))
def test_spans_end_to_end_are_stranded_as_the_worst_of_them(seed, last):
    bars = cut(a_market(seed, 60, ("A", "B"), 0.02, missing=0.0), "B", last)
    course, spans = course_of(bars), (Span(0, 20), Span(20, 60))
    parts = [stretch(course, Candidate(EAGER), span) for span in spans]
    assert parts[0].stranded == 0.0
    assert stitched(parts, course.cash).stranded == parts[1].stranded == shares(seed, last, 2)[0]


TWO = Grid({"sizing.base_pct": (5.0, 10.0)})


def walk_of(seed: int, last: int | None) -> WalkForward:
    bars = a_market(seed, 120, ("A", "B"), 0.02, missing=0.0)
    bars = bars if last is None else cut(bars, "B", last)
    aim = Objective("total_return", 0)
    return walk_forward(bars, TWO, Windows(40, 20), Candidate(EAGER), aim)


def test_a_walk_names_the_folds_whose_symbols_had_ended():
    walk = next(w for w in (walk_of(seed, 65) for seed in range(20)) if w.steps[1].outcome.stranded)
    share = walk.steps[1].outcome.stranded
    assert [step.outcome.stranded > 0 for step in walk.steps] == [False, True, False, False]
    assert walk.outcome.stranded == share == fold_table(walk)["stranded"].max()
    assert walk.stranded.startswith(
        "Tests (fold 2) sold positions whose symbols had no bars any more at their last close, "
        f"up to {100 * share:.1f} % of the equity"
    )
    assert walk.stranded in walk._repr_html_()


def test_a_walk_says_how_many_trials_of_a_training_were_stranded():
    walk = next(w for w in (walk_of(seed, 70) for seed in range(20)) if w.steps[2].blind[0])
    assert walk.steps[2].blind[0] == 2
    assert "Trials in training (fold 3: 2 of 2" in walk.stranded


def test_a_walk_and_a_sweep_of_symbols_that_go_on_say_nothing():
    walk = walk_of(3, None)
    assert walk.stranded == ""
    assert "any more" not in walk._repr_html_()
    bars = a_market(3, 60, ("A", "B"), 0.02, missing=0.0)
    assert "any more" not in sweep(course_of(bars), TWO, Candidate(EAGER)).caveat


def test_a_sweep_says_how_many_of_its_trials_were_stranded():
    seed = next(s for s in range(20) if len(run_of(s, 45).stranded))
    bars = cut(a_market(seed, 60, ("A", "B"), 0.02, missing=0.0), "B", 45)
    found = sweep(course_of(bars), TWO, Candidate(EAGER))
    most = found.table["stranded"].max()
    assert "out of sample. 2 of 2 trials sold positions whose symbols had no bars" in found.caveat
    assert f"up to {100 * most:.1f} % of the equity" in found.caveat
    assert most == run_of(seed, 45).stranded["share"].abs().sum()
