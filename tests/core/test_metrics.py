"""Truths about metrics, and the published digits of CASES 2 and 4."""

import ctypes
import json
import math
from datetime import date
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from argo_alpine import metrics, series
from argo_alpine.backtest import backtest
from argo_alpine.bars import Bars
from argo_alpine.costs import FillPolicy
from argo_alpine.curves import (
    FLAT,
    amounts,
    annualised,
    bars_a_year,
    check_times,
    ratio,
)
from argo_alpine.domain import InvalidData, InvalidPolicy, InvalidTime
from argo_alpine.drawdowns import falls
from argo_alpine.engine import Policy
from argo_alpine.loading import load
from argo_alpine.page import page_row
from argo_alpine.risk import RiskPolicy
from argo_alpine.sessions import instant
from argo_alpine.sizing import SizingPolicy
from argo_alpine.skill import shape

DAY = 86_400_000_000

cents = st.integers(100, 10_000_000).map(lambda c: c / 100)
curves = st.lists(cents, min_size=2, max_size=60).map(np.array)
profits = st.lists(st.integers(-100_000, 100_000).map(lambda c: c / 100), max_size=40).map(np.array)


@st.composite
def histories(draw):
    "A curve and its times, 1 hour to 70 days apart, starting anywhere in forty years."
    equity = draw(curves)
    n = len(equity) - 1
    gaps = draw(st.lists(st.integers(1, 70 * 24), min_size=n, max_size=n))
    start = draw(st.integers(0, 40 * 365 * 24))
    return equity, (start + np.cumsum([0, *gaps])) * (DAY // 24)


def summarised(equity, at, scale=1.0):
    pnl, fees = np.array([10.0, -5.0, 0.0]), np.array([1.0, 0.5])
    return metrics.summarise(
        equity * scale,
        at,
        pnl * scale,
        fees * scale,
        0.5 * equity * scale,
        252,
        traded=0.1 * equity * scale,
    )


# CASES 2: Bailey and López de Prado (2012), monthly ratio .458 over 24 months, non-excess kurtosis


def test_the_probabilistic_sharpe_ratio_has_the_published_digits():
    fund = metrics.probabilistic_sharpe(0.458, 24, skew=-2.448, kurtosis=10.164)
    assert (round(fund, 3), round(metrics.probabilistic_sharpe(0.458, 24), 3)) == (0.913, 0.982)


# CASES 4: empyrical's fixture. Its ninth return is the NaN of the first bar: ours are the other
# eight, but its year is counted in *nine* bars of 252. Sharpe with ddof=1, risk-free rate zero;
# Sortino with target zero; Omega at zero is the profit factor of returns.

MIXED = np.array([0.01, 0.10, -0.04, 0.02, 0.03, 0.02, 0.01, -0.10])
EQUITY = np.cumprod([100.0, *(1 + MIXED)])


def test_cases_4_empyricals_fixture_is_reproduced():
    depth = metrics.max_drawdown(EQUITY).depth
    growth = annualised(metrics.total_return(EQUITY), 9 / 252)
    r = metrics.returns(EQUITY)
    assert depth == pytest.approx(-0.1, abs=1e-12)
    assert growth == pytest.approx(1.9135925373, abs=1e-9)
    assert metrics.volatility(r, 252) == pytest.approx(0.9136465400, abs=1e-9)
    assert metrics.sharpe(r, 252) == pytest.approx(1.7238613962, abs=1e-9)
    assert metrics.sortino(r, 252) == pytest.approx(2.6055312517, abs=1e-9)
    assert metrics.calmar(growth, depth) == pytest.approx(19.135925373, abs=1e-8)
    assert metrics.profit_factor(r) == pytest.approx(1.3571428571, abs=1e-9)


def test_growth_is_of_calendar_years_not_of_bars():
    "Eight returns over four years of 365.25 days: 3.9 % in all is 0.96 % a year."
    at = np.arange(9) * (4 * 1461 * DAY // 32)
    total = metrics.total_return(EQUITY)
    assert metrics.cagr(EQUITY, at) == pytest.approx((1 + total) ** 0.25 - 1, rel=1e-12)


@pytest.mark.parametrize(("lived", "defined"), [(89, False), (90, True)])
def test_less_than_ninety_days_are_not_annualised(lived, defined):
    growth = metrics.cagr(np.array([100.0, 110.0]), np.array([0, lived * DAY]))
    assert math.isfinite(growth) == defined


# Truths


@given(curves)
def test_a_drawdown_lies_between_minus_one_and_zero_and_is_the_lowest_of_all_pairs(equity):
    depths, worst = metrics.drawdowns(equity), metrics.max_drawdown(equity)
    assert ((depths >= -1) & (depths <= 0)).all()
    pairs = [equity[j] / equity[i] - 1 for j in range(len(equity)) for i in range(j + 1)]
    assert worst.depth == min(pairs)


@given(curves)
def test_a_drawdown_is_bounded_by_its_peak_and_recovery(equity):
    worst = metrics.max_drawdown(equity)
    if worst.peak is None or worst.trough is None:
        assert (np.diff(equity) >= 0).all() and worst.recovery is None
        return
    back = len(equity) if worst.recovery is None else worst.recovery
    assert worst.peak < worst.trough < back
    assert equity[worst.trough] / equity[worst.peak] - 1 == worst.depth
    assert (equity[worst.peak + 1 : back] < equity[worst.peak]).all()
    assert worst.recovery is None or equity[back] >= equity[worst.peak]


@given(histories(), st.floats(0.001, 1000))
def test_another_currency_changes_only_money(history, scale):
    equity, at = history
    here, there = summarised(equity, at), summarised(equity, at, scale)
    for name, value in metrics.as_json(here).items():
        factor = scale if name in {"fees", "expectancy"} else 1.0
        expected = value * factor if isinstance(value, float) else value
        found = metrics.as_json(there)[name]
        if isinstance(expected, float):
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), name
        else:
            assert found == expected, name


@given(histories())
def test_months_and_years_compound_to_the_total(history):
    equity, at = history
    table = metrics.monthly(equity, at)
    growth = 1 + metrics.total_return(equity)
    months = table[list(metrics.MONTHS)].to_numpy()
    assert np.nanprod(1 + months / 100) == pytest.approx(growth, rel=1e-9)
    assert np.prod(1 + table["Year"].to_numpy() / 100) == pytest.approx(growth, rel=1e-9)
    by_year = np.nanprod(1 + months / 100, axis=1)
    assert by_year == pytest.approx(1 + table["Year"].to_numpy() / 100, rel=1e-9)


@given(st.integers(1, 5000), st.data(), st.floats(0.5, 0.999))
def test_wilson_contains_the_share_and_stays_inside_zero_to_one(n, data, level):
    wins = data.draw(st.integers(0, n))
    low, high = metrics.wilson(wins, n, level)
    assert 0 <= low <= wins / n <= high <= 1
    assert low < high


@given(st.integers(1, 500), st.data(), st.integers(2, 50))
def test_wilson_narrows_with_n(n, data, times):
    wins = data.draw(st.integers(0, n))
    low, high = metrics.wilson(wins, n)
    closer = metrics.wilson(wins * times, n * times)
    assert closer[1] - closer[0] < high - low


@given(st.integers(1, 500), st.data())
def test_wilson_ends_are_where_the_count_is_just_plausible(n, data):
    "At either end p, |share - p| / sqrt(p(1-p)/n) is 1.96: the definition, not the formula."
    wins = data.draw(st.integers(1, n))
    assume(wins < n)
    for p in metrics.wilson(wins, n):
        assert abs(wins / n - p) / math.sqrt(p * (1 - p) / n) == pytest.approx(1.959964, rel=1e-5)


@given(st.integers(0, 500), st.data())
def test_losing_and_winning_mirror_each_other(n, data):
    wins = data.draw(st.integers(0, n))
    low, high = metrics.wilson(wins, n)
    assert metrics.wilson(n - wins, n) == pytest.approx((1 - high, 1 - low), nan_ok=True)


@given(curves)
def test_the_sharpe_interval_holds_the_sharpe_ratio_and_grows_with_the_level(equity):
    r = metrics.returns(equity)
    middle = metrics.sharpe(r, 252)
    assume(math.isfinite(middle))
    low, high = metrics.sharpe_interval(r, 252)
    wide_low, wide_high = metrics.sharpe_interval(r, 252, 0.99)
    assert wide_low <= low <= middle <= high <= wide_high


def test_a_year_scales_the_interval_as_it_scales_the_ratio():
    one, year = metrics.sharpe_interval(MIXED, 1), metrics.sharpe_interval(MIXED, 252)
    assert year == pytest.approx([math.sqrt(252) * end for end in one])


def test_a_summary_says_what_its_parts_say():
    s = summarised(EQUITY, np.arange(9) * 30 * DAY)
    assert (s.exposure, s.turnover) == pytest.approx((0.5, 0.1 / 2 * 252))
    assert (s.fees, s.trades, s.profit_factor) == (1.5, 3, 2.0)
    assert s.expectancy == pytest.approx(5 / 3)
    assert s.calmar == pytest.approx(s.cagr / 0.1)
    assert s.sharpe == pytest.approx((s.sharpe_low + s.sharpe_high) / 2)


def test_the_tail_ratio_is_gains_over_losses():
    "Of -20 % .. 40 % in even steps the 5 % quantile is -17 % and the 95 % quantile 37 %."
    assert metrics.tail_ratio(np.linspace(-0.2, 0.4, 61)) == pytest.approx(37 / 17)


@given(st.floats(-0.5, 0.5), st.integers(2, 5000), st.floats(-2, 2), st.floats(0, 10))
def test_the_error_is_the_textbook_formula(ratio, n, skew, room):
    kurtosis = 1 + skew**2 + room
    textbook = (1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2) / (n - 1)
    assert metrics.sharpe_error(ratio, n, skew, kurtosis) ** 2 == pytest.approx(
        textbook, rel=1e-9, abs=1e-15
    )


def test_moments_that_no_sample_has_get_no_interval():
    with pytest.raises(InvalidData, match="no sample has skew"):
        metrics.sharpe_interval(series.Moments(5, 0.1, 1.0, 0.0, 0.5, 0.1), 252)


def test_nineteen_in_twenty_sharpe_intervals_hold_the_truth():
    "Skewed returns with a true ratio of 0.5 each, where the normal formula would be too wide."
    draws = np.random.default_rng(5).gamma(4.0, 1.0, (2000, 250)) - 3.0  # mean 1, sd 2, skew 1
    held = [low <= 0.5 <= high for low, high in (metrics.sharpe_interval(r, 1) for r in draws)]
    assert 0.935 <= np.mean(held) <= 0.965


@given(profits)
def test_mirrored_trades_mirror_what_they_bring(pnl):
    assert metrics.expectancy(-pnl) == pytest.approx(-metrics.expectancy(pnl), nan_ok=True)
    factor, mirrored = metrics.profit_factor(pnl), metrics.profit_factor(-pnl)
    if factor > 0 and mirrored > 0:
        assert factor * mirrored == pytest.approx(1)


@given(histories())
def test_a_summary_is_json_and_the_same_twice(history):
    row = metrics.as_json(summarised(*history))
    text = json.dumps(row, allow_nan=False)
    assert json.loads(text) == row
    assert json.dumps(metrics.as_json(summarised(*history))) == text


# The same numbers by other means: scipy, pandas, and loops over plain numbers


@given(curves)
def test_the_moments_are_those_of_scipy(equity):
    r = metrics.returns(equity)
    assume(r.std() > 1e-6)
    observed, skew, kurtosis = shape(r)
    assert observed == pytest.approx(r.mean() / np.sqrt(np.var(r)), rel=1e-9, abs=1e-12)
    assert skew == pytest.approx(stats.skew(r), rel=1e-6, abs=1e-6)
    assert kurtosis == pytest.approx(stats.kurtosis(r, fisher=False), rel=1e-6)
    assert metrics.volatility(r, 52) == pytest.approx(pd.Series(r).std() * 52**0.5, rel=1e-9)
    below = pd.Series(r).clip(upper=0).pow(2).mean() ** 0.5
    if below > 1e-6:
        assert metrics.sortino(r, 12) == pytest.approx(r.mean() / below * 12**0.5, rel=1e-9)


@given(curves)
def test_moments_known_beforehand_give_the_same_ratios(equity):
    r = metrics.returns(equity)
    for measure in (metrics.sharpe, metrics.sortino, metrics.volatility):
        assert measure(series.moments(r), 252) == pytest.approx(measure(r, 252), rel=0, nan_ok=True)


@given(curves)
def test_the_tail_ratio_is_of_numpys_quantiles(equity):
    r = metrics.returns(equity)
    high, low = np.quantile(r, 0.95), np.quantile(r, 0.05)
    assume(abs(low) > 1e-9)
    expected = high / -low if low < 0 else math.nan
    assert metrics.tail_ratio(r) == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_scipys(n, data, level):
    wins = data.draw(st.integers(0, n))
    ours = metrics.wilson(wins, n, level)
    theirs = stats.binomtest(wins, n).proportion_ci(level, method="wilson")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(profits)
def test_trades_are_counted_as_pandas_counts_them(pnl):
    p = pd.Series(pnl, dtype=float)
    gained, lost = p[p > 0].sum(), p[p < 0].sum()
    factor = gained / -lost if lost < 0 else math.nan
    assert metrics.profit_factor(pnl) == pytest.approx(factor, nan_ok=True)
    assert metrics.expectancy(pnl) == pytest.approx(p.mean(), abs=1e-9, nan_ok=True)
    assert metrics.win_rate(pnl).share == pytest.approx((p > 0).mean(), nan_ok=True)


@given(histories())
def test_the_longest_wait_is_the_longest_stretch_below_a_high(history):
    equity, at = history
    longest = 0.0
    for i in range(len(equity)):
        if any(equity[:i] > equity[i]):
            continue  # not a high
        later = [j for j in range(i + 1, len(equity)) if equity[j] >= equity[i]]
        end = later[0] if later else len(equity) - 1
        if end > i + 1 or not later:
            longest = max(longest, (at[end] - at[i]) / DAY)
    assert metrics.longest_wait(equity, at) == pytest.approx(longest)


@given(histories())
def test_a_page_dates_the_deepest_drawdown_as_pandas_finds_it(history):
    equity, at = history
    page = metrics.measure(equity, at, 252)
    curve = pd.Series(equity, index=pd.to_datetime(at, unit="us", utc=True))
    depth = curve / curve.cummax() - 1
    assert page.max_drawdown == depth.min()
    if depth.min() == 0:
        assert (page.peak, page.trough, page.recovery) == (None, None, None)
        return
    before = curve[: depth.idxmin()]
    after = curve[depth.idxmin() :]
    back = after[after >= before.max()]
    assert page.trough == depth.idxmin()
    assert page.peak == before[before == before.max()].index[-1]
    assert page.recovery == (back.index[0] if len(back) else None)


@given(histories())
def test_months_are_those_of_a_resampled_series(history):
    equity, at = history
    curve = pd.Series(equity, index=pd.to_datetime(at, unit="us"))
    ends = curve.resample("ME").last().ffill()
    growth = (ends / ends.shift(fill_value=equity[0]) - 1) * 100
    table = metrics.monthly(equity, at)
    for year, row in table.iterrows():
        for n, name in enumerate(metrics.MONTHS, 1):
            if not math.isnan(row[name]):
                assert row[name] == pytest.approx(growth[f"{year}-{n:02}"].iloc[0], abs=1e-6)


# From a run to its numbers

SIZED = {"cash": 10_000.0, "start": date(2009, 1, 2)}


@pytest.fixture(scope="module")
def run():
    return backtest(load(["AAPL", "IBM"], last=date(2010, 12, 31)), **SIZED)


def test_a_run_says_what_its_frames_say(run):
    seen = metrics.summary(run)
    r = pd.Series(run.equity).pct_change().dropna()
    years = (run.bars.times[-1] - run.bars.times[0]) / pd.Timedelta(days=365.25)
    assert seen.per_year == 252
    assert seen.n == len(run.equity) - 1
    assert seen.total_return == pytest.approx(run.equity[-1] / run.equity[0] - 1)
    assert seen.cagr == pytest.approx((1 + seen.total_return) ** (1 / years) - 1)
    assert seen.sharpe == pytest.approx(r.mean() / r.std() * 252**0.5)
    assert seen.exposure == pytest.approx((run.gross / run.equity).mean())
    assert seen.trades == len(run.trades) > 30
    assert seen.fees == run.paid["fees"]
    assert seen.calmar == pytest.approx(seen.cagr / -seen.max_drawdown)


def test_what_was_traded_is_every_leg_once(run):
    bought = (run.trades["quantity"] * (run.trades["entry"] + run.trades["exit"])).sum()
    held = (run.holdings["quantity"].abs() * run.holdings["price"]).sum()
    total = run.traded
    assert total.sum() == pytest.approx(bought + held)
    opened = run.trades["opened"].dt.date.iloc[0]
    day = run.bars.times.date == opened
    assert total[: int(day.argmax())].sum() == 0 < total[day][0]


def test_a_year_has_as_many_bars_as_the_calendar_says(run):
    assert bars_a_year(run.bars.days) == 252
    assert bars_a_year(np.repeat(run.bars.days, 390)) == 252 * 390


def test_a_market_that_trades_on_sundays_has_as_many_bars_a_year_as_are_observed():
    hours = load(["EURUSD"])
    years = (hours.at[-1] - hours.at[0]) / DAY / 365.25
    assert bars_a_year(hours.days) == pytest.approx(len(hours) / years, rel=0.01)
    every = np.arange(700)  # without a day of rest
    assert bars_a_year(np.repeat(every, 24)) == 365 * 24


@pytest.mark.parametrize(("step", "years"), [(7, 52.18), (14, 26.09)])
@pytest.mark.parametrize("weekday", range(7))
def test_weekly_bars_have_as_many_a_year_as_there_are_weeks(step, years, weekday):
    assert bars_a_year(15_000 + weekday + step * np.arange(150)) == pytest.approx(years, abs=0.1)


def test_monthly_bars_and_thin_trading_have_as_many_a_year_as_were_seen():
    months = np.arange("2000-01", "2010-01", dtype="M8[M]").astype("M8[D]").astype(np.int64)
    assert bars_a_year(months) == pytest.approx(12, abs=0.05)
    thin = np.sort(np.random.default_rng(1).choice(3650, 1000, replace=False))
    assert bars_a_year(thin) == pytest.approx(100, abs=1)


def test_neither_a_holiday_nor_a_hole_makes_a_market_thin(run):
    days = run.bars.days
    for first in range(0, 500, 7):
        for n in (15, 20, 25, 60):
            assert bars_a_year(days[first : first + n]) == 252
    holed = np.concatenate([days[:252], days[252:504] + 4 * 364])  # four years are missing
    assert bars_a_year(holed) == 252
    with pytest.raises(InvalidData, match="no bars"):
        bars_a_year(days[:0])


def test_a_bar_that_ends_at_midnight_belongs_to_the_month_that_it_was():
    at = np.array(["2024-01-31T00", "2024-02-01T00", "2024-02-02T00"], "M8[us]").astype(np.int64)
    table = metrics.monthly(np.array([100.0, 110.0, 110.0]), at)
    assert table.loc[2024, ["Jan", "Feb"]].tolist() == pytest.approx([10.0, 0.0])


def test_of_a_few_returns_no_probability_is_said():
    at = 1_700_000_000_000_000 + 60 * DAY * np.arange(31)
    equity = 100 * np.cumprod(np.random.default_rng(1).normal(1.01, 0.02, 31))
    for n, is_said in ((31, True), (30, False)):
        page = metrics.measure(equity[:n], at[:n], 6)
        for name in ("psr", "tail_ratio"):
            assert ("too few" in metrics.told(page)[name]) != is_said
            assert (metrics.as_json(page)[name] is not None) == is_said


def test_nothing_is_wholly_sure():
    sure = metrics.measure(
        100 * 1.01 ** np.arange(400) + np.arange(400) % 2, 2 * DAY * np.arange(400), 182
    )
    assert sure.psr > 0.99999
    assert metrics.told(sure)["psr"] == "over 99.9 %"


def test_one_bar_at_a_weekend_does_not_make_a_market_that_never_rests():
    week = np.arange(4 * 365)
    daily = week[(week + 3) % 7 < 5]
    for odd in (2, 3):  # a Saturday, a Sunday
        assert bars_a_year(np.sort(np.append(daily, odd))) == 252


def a_short(open_after):
    """A short of all that is owned, and the open after it: one bar a day from 2024-03-01."""
    at = DAY * (19_783 + np.arange(4)) + 21 * 3_600_000_000
    prices = np.array([100.0, 100.0, open_after, open_after])[:, None]
    ones = np.ones_like(prices)
    bars = Bars(("A",), at, prices, prices, prices, prices, 1e6 * ones, "raw")
    unlimited = RiskPolicy(
        power_buffer_pct=0.0, daily_loss_pct=100.0, drawdown_pct=100.0, collar_pct=100.0
    )
    policy = Policy(risk=unlimited, sizing=SizingPolicy(stop_pct=0.0, target_pct=0.0))
    free = FillPolicy(slippage_bps=0.0, spread_bps=0.0, borrow_pct=0.0)
    return backtest(bars, policy, free, targets=-ones, sizes=100.0 * ones)


def test_a_wiped_out_account_says_when_and_what_was_left():
    ruined = a_short(open_after=300.0)
    assert ruined.equity[2] < 0
    with pytest.raises(InvalidData, match=r"wiped out at bar 2, 2024-03-03: equity was -1"):
        metrics.summary(ruined)
    assert metrics.summary(a_short(open_after=150.0)).max_drawdown == pytest.approx(-0.5)


def test_a_run_without_trades_is_a_page_of_reasons():
    flat = backtest(
        load(["AAPL"], last=date(2009, 2, 27)),
        start=date(2009, 1, 2),
        policy=Policy(risk=RiskPolicy(allowed=("IBM",))),
    )
    seen = metrics.summary(flat)
    words = dict(metrics.lines(seen))
    assert (seen.trades, seen.total_return, seen.max_drawdown) == (0, 0.0, 0.0)
    assert words["Growth a year"] == "not defined: under 90 days"
    assert words["Sharpe"] == "not defined: returns do not vary"
    assert words["Deepest drawdown from"] == "not defined: it never fell"
    assert words["Win rate"] == "n = 0: too few to say"
    assert words["Profit factor"] == "not defined: no trades"
    assert (seen.turnover, seen.exposure) == (0.0, 0.0)
    assert not any(math.isfinite(x) for x in (seen.cagr, seen.sharpe, seen.expectancy))


def test_whatever_is_not_defined_has_a_reason():
    seen = metrics.summarise(
        np.full(3, 100.0), DAY * np.arange(3), np.array([]), np.array([]), np.zeros(3), 252
    )
    words = metrics.told(seen)
    assert [k for k, text in words.items() if text == "not defined"] == []
    assert sum(text.startswith("not defined: ") for text in words.values()) >= 10


# Long curves are read in pieces, and most of their returns are not sorted


def quantiles(r):
    """By sorting: 5 % and 95 %, on the line between neighbours."""
    ordered, n = np.sort(r), len(r)
    places = [share * (n - 1) for share in (0.05, 0.95)]
    pairs = [(ordered[int(p)], ordered[min(int(p) + 1, n - 1)], p % 1.0) for p in places]
    return [float(a + part * (b - a)) for a, b, part in pairs]


def by_sorting(r):
    low, high = quantiles(r)
    return ratio(high, -low, FLAT)


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def looked(equity):
    "Moments, tail ratio and exposure of a curve that is half held."
    sound, kept, around, exposed = series.survey(equity, equity / 2, room := np.empty(len(equity)))
    assert sound
    low, high = series.tails(room[:kept], len(equity) - 1)
    return SimpleNamespace(
        moments=series.Moments(*around), tail=ratio(high, -low, FLAT), exposed=exposed
    )


def seeded(draw):
    return np.random.default_rng(draw(st.integers(0, 2**32)))


@st.composite
def long_curves(draw, longest=12_000):
    "Random walks in cents, so that points are equal now and then; flat for parts of the time."
    rng, n = seeded(draw), draw(st.integers(2, longest))
    still = draw(st.sampled_from([0.0, 0.5, 0.97, 1.0]))
    size = draw(st.sampled_from([1e-6, 1e-3, 0.05]))
    r = np.where(rng.random(n) < still, 0.0, rng.normal(draw(st.floats(-size, size)), size, n))
    return np.round(1_000 * np.exp(np.clip(np.cumsum(r), -5, 20)), 2)


@given(long_curves())
def test_a_long_curve_has_the_moments_and_the_tails_of_its_returns(equity):
    seen = looked(equity)
    m, tail = seen.moments, seen.tail
    r = metrics.returns(equity)
    assert r == pytest.approx(equity[1:] / equity[:-1] - 1.0, rel=1e-9, abs=4e-16)
    assert seen.exposed == pytest.approx(len(equity) / 2)
    assert same(tail, by_sorting(r)) and same(metrics.tail_ratio(r), by_sorting(r))
    expected = [r.mean(), r.var(), (np.minimum(r, 0.0) ** 2).mean()]
    for found in (m, series.moments(r)):
        assert found.n == len(r)
        assert [found.mean, found.second, found.below] == pytest.approx(expected, 1e-9, 1e-18)
        higher = [((r - r.mean()) ** power).mean() for power in (3, 4)]
        scale = r.std() ** np.array([3, 4])
        assert (
            np.abs([found.third, found.fourth] - np.array(higher)) <= 1e-7 * scale + 1e-30
        ).all()


@given(st.integers(0, 2**32), st.integers(1, 9_000), st.sampled_from([0, 1, 3, 1_000_000]))
def test_any_returns_have_the_tails_that_sorting_gives(seed, n, values):
    rng = np.random.default_rng(seed)
    r = rng.integers(-values, values, n, endpoint=True) / 10_000
    assert same(metrics.tail_ratio(r), by_sorting(r))


@pytest.mark.parametrize("n", [series.FEW, series.FEW + 1, 2 * series.FEW, 100_001])
@pytest.mark.parametrize("sampled", [(-0.03,), (0.0,), (0.03,), (-0.03, 0.03)])
def test_a_sample_that_misleads_costs_time_and_nothing_else(n, sampled):
    "Every return that a sample could meet is the same, or lies beyond nearly all others."
    r = np.random.default_rng(n).normal(0.0, 0.01, n)
    step = n // series.SAMPLE
    r[::step] = np.resize(sampled, len(r[::step]))
    equity = np.cumprod(np.append(100.0, 1 + r))
    assert looked(equity).tail == by_sorting(metrics.returns(equity))


@pytest.mark.parametrize("rate", [0.0, 0.001, -0.001])
def test_a_long_curve_of_equal_returns_has_no_tail_to_speak_of(rate):
    equity = 100 * (1 + rate) ** np.arange(8_000.0)
    m, tail = looked(equity).moments, looked(equity).tail
    assert m.mean == pytest.approx(rate, abs=1e-12) and math.isnan(metrics.sharpe(m, 252))
    assert math.isnan(tail) if rate >= 0 else tail == pytest.approx(-1)


def test_nothing_has_no_moments_and_no_tails():
    found = series.moments(np.zeros(0))
    assert found.n == 0 and all(math.isnan(x) for x in found[1:])
    assert math.isnan(metrics.tail_ratio(np.zeros(0)))


@given(curves)
def test_a_wild_curve_has_the_moments_of_its_returns(equity):
    "From a cent to a fortune and back: the guess of the mean is a bad one."
    found, known = looked(equity).moments, series.moments(metrics.returns(equity))
    assert found.n == known.n
    assert found.mean == pytest.approx(known.mean, rel=1e-9, abs=1e-12)
    assert metrics.sharpe(found, 1) == pytest.approx(
        metrics.sharpe(known, 1), rel=1e-6, nan_ok=True
    )
    if known.second > 1e-12:
        assert shape(found)[1:] == pytest.approx(shape(known)[1:], 1e-6, 1e-6)


def test_what_is_kept_is_counted():
    r = np.arange(10_000.0)
    assert series.holds(r, 502.0, 9497.0, 10_000)
    assert not series.holds(r, 501.0, 9497.0, 10_000)
    assert not series.holds(r, 502.0, 9498.0, 10_000)


def one_by_one(equity, at):
    "Falls as they are told: every point against the high before it."
    depth, found, longest, top = 0.0, (-1, -1, -1), 0, 0
    for t in range(1, len(equity)):
        if equity[t] >= equity[top]:
            longest = max(longest, at[t] - at[top]) if t > top + 1 else longest
            if found[0] == top and found[2] < 0:
                found = (*found[:2], t)
            top = t
        elif equity[t] / equity[top] - 1.0 < depth:
            depth, found = equity[t] / equity[top] - 1.0, (top, t, -1)
    longest = max(longest, at[-1] - at[top]) if top < len(equity) - 1 else longest
    return (depth, *found, longest)


@given(long_curves(longest=700), st.integers(0, 2**32))
def test_falls_are_those_that_are_seen_point_by_point(equity, seed):
    at = np.cumsum(np.random.default_rng(seed).integers(1, DAY, len(equity)))
    assert falls(equity, at) == one_by_one(equity, at)


@pytest.mark.parametrize("wrong", [1, 30, 62, 63])
def test_a_hole_in_a_curve_is_not_its_lowest_point(wrong):
    equity = np.append(200.0, np.linspace(190.0, 100.0, 64))
    equity[wrong] = np.nan
    assert falls(equity, DAY * np.arange(65)) == (-0.5, 0, 64, -1, 64 * DAY)


@pytest.mark.parametrize("huge", [1e3, 1e9, 1e12])
def test_one_huge_return_in_the_sample_does_not_keep_all_the_others(huge):
    sampled = np.append(np.random.default_rng(1).normal(0.0, 0.01, 999), huge)
    low, high = series.bounds(sampled)
    assert 0.05 < np.mean(sampled <= low) < 0.1 and 0.05 < np.mean(sampled >= high) < 0.1


@given(long_curves(longest=700), st.integers(0, 2**32))
def test_sums_over_equity_are_those_of_numpy(equity, seed):
    gross = np.random.default_rng(seed).uniform(0, 2, len(equity)) * equity
    assert metrics.over_equity(gross, equity) == pytest.approx((gross / equity).sum())


@pytest.mark.parametrize("place", [0, 1, 63, 64, 65, 128, 199])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
def test_a_flaw_is_named_wherever_it_is(place, wrong):
    at, pnl, fees = DAY * np.arange(200), np.zeros(0), np.zeros(0)
    sound, flawed = np.full(200, 100.0), np.full(200, 100.0)
    flawed[place] = wrong
    for name, columns in {
        "equity": (flawed, at, pnl, fees, sound, 252, sound),
        "gross": (sound, at, pnl, fees, flawed, 252, sound),
        "traded": (sound, at, pnl, fees, sound, 252, flawed),
    }.items():
        with pytest.raises(InvalidData, match=f"{name}.* {wrong} at {place}$"):
            metrics.summarise(*columns)
    if wrong != -1.0:  # a trade may lose
        with pytest.raises(InvalidData, match=f"pnl must be finite, was {wrong} at {place}$"):
            metrics.summarise(sound, at, flawed, fees, sound, 252)


@pytest.mark.parametrize("length", [0, 1, 199, 201])
def test_holdings_must_be_known_at_every_point(length):
    at, none, equity = DAY * np.arange(200), np.zeros(0), np.full(200, 100.0)
    with pytest.raises(InvalidData, match=f"gross must hold 200 numbers.*{length},"):
        metrics.summarise(equity, at, none, none, np.ones(length), 252)


# Nothing is made up


def test_no_trades_have_no_rate_and_no_factor():
    none = np.array([])
    rate = metrics.win_rate(none)
    assert rate.n == 0 and rate.text == "n = 0: too few to say"
    numbers = [rate.share, rate.low, rate.high, metrics.profit_factor(none)]
    assert all(math.isnan(x) for x in [*numbers, metrics.expectancy(none)])


def test_nothing_lost_leaves_ratios_of_losses_undefined():
    rising = np.array([100.0, 101.0, 103.0, 104.0])
    r = metrics.returns(rising)
    undefined = [
        metrics.sortino(r, 252),
        metrics.tail_ratio(r),
        metrics.calmar(0.1, metrics.max_drawdown(rising).depth),
        metrics.profit_factor(np.array([1.0])),
    ]
    assert all(math.isnan(x) for x in undefined)


def test_an_even_trade_is_no_win():
    assert metrics.win_rate(np.array([0.0, 1.0])).share == 0.5


@pytest.mark.parametrize(
    ("n", "says"), [(29, "n = 29: too few to say"), (30, "100.0 % [88.6, 100.0], n = 30")]
)
def test_thirty_make_a_rate(n, says):
    assert metrics.win_rate(np.ones(n)).text == says


@given(st.floats(0.01, 1), st.integers(1, 60))
def test_steady_growth_has_no_sharpe_ratio(rate, n):
    r = metrics.returns(100 * (1 + rate) ** np.arange(n + 1))
    assert math.isnan(metrics.sharpe(r, 252))
    assert math.isnan(metrics.probabilistic_sharpe(shape(r)[0], n))


# Bad input


@pytest.mark.parametrize(
    "equity", [[], [100.0], [100.0, 0.0], [100.0, -1.0], [100.0, math.nan], [math.inf, 1.0]]
)
@pytest.mark.parametrize(
    "measure", [metrics.returns, metrics.total_return, metrics.drawdowns, metrics.max_drawdown]
)
def test_a_curve_that_cannot_be_measured_is_refused(measure, equity):
    with pytest.raises(InvalidData, match="equity"):
        measure(np.array(equity))


@pytest.mark.parametrize("at", [[0], [0, 0], [DAY, 0]])
@pytest.mark.parametrize("measure", [metrics.cagr, metrics.monthly])
def test_times_must_be_as_many_as_points_and_ascend(measure, at):
    with pytest.raises(InvalidTime, match="ascending"):
        measure(np.array([100.0, 101.0]), np.array(at))


def test_what_is_not_finite_is_named():
    with pytest.raises(InvalidData, match="pnl must be finite, was nan at 1"):
        metrics.win_rate(np.array([1.0, math.nan]))


def test_columns_of_another_length_are_refused():
    equity, at = np.array([100.0, 101.0]), np.array([0, DAY])
    with pytest.raises(InvalidData, match="gross must hold 2 numbers"):
        metrics.summarise(equity, at, equity, equity, np.ones(3), 252)
    with pytest.raises(InvalidData, match="traded must hold 2 numbers"):
        metrics.turnover(np.ones(1), equity, 252)


def test_net_is_not_gross():
    with pytest.raises(InvalidData, match="held must not be negative"):
        metrics.exposure(np.array([1.0, -0.5]))


def test_turnover_is_one_way():
    "Sell 100 and buy 100 of an equity of 100 at every point: once a day."
    assert metrics.turnover(np.full(3, 200.0), np.full(3, 100.0), 252) == pytest.approx(252)


@pytest.mark.parametrize("per_year", [0, -1, math.nan, math.inf])
def test_a_year_has_bars(per_year):
    with pytest.raises(InvalidPolicy, match="per_year"):
        metrics.sharpe(MIXED, per_year)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_is_a_fraction(level):
    with pytest.raises(InvalidPolicy, match="level"):
        metrics.wilson(1, 2, level)


def test_excess_kurtosis_is_noticed():
    with pytest.raises(InvalidData, match="excess"):
        metrics.probabilistic_sharpe(0.458, 24, skew=-1.5, kurtosis=0.2)


def test_times_that_are_no_numbers_are_refused():
    equity = np.linspace(100.0, 120.0, 100)
    with pytest.raises(InvalidTime):
        metrics.measure(equity, np.full(100, np.nan), 252.0)
    with pytest.raises(InvalidTime, match="100 points need as many times, was 50"):
        page_row(equity, np.arange(50), equity, np.zeros(0), 0.0, 0.0, 252.0)


def test_numbers_too_large_to_be_are_not_defined():
    steep = metrics.measure(np.array([1e-308, 1.0] * 60), DAY * np.arange(120), 252.0)
    assert math.isnan(steep.cagr) and math.isnan(steep.calmar)
    assert math.isnan(metrics.probabilistic_sharpe(1e200, 24))


@pytest.mark.parametrize(("wins", "n"), [(2.9, 10), (0, 2.5), (0, math.inf), (-1, 3), (4, 3)])
def test_a_share_is_of_whole_counts(wins, n):
    with pytest.raises(InvalidData, match="wins must lie between 0 and n, both whole"):
        metrics.wilson(wins, n)


# From the first point of a curve to the words on its page

AT = 10**15 + DAY * np.arange(200)
CURVE = 100 * 1.001 ** np.arange(200.0) * (1 + 0.01 * (np.arange(200) % 3 == 0))


def test_a_summary_begins_and_ends_with_its_curve():
    seen = metrics.measure(CURVE, AT, 252.0)
    assert (seen.start, seen.end) == (instant(int(AT[0])), instant(int(AT[-1])))
    assert seen.n == 199 and seen.total_return == pytest.approx(CURVE[-1] / CURVE[0] - 1)
    words = metrics.told(seen)
    assert words["total_return"] == f"{100 * seen.total_return:.1f} %"
    assert words["max_drawdown"] == f"\N{MINUS SIGN}{-100 * seen.max_drawdown:.1f} %"


def test_a_page_has_the_numbers_of_its_columns_in_their_places():
    """Up to 120, down to 90, back to 130: a page of eight points that is worked out by hand."""
    equity = np.array([100.0, 120.0, 108.0, 90.0, 110.0, 125.0, 130.0, 117.0])
    at, gross = 10**15 + 30 * DAY * np.arange(8), np.array([0.0, 1, 1, 0.5, 0.5, 1, 1, 0]) * equity
    seen = metrics.summarise(
        equity,
        at,
        np.array([25.0, -10.0, 2.0, 0.0]),
        np.array([1.0, 2.5]),
        gross,
        12.0,
        0.4 * equity,
    )
    days = [None if day is None else int(day.timestamp() * 1e6) for day in (
        seen.start, seen.peak, seen.trough, seen.recovery, seen.end)]  # fmt: skip
    assert days == at[[0, 1, 3, 5, 7]].tolist()
    assert (seen.n, seen.per_year, seen.longest_wait) == (7, 12.0, 120.0)
    assert (seen.total_return, seen.max_drawdown) == pytest.approx((0.17, -0.25))
    assert seen.cagr == pytest.approx(1.17 ** (365.25 / 210) - 1)
    assert seen.calmar == pytest.approx(seen.cagr / 0.25)
    r = np.diff(equity) / equity[:-1]
    assert seen.volatility == pytest.approx(r.std(ddof=1) * 12**0.5)
    assert seen.sharpe == pytest.approx(r.mean() / r.std(ddof=1) * 12**0.5)
    assert seen.sharpe_low < seen.sharpe < seen.sharpe_high
    lost = np.minimum(r, 0.0)
    assert seen.sortino == pytest.approx(r.mean() / (lost @ lost / 7) ** 0.5 * 12**0.5)
    low, high = np.quantile(r, (0.05, 0.95))
    assert seen.tail_ratio == pytest.approx(high / -low)
    assert (seen.exposure, seen.turnover) == pytest.approx((5 / 8, 0.4 / 2 * 12))
    assert (seen.fees, seen.trades, seen.win_rate) == (3.5, 4, 0.5)
    assert (seen.win_low, seen.win_high) == pytest.approx(metrics.wilson(2, 4))
    assert (seen.profit_factor, seen.expectancy) == pytest.approx((2.7, 17 / 4))


@pytest.mark.parametrize("per_year", [0.0, -1.0, math.nan, math.inf])
def test_turnover_needs_a_year_that_has_bars(per_year):
    with pytest.raises(InvalidPolicy, match="per_year"):
        metrics.turnover(CURVE, CURVE, per_year)


def test_however_little_below_zero_is_no_amount():
    with pytest.raises(InvalidData, match="gross must not be negative, was -1e-10 at 1"):
        amounts("gross", np.array([1.0, -1e-10]))


@pytest.mark.parametrize(("times", "points"), [(1, 1), (200, 150), (150, 200)])
def test_there_are_as_many_times_as_points_and_two_or_more(times, points):
    with pytest.raises(InvalidTime, match=f"^{points} points need as many times"):
        check_times(AT[:times], points)


def test_the_probability_on_a_page_is_that_of_its_returns():
    draw = np.random.default_rng(1)
    skewed = draw.exponential(1, 300) * draw.choice([1, -1.05], 300)
    equity = 100 * np.cumprod(1.001 + 0.01 * skewed)
    ratio, skew, kurtosis = shape(metrics.returns(equity))
    expected = metrics.probabilistic_sharpe(ratio, 299, skew, kurtosis)
    seen = metrics.measure(equity, DAY * np.arange(300), 252.0)
    assert seen.psr == pytest.approx(expected, abs=1e-12) and 0.5 < seen.psr < 0.99


def poison(libc, sizes=range(200, 500, 8), value=255):
    "Leave memory of some sizes full of a byte, for whoever asks for some next."
    places = [libc.malloc(size) for size in sizes for _ in range(4)]
    for place in places:
        libc.memset(place, value, 200)
    for place in places:
        libc.free(place)


def test_what_lay_in_memory_before_changes_no_tail():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    for n in range(3, 70):
        equity = 1e5 * np.cumprod(np.random.default_rng(n).normal(1.0, 0.01, n))
        for _ in range(5):
            poison(libc)
            assert same(looked(equity).tail, by_sorting(metrics.returns(equity)))


@pytest.mark.parametrize("n", [1, 7, 31, 32, 33, 63, 64])
def test_flags_of_an_earlier_piece_keep_nothing(n):
    r, room, stays = np.random.default_rng(n).normal(size=n), np.zeros(n + 1), np.ones(64, np.uint8)
    kept = series.keep(r, -0.5, 0.5, stays, room, 0)
    assert room[:kept].tolist() == r[(r <= -0.5) | (r >= 0.5)].tolist()


@pytest.mark.parametrize("trades", [29, 30])
def test_a_rate_of_few_trades_is_no_number_for_programs(trades):
    equity = 1e5 * np.cumprod(np.random.default_rng(1).normal(1.001, 0.01, 400))
    at, pnl = 86_400_000_000 * (12_000 + np.arange(400)), np.resize([1.0, -1.0], trades)
    seen = metrics.summarise(equity, at, pnl, np.zeros(1), np.zeros(400), 252)
    row = metrics.as_json(seen, {"win_rate": (0.3, 0.7)})
    assert (row["trades"], row["expectancy"] is None) == (trades, False)
    is_said = [row[name] is not None for name in ("win_rate", "win_low", "win_high")]
    assert is_said == [trades >= 30] * 3
