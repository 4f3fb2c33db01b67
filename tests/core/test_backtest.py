"""Published numbers, and what a backtest must never do."""

import warnings
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.backtest import backtest
from argo_alpine.bars import Bars, from_frame
from argo_alpine.book import LEGS
from argo_alpine.consensus import ConsensusPolicy
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import InvalidBars, InvalidPolicy
from argo_alpine.engine import WEIGHTS, WHY, Policy
from argo_alpine.inputs import actions_of, check_clocks, directions, ratios_of
from argo_alpine.loading import Action, load
from argo_alpine.metrics import max_drawdown
from argo_alpine.risk import RiskPolicy
from argo_alpine.sessions import closes
from argo_alpine.sizing import SizingPolicy
from argo_alpine.votes import SOURCES
from tests.test_parity import QUICK, a_market, some_readings

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


# What a run is given


def whole_market(symbols=("A", "B"), gap=None):
    """Thirty bars of each symbol, but for one of the first."""
    bars = a_market(3, 30, symbols, 0.02, missing=0.0)
    if gap is None:
        return bars
    columns = [c.copy() for c in (bars.open, bars.high, bars.low, bars.close, bars.volume)]
    for column in columns:
        column[gap, 0] = np.nan
    return Bars(bars.symbols, bars.at, *columns, bars.basis)


def test_given_directions_follow_their_symbols_into_order():
    bars = whole_market(("B", "A"))
    targets = np.zeros(bars.close.shape)
    targets[:, 0] = 1.0
    run = backtest(bars, UNLIMITED, FREE, targets=targets, sizes=np.full(targets.shape, 10.0))
    assert {*run.fills["symbol"]} == {"B"}


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_sizes_are_percent_of_equity_whichever_the_side(side, wrong):
    ones = np.ones((30, 1))
    with pytest.raises(InvalidPolicy, match="sizes must be percent of equity"):
        directions(whole_market(("A",)), side * ones, wrong * ones)


def test_targets_and_sizes_go_together():
    ones = np.ones((30, 1))
    for pair in ((None, ones), (ones, None)):
        with pytest.raises(InvalidPolicy, match="go together"):
            directions(whole_market(("A",)), *pair)


def test_a_policy_stands_before_its_costs():
    for pair in ((Policy(), Policy()), (FREE, FREE)):
        with pytest.raises(InvalidPolicy, match="then a FillPolicy"):
            backtest(whole_market(("A",)), *pair)


def day_of(bars, t):
    return date(1970, 1, 1) + timedelta(days=int(bars.days[t]))


def test_an_action_waits_for_the_next_bar_of_its_symbol():
    bars = whole_market(gap=10)
    found = actions_of(bars, [Action(s, day_of(bars, 10), r) for s, r in (("A", 2.0), ("B", 3.0))])
    assert found[["bar", "symbol", "ratio"]].tolist() == [(10, 1, 3.0), (11, 0, 2.0)]


def test_a_split_is_known_to_voting_beside_a_dividend():
    bars = whole_market()
    split, paid = Action("A", day_of(bars, 5), 2.0), Action("B", day_of(bars, 5), dividend=0.5)
    expected = np.ones(bars.close.shape)
    expected[5, 0] = 2.0
    assert np.array_equal(ratios_of(bars, actions_of(bars, [split, paid])), expected)
    assert ratios_of(bars, actions_of(bars, [paid])).size == 0


def two_clocks(apart, n=12):
    """One symbol that closes every hour, and another some minutes after it."""
    minutes = 60 * np.arange(n)
    stamps = np.sort(np.concatenate([minutes, minutes + apart]))
    column = np.where(np.isin(stamps, minutes)[:, None] == [True, False], 10.0, np.nan)
    return Bars(("A", "B"), 10**15 + stamps * 60_000_000, *[column] * 5, "raw")


def test_bars_of_two_symbols_do_not_overlap():
    for apart in (1, 30):
        with pytest.raises(InvalidBars, match=f"A closes every 60 minutes.*{apart} minutes apart"):
            check_clocks(two_clocks(apart))
    with pytest.raises(InvalidBars, match="25 minutes apart"):
        check_clocks(two_clocks(35))


def test_a_shorter_last_bar_or_a_few_bars_are_no_other_clock():
    check_clocks(two_clocks(1, n=10))
    check_clocks(whole_market(gap=10))
    bars = whole_market(("A",))
    short = np.array([*60 * np.arange(29), 60 * 28 + 31])
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    check_clocks(Bars(bars.symbols, 10**15 + short * 60_000_000, *columns, "raw"))


# What a run leaves


def test_tables_of_a_run_are_what_was_booked():
    bars = load(["AAPL", "MSFT"], last=date(2006, 12, 29))
    policy = replace(Policy(), consensus=ConsensusPolicy(WEIGHTS, threshold=60.0))
    run = backtest(bars, policy, start=date(2005, 3, 1))
    trades, fills, market = run.trades, run.fills, run.market
    booked, rows = run.run.trades[: len(trades)], run.run.fills[: len(fills)]
    paid = trades["quantity"] * trades["entry"]
    assert np.allclose(trades["return_pct"], 100 * trades["pnl"] / paid)
    assert trades["symbol"].tolist() == [run.whole.symbols[s] for s in booked["symbol"]]
    assert ((trades["direction"] == "LONG") == (booked["quantity"] > 0)).all()
    at_open = np.isin([LEGS[leg] for leg in booked["leg"]], ("close", "split"))
    assert at_open.any() and not at_open.all()
    closed = np.where(at_open, market.opened[booked["closed"]], market.at[booked["closed"]])
    assert microseconds(trades["closed"]) == closed.tolist()
    assert fills["symbol"].tolist() == [run.whole.symbols[s] for s in rows["symbol"]]
    assert microseconds(fills["bar"]) == market.at[rows["bar"]].tolist()


def microseconds(times):
    return times.dt.as_unit("us").astype("int64").tolist()


def test_a_close_that_is_decided_is_stamped_at_the_open_that_made_it():
    bars = whole_market(("A",))
    targets = np.array([1.0, 1.0, 0.0, 0.0] + [np.nan] * 26)[:, None]
    run = backtest(bars, UNLIMITED, FREE, targets=targets, sizes=np.full(targets.shape, 10.0))
    (trade,) = run.trades.itertuples()
    assert (trade.why, trade.entry, trade.exit) == ("close", bars.open[1, 0], bars.open[3, 0])
    assert microseconds(run.trades["opened"]) == [bars.opened[1]]
    assert microseconds(run.trades["closed"]) == [bars.opened[3]]


def test_decisions_are_the_log_in_percent_and_words():
    bars = whole_market(gap=20)
    run = backtest(bars, Policy(indicators=QUICK), FREE, some_readings(3, bars), keep_log=True)
    table, log = run.decisions("A"), run.log[:, 0]
    for i, source in enumerate(SOURCES):
        votes = log["directions"][:, i] * (log["confidences"][:, i] / 100)
        assert np.array_equal(table[source], votes)
        assert (np.abs(table[source]) <= 100).all()
    assert np.array_equal(table["confidence"], log["confidence"] / 100)
    assert table["confidence"].max() > 50
    assert np.array_equal(table["side"], log["side"])
    words = [WHY[why] if why >= 0 else "no bar" for why in log["why"]]
    assert table["why"].tolist() == words
    assert [t for t, why in enumerate(words) if why == "no bar"] == [20]


def test_coverage_is_votes_of_those_who_were_asked():
    bars = whole_market(gap=20)
    run = backtest(bars, Policy(indicators=QUICK), FREE, some_readings(3, bars), keep_log=True)
    asked = run.log["why"] >= 0
    voted = [int((run.log["directions"][:, :, i][asked] != 0).sum()) for i in range(4)]
    assert asked.sum() == 59 and run.coverage["asked"].tolist() == [59] * 4
    assert run.coverage["voted"].tolist() == voted and 0 < min(voted) < 59
    assert np.array_equal(run.coverage["share"], run.coverage["voted"] / 59)
