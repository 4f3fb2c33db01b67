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
from argo_alpine.bootstrap import luck, luck_of
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
    is_blamed = n >= FLOOR and net[2] >= 0 and beyond[2] < 0
    assert ("worse than having no opinion" in text) == is_blamed


def test_how_far_ahead_is_what_a_regression_leaves():
    rng = np.random.default_rng(4)
    one, other = (100 * np.cumprod(rng.normal(1.001, 0.01, 300)) for _ in range(2))
    moves, others = (np.diff(curve) / curve[:-1] for curve in (one, other))
    slope = np.polyfit(others, moves, 1)[0]
    lead = verdict.ahead(one, other, 252)
    assert verdict.beta(moves, others) == pytest.approx(slope)
    assert lead[0] == pytest.approx(metrics.sharpe(moves - slope * others, 252))
    low, high = metrics.sharpe_interval(moves - slope * others, 252)
    assert lead[1] <= low < high <= lead[2]  # never surer than independent returns
    assert np.isnan(verdict.ahead(one, one, 252)).all()


@pytest.mark.parametrize("share", [-1.0, 0.25, 0.0])
def test_what_a_market_pays_to_anybody_is_nobodys_skill(share):
    market = 100 * np.cumprod(np.random.default_rng(1).normal(1.001, 0.01, 1_000))
    chance = np.random.default_rng(2).normal(0.0, 0.0002, 999)
    moves = share * np.diff(market) / market[:-1] + chance
    equity = 1e5 * np.cumprod(np.append(1.0, 1.0 + moves))
    _, low, high = verdict.ahead(equity, market, 252)
    assert low < 0 < high
    better = 1e5 * np.cumprod(np.append(1.0, 1.0 + moves + 0.0001))
    assert verdict.ahead(better, market, 252)[1] > 0


def bars_of(close, apart=1):
    """A bar a day at these closes, or each so many days."""
    at = AT[0] + apart * DAY * np.arange(len(close))
    symbols = tuple("ABCDEF"[: close.shape[1]])
    return Bars(symbols, at, *(close for _ in range(5)), "splits")


def held_step_by_step(close, days, cash):
    """The same rule, bar after bar: shares of those whose price is ten days old at most."""
    owned, last, seen, curve = {}, {}, {}, []
    for day, row in zip(days, close, strict=True):
        for s, price in enumerate(row):
            if price == price:
                last[s], seen[s] = price, day
        here = {s for s in last if day - seen[s] <= 10}
        worth = sum(n * last[s] for s, n in owned.items()) if owned else cash
        if here != set(owned):
            owned = {s: worth / len(here) / last[s] for s in here}
        curve.append(worth)
    return curve


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_holding_is_equal_parts_split_anew_when_one_comes_or_goes(seed, apart):
    rng = np.random.default_rng(seed)
    close = rng.uniform(5, 50, (12, 4))
    close[rng.random(close.shape) < 0.5] = np.nan
    close[:, 0] = rng.uniform(5, 50, 12)  # no row is empty
    bars = bars_of(close, apart)
    assert verdict.holding(bars, bars.at, 1e4) == pytest.approx(
        held_step_by_step(close, bars.days, 1e4), rel=1e-12
    )


def test_nobody_buys_before_there_is_a_price_nor_at_an_old_one():
    close = np.array([[10.0, np.nan], [10.0, 1.0], [10.0, 99.0]])
    assert verdict.holding(bars_of(close), bars_of(close).at, 1.0).tolist() == [1.0, 1.0, 50.0]
    old = np.full((20, 2), 10.0)
    old[0, 1], old[1:15, 1], old[15:, 1] = 1.0, np.nan, 100.0
    bars = bars_of(old)
    assert verdict.holding(bars, bars.at[12:], 1.0).max() == 1.0
    assert "split anew once" in verdict.regrouped(bars, bars.at[12:])


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
    lead = verdict.ahead(run.equity, held, page.per_year)
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
    assert "split anew" not in verdict.judgement(without, summary(without))


def test_a_symbol_that_is_over_holds_no_money():
    close = np.array([[10.0, 10.0], *[[10.0, np.nan]] * 11, [20.0, np.nan], [40.0, np.nan]])
    bars = bars_of(close)
    held = verdict.holding(bars, bars.at, 1.0)
    assert held[10:].tolist() == [1.0, 1.0, 2.0, 4.0]  # from the eleventh day on A has all of it
    assert verdict.regrouped(bars, bars.at) == (
        " What is held was split anew once, as symbols came or went."
    )


def said_of(bars):
    """What is said of a run in which the first symbol follows given directions, and no other."""
    at = np.arange(len(bars))
    targets = np.full(bars.close.shape, np.nan)
    targets[:, 0] = np.where(at % 40 < 20, 1.0, 0.0)
    run = backtest(bars, targets=targets, sizes=np.full(targets.shape, 50.0))
    return verdict.judgement(run, summary(run), luck(run, 200))


def test_a_symbol_without_a_trade_that_died_early_moves_no_yardstick():
    rng = np.random.default_rng(5)
    alone = 100 * np.cumprod(rng.normal(1.0005, 0.01, (2_500, 1)), axis=0)
    dead = np.full((2_500, 1), np.nan)
    dead[:2] = 7.0
    texts = [said_of(bars_of(close)) for close in (alone, np.hstack([alone, dead]))]
    grown = [1 + float(text.split("the ")[1].split(" %")[0]) / 100 for text in texts]
    assert grown[0] > 1.5  # half of it in what rests would be a quarter less at the end
    assert grown[1] == pytest.approx(grown[0], rel=0.05)
    ends = [text.split("In short: ")[1].split(".")[0] for text in texts]
    assert ends[0] == ends[1]


def test_more_than_all_of_it_can_be_held():
    held = 100 * np.cumprod([1.0, 1.3, 0.55, 1.2, 1.1, 1.0])
    assert verdict.at_exposure(held, 2.6).min() < 0  # such an account would have been ruined


def test_returns_that_hang_together_are_no_evidence():
    praised = 0
    for seed in range(20):
        noise, moves = np.random.default_rng(seed).normal(0, 0.01, 500), np.zeros(500)
        for i in range(1, 500):
            moves[i] = 0.95 * moves[i - 1] + noise[i]
        equity = 1e5 * np.cumprod(1 + moves / 4)
        at = AT[0] + DAY * np.arange(500)
        seen = summarise(equity, at, np.ones(40), np.zeros(1), np.zeros(500), 252)
        spans = luck_of(equity, at, 252, 200)
        said = verdict.evidence(seen, (1.0, 0.5, 1.5), spans)
        praised += "look further" in said or "lost" in said
        if np.isnan(spans["sharpe"]).any():
            assert said == "too few independent returns to judge"
            assert "too few independent ones for an interval" in metrics.told(seen, spans)["sharpe"]
    assert praised <= 4  # one in five; by the formula alone it were most of them


def test_whoever_holds_is_paid_what_is_paid_on_shares():
    close = np.full((4, 1), 50.0)
    paid = [Action("A", pd.Timestamp("2024-03-02").date(), dividend=3.0)]
    bars = replace(bars_of(close), basis="raw")
    actions = actions_of(bars, paid)
    assert verdict.holding(bars, bars.at, 100.0, actions).tolist() == [100.0, 100.0, 106.0, 106.0]
    assert verdict.holding(bars, bars.at[2:], 100.0, actions).tolist() == [100.0, 100.0]


def test_a_dividend_before_a_split_of_one_bar_is_paid_once_to_all():
    close = np.array([[100.0, 100.0], [np.nan, 100.0], [50.0, 100.0], [50.0, 100.0]])
    days = [pd.Timestamp("2024-03-01").date(), pd.Timestamp("2024-03-02").date()]
    met = [Action("A", days[0], dividend=10.0), Action("A", days[1], ratio=2.0)]
    bars = replace(bars_of(close), basis="raw")
    actions = actions_of(bars, met)
    assert actions["earlier"].any()
    assert verdict.holding(bars, bars.at, 200.0, actions)[-1] == 210.0


def test_a_split_takes_nothing_from_who_holds():
    stocks, last = ["AAPL", "MSFT"], pd.Timestamp("2006-03-01").date()
    start = pd.Timestamp("2004-07-01").date()
    raw = backtest(
        load(stocks, last=last, basis="raw"), start=start, actions=splits_of(stocks)
    )  # Apple's two for one of February 2005 lies within
    adjusted = backtest(load(stocks, last=last), start=start)
    assert held_in(raw) == held_in(adjusted)
