"""What may be said in one sentence, and what a run is held against."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine import metrics, verdict
from argo_alpine.backtest import backtest
from argo_alpine.bars import Bars, between
from argo_alpine.bootstrap import luck
from argo_alpine.inputs import actions_of
from argo_alpine.loading import Action, load, splits_of
from argo_alpine.metrics import summarise, summary
from argo_alpine.shares import FLOOR

DAY = 86_400_000_000
AT = 19_783 * DAY + DAY * np.arange(6)
EQUITY = np.array([100.0, 104.0, 101.0, 107.0, 98.0, 103.0])

triples = st.tuples(st.floats(-3, 3), st.floats(0, 2)).map(
    lambda x: (x[0], x[0] - x[1], x[0] + x[1])
)


@given(st.integers(0, FLOOR - 1), st.floats(-0.9, 9.0), triples)
def test_few_trades_are_never_praised_whatever_they_are_held_against(trades, benchmark, beyond):
    seen = summarise(EQUITY, AT, np.ones(trades), np.zeros(1), np.zeros(6), 252)
    assert verdict.verdict(seen, benchmark, beyond).endswith("too few trades to judge.")


@given(st.floats(-0.002, 0.004), st.floats(-0.9, 9.0), triples)
def test_praise_needs_an_interval_above_zero_and_more_than_holding_made(drift, benchmark, beyond):
    moves = np.random.default_rng(7).normal(drift, 0.01, 250)
    values, at = 1e5 * np.cumprod(1 + moves), AT[0] + 86_400_000_000 * np.arange(250)
    seen = summarise(values, at, np.ones(FLOOR), np.zeros(1), np.zeros(250), 252)
    is_praised = "look further" in verdict.verdict(seen, benchmark, beyond)
    assert is_praised == (seen.sharpe_low > 0 and beyond[1] > 0)


wide_triples = st.tuples(st.floats(-100, 100), st.floats(0, 50), st.floats(0, 50)).map(
    lambda x: (x[0], x[0] - x[1], x[0] + x[2])
)


@given(st.integers(0, 10_000), wide_triples, wide_triples)
def test_praise_needs_many_signals_a_gain_beyond_luck_and_beyond_the_drift(n, net, beyond):
    text = verdict.signal_verdict(n, (0.4, 0.3, 0.5), 0.39, net, beyond)
    assert ("look further" in text) == (n >= FLOOR and net[1] > 0 and beyond[1] > 0)
    is_blamed = n >= FLOOR and net[1] > 0 and beyond[2] < 0
    assert ("worse than having no opinion" in text) == is_blamed


def test_how_far_ahead_is_the_sharpe_ratio_of_the_differences():
    rng = np.random.default_rng(4)
    one, other = (100 * np.cumprod(rng.normal(1.001, 0.01, 300)) for _ in range(2))
    apart = np.diff(one) / one[:-1] - np.diff(other) / other[:-1]
    lead = verdict.ahead(one, other, 252)
    assert lead[0] == pytest.approx(metrics.sharpe(apart, 252))
    assert lead[1:] == pytest.approx(metrics.sharpe_interval(apart, 252))
    assert np.isnan(verdict.ahead(one, one, 252)).all()


def bars_of(close):
    """A bar a day at these closes."""
    at = AT[0] + DAY * np.arange(len(close))
    symbols = tuple("ABCDEF"[: close.shape[1]])
    return Bars(symbols, at, *(close for _ in range(5)), "splits")


@given(st.integers(0, 2**32 - 1))
def test_holding_is_what_pandas_says_of_equal_parts(seed):
    rng = np.random.default_rng(seed)
    close = rng.uniform(5, 50, (12, 4))
    close[rng.random(close.shape) < 0.3] = np.nan
    close[:, 0] = rng.uniform(5, 50, 12)  # no row is empty
    bars, first = bars_of(close), int(rng.integers(0, 8))
    at = bars.at[first:][:: int(rng.integers(1, 3))]
    known = pd.DataFrame(close, index=bars.at).ffill().loc[at]
    expected = 1e4 * (known / known.iloc[0]).mean(axis=1).to_numpy()
    assert verdict.holding(bars, at, 1e4) == pytest.approx(expected, rel=1e-12)


def test_nobody_buys_at_a_price_that_came_later():
    close = np.array([[10.0, np.nan], [10.0, 1.0], [10.0, 99.0]])
    assert verdict.holding(bars_of(close), bars_of(close).at, 1.0).tolist() == [1.0, 1.0, 1.0]


def test_the_interval_that_is_given_decides_and_is_shown():
    rising = 1e5 * np.cumprod(1 + np.random.default_rng(3).normal(0.002, 0.01, 400))
    seen = summarise(rising, AT[0] + DAY * np.arange(400), np.ones(40), np.zeros(1), rising, 252)
    assert seen.sharpe_low > 0 and "look further" in verdict.verdict(seen, 0.1, (1.0, 0.5, 1.5))
    text = verdict.verdict(seen, 0.1, (1.0, 0.5, 1.5), {"sharpe": (-0.07, 4.0)})
    assert "luck could not explain" in text and "[\N{MINUS SIGN}0.07, 4.00]" in text


def test_a_backtest_is_held_against_its_own_symbols():
    bars = between(load(["AAPL", "MSFT"]), None, pd.Timestamp("2006-03-01").date())
    run = backtest(bars, start=pd.Timestamp("2004-07-01").date())
    page, spans = summary(run), luck(run, 100)
    held = verdict.holding(run.bars, run.bars.at, run.cash)
    lead = verdict.ahead(run.equity, verdict.at_exposure(held, page.exposure), page.per_year)
    said = verdict.judgement(run, page, spans)
    assert said == verdict.verdict(page, held[-1] / held[0] - 1, lead, spans)
    assert metrics.told(page, spans)["sharpe"] in said


def held_in(run):
    """What holding brought, as the sentence says it."""
    return verdict.judgement(run, summary(run)).split("than the ")[1].split(" of buying")[0]


def test_a_bar_that_is_missing_at_the_first_close_takes_nobody_out():
    bars, start = (
        load(["AAPL", "IBM", "MSFT"], last=pd.Timestamp("2006-03-01").date()),
        "2005-03-01",
    )
    first = int(np.searchsorted(bars.days, np.datetime64(start).astype("M8[D]").astype(int)))
    columns = [getattr(bars, name).copy() for name in ("open", "high", "low", "close", "volume")]
    for column in columns:
        column[first, 0] = np.nan
    holed = Bars(bars.symbols, bars.at, *columns, bars.basis)
    day = pd.Timestamp(start).date()
    with_all, without = (backtest(some, start=day) for some in (bars, holed))
    parts = [float(text.removesuffix(" %")) for text in map(held_in, (with_all, without))]
    assert parts[0] == pytest.approx(parts[1], abs=1.0)  # the close of a day before, not nobody
    assert "Not held" not in verdict.judgement(without, summary(without))


def test_who_has_no_bars_any_more_is_not_bought_and_named():
    close = np.array([[10.0, 10.0], [10.0, np.nan], [11.0, np.nan], [12.0, np.nan]])
    bars = bars_of(close)
    assert verdict.holding(bars, bars.at[2:], 1.0).tolist() == [1.0, 12 / 11]
    assert "Not held: B," in verdict.left_out(bars, bars.at[2:])


def test_more_than_all_of_it_can_be_held_against_anybody():
    equity, held = np.full(6, 1e5), 100 * np.cumprod([1.0, 1.3, 0.55, 1.2, 1.1, 1.0])
    assert verdict.at_exposure(held, 2.6).min() < 0  # such an account would have been ruined
    lead = verdict.ahead(equity, held, 252, 2.6)
    apart = -2.6 * np.diff(held) / held[:-1]
    assert lead[0] == pytest.approx(metrics.sharpe(apart, 252))


def test_whoever_holds_is_paid_what_is_paid_on_shares():
    close = np.full((4, 1), 50.0)
    paid = [Action("A", pd.Timestamp("2024-03-02").date(), dividend=3.0)]
    bars = replace(bars_of(close), basis="raw")
    actions = actions_of(bars, paid)
    assert verdict.holding(bars, bars.at, 100.0, actions).tolist() == [100.0, 100.0, 106.0, 106.0]
    assert verdict.holding(bars, bars.at[2:], 100.0, actions).tolist() == [100.0, 100.0]


def test_a_split_takes_nothing_from_who_holds():
    stocks, last = ["AAPL", "MSFT"], pd.Timestamp("2006-03-01").date()
    start = pd.Timestamp("2004-07-01").date()
    raw = backtest(
        load(stocks, last=last, basis="raw"), start=start, actions=splits_of(stocks)
    )  # Apple's two for one of February 2005 lies within
    adjusted = backtest(load(stocks, last=last), start=start)
    assert held_in(raw) == held_in(adjusted)
