"""Published numbers, and what a backtest must never do."""

import warnings
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.backtest import backtest
from argo_alpine.bars import Action, Bars, from_frame, load
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import InvalidPolicy
from argo_alpine.engine import Policy
from argo_alpine.metrics import max_drawdown
from argo_alpine.risk import RiskPolicy
from argo_alpine.sessions import closes
from argo_alpine.sizing import SizingPolicy
from tests.test_parity import QUICK, a_market

FREE = FillPolicy(slippage_bps=0.0, spread_bps=0.0, borrow_pct=0.0)
UNLIMITED = Policy(
    risk=RiskPolicy(
        power_buffer_pct=0.0, daily_loss_pct=100.0, drawdown_pct=100.0, collar_pct=100.0
    ),
    sizing=SizingPolicy(stop_pct=0.0, target_pct=0.0),
)


def google() -> tuple[pd.DataFrame, Bars]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # backtesting.py warns on import under pandas 3
        from backtesting.test import GOOG
    frame = GOOG.rename(columns=str.lower)
    stamped = frame.set_axis(pd.to_datetime(closes(list(frame.index.date)), unit="us", utc=True))
    return GOOG, from_frame(stamped, "GOOG", "raw")


def crossover(close: np.ndarray) -> np.ndarray:
    """Long while the mean of 10 closes is above that of 30, else short; nothing before both are."""
    prices = pd.Series(close)
    fast, slow = prices.rolling(10).mean(), prices.rolling(30).mean()
    crossed = np.sign(fast - slow)
    changed = crossed.where((crossed != crossed.shift()) & slow.shift().notna())
    return changed.ffill().to_numpy()[:, None]


def test_cases_1_the_pinned_sma_test_of_backtesting_py():
    _, bars = google()
    targets = crossover(bars.close[:, 0])
    run = backtest(
        bars, UNLIMITED, FREE, cash=10_000.0, targets=targets, sizes=np.full(targets.shape, 100.0)
    )
    assert len(run.trades) + len(run.holdings) == 66
    assert run.equity[-1] == pytest.approx(51_959.95, abs=0.005)
    last = run.holdings.iloc[0]
    at_the_open = run.equity[-1] + last["quantity"] * (bars.open[-1, 0] - bars.close[-1, 0])
    assert at_the_open == pytest.approx(51_422.99, abs=0.005)
    curve = np.concatenate([[10_000.0], run.equity])
    assert 100 * max_drawdown(curve).depth == pytest.approx(-47.98012707, abs=1e-6)


def test_backtesting_py_says_the_same_trade_by_trade():
    """The oracle runs beside us; it is AGPL, so only tests import it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import backtesting
        from backtesting.lib import crossover as crossed
        from backtesting.test import SMA

        class SmaCross(backtesting.Strategy):
            def init(self):
                self.fast = self.I(SMA, self.data.Close, 10)
                self.slow = self.I(SMA, self.data.Close, 30)

            def next(self):
                if crossed(self.fast, self.slow):
                    self.position.close()
                    self.buy()
                elif crossed(self.slow, self.fast):
                    self.position.close()
                    self.sell()

        frame, bars = google()
        oracle = backtesting.Backtest(
            frame, SmaCross, cash=10_000, commission=0.0, finalize_trades=True
        ).run()
    targets = crossover(bars.close[:, 0])
    run = backtest(
        bars, UNLIMITED, FREE, cash=10_000.0, targets=targets, sizes=np.full(targets.shape, 100.0)
    )
    theirs = oracle["_trades"].iloc[: len(run.trades)]
    sign = np.where(run.trades["direction"] == "LONG", 1, -1)
    assert list(run.trades["quantity"] * sign) == list(theirs["Size"])
    assert np.allclose(run.trades["entry"], theirs["EntryPrice"], rtol=0, atol=1e-9)
    assert np.allclose(run.trades["pnl"], theirs["PnL"], rtol=0, atol=1e-6)
    assert len(oracle["_trades"]) == 66


def upto(bars: Bars, n: int) -> Bars:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbols, bars.at[:n], *(c[:n] for c in columns), bars.basis)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(3, 59))
def test_the_future_never_changes_a_decision(seed, cut):
    bars = a_market(seed, 60, ("A", "B", "C"), 0.02)
    policy = Policy(indicators=QUICK)
    whole, part = (backtest(b, policy, keep_log=True) for b in (bars, upto(bars, cut)))
    assert np.array_equal(whole.log[:cut], part.log)
    assert np.array_equal(whole.equity[:cut], part.equity)


def test_a_strategy_that_peeks_is_noticed():
    """Positive control: a level taken from the whole sample changes what was decided before."""
    bars = a_market(1, 60, ("A",), 0.02)

    def peeking(known: Bars) -> np.ndarray:
        return np.sign(known.close - np.nanmean(known.close))

    def equity(known: Bars) -> np.ndarray:
        targets = peeking(known)
        sizes = np.full(targets.shape, 10.0)
        return backtest(known, UNLIMITED, FREE, targets=targets, sizes=sizes).equity

    assert not np.array_equal(equity(bars)[:30], equity(upto(bars, 30)))


def test_a_price_in_other_units_changes_no_side_and_hardly_a_confidence():
    bars = load(["AAPL"], date(2004, 1, 1), date(2006, 12, 31))
    halved = replace(
        bars, open=bars.open / 2, high=bars.high / 2, low=bars.low / 2, close=bars.close / 2,
        volume=bars.volume * 2,
    )  # fmt: skip
    whole, half = (backtest(b, keep_log=True) for b in (bars, halved))
    assert np.array_equal(whole.log["side"], half.log["side"])
    apart = np.abs(whole.log["confidence"].astype(int) - half.log["confidence"])
    assert apart.max() <= 2  # hundredths of a percent: a vendor's indicators have four decimals


def test_two_runs_share_nothing():
    bars = load(["AAPL", "MSFT"], date(2004, 1, 1), date(2006, 12, 31))
    first, second = backtest(bars), backtest(bars)
    assert np.array_equal(first.equity, second.equity)
    assert first.trades.equals(second.trades)
    mine, yours = ([array for array in run.run if array.size] for run in (first, second))
    assert len(mine) > 10
    assert not any(np.shares_memory(a, b) for a in mine for b in yours)


def test_symbols_in_another_order_are_the_same_run():
    bars = load(["AAPL", "MSFT"], date(2004, 1, 1), date(2006, 12, 31))
    other = load(["MSFT", "AAPL"], date(2004, 1, 1), date(2006, 12, 31))
    assert np.array_equal(backtest(bars).equity, backtest(other).equity)


def test_no_cash_is_refused_by_name():
    bars = load(["AAPL"], date(2004, 1, 1), date(2004, 12, 31))
    with pytest.raises(InvalidPolicy, match="cash"):
        backtest(bars, cash=0.0)


def test_a_split_changes_what_no_order_costs():
    """Range and volume of the days before are said in new shares, or strain is wrong for weeks."""
    raw = a_market(7, 60, ("A",), 0.02)
    ratios = np.where(np.arange(60) >= 30, 1.0, 4.0)[:, None]  # four for one after thirty bars
    columns = [c * ratios for c in (raw.open, raw.high, raw.low, raw.close)]
    whole = Bars(raw.symbols, raw.at, *columns, raw.volume / ratios, "raw")
    there = ~np.isnan(raw.close[30:, 0])
    day = raw.times[30:][there][0].date()
    targets = np.where(np.arange(60) < 29, np.nan, (-1.0) ** np.arange(60))[:, None]
    given = {"targets": targets, "sizes": np.full(targets.shape, 10.0)}
    costs = replace(FREE, slippage_atrs=0.1, impact=0.5, part=1e-6)
    policy = replace(UNLIMITED, indicators=QUICK)
    told = backtest(whole, policy, costs, actions=[Action("A", day, 4.0)], **given)
    smooth = backtest(raw, policy, costs, **given)
    assert len(smooth.fills) > 20
    assert np.allclose(told.fills["price"], smooth.fills["price"], rtol=1e-9)
    unaware = backtest(whole, policy, costs, **given)
    assert not np.allclose(unaware.fills["price"], smooth.fills["price"], rtol=1e-9)


def test_what_an_entry_could_not_have_is_counted_once():
    bars = a_market(3, 40, ("A",), 0.01)
    targets = np.where(np.arange(40) < 20, np.nan, (-1.0) ** np.arange(40))[:, None]
    given = {"targets": targets, "sizes": np.full(targets.shape, 50.0)}
    run = backtest(bars, UNLIMITED, replace(FREE, volume_pct=0.05), keep_log=True, **given)
    entered = run.fills.groupby("bar")["quantity"].last()
    ordered = pd.Series(run.log["ordered"][:, 0], run.bars.times)
    short = (ordered[ordered != 0].abs() - entered.reindex(ordered.index).abs().fillna(0)).dropna()
    assert run.unfilled == short.sum() > 0
