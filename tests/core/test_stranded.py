"""A position that outlives its bars is told of, and no other is."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.backtest import Backtest, backtest
from argo_alpine.bars import COLUMNS, Bars
from argo_alpine.engine import Policy
from argo_alpine.results import stranded_in_words
from argo_alpine.risk import RiskPolicy
from argo_alpine.sizing import SizingPolicy
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
@given(st.integers(0, 2**32 - 1), st.integers(30, 58))
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


def test_the_markets_above_strand_positions_and_hold_others():
    runs = [run_of(seed, 45) for seed in range(20)]
    assert sum(len(run.stranded) for run in runs) > 3
    assert sum(len(run.holdings) - len(run.stranded) for run in runs) > 3
