"""What no market made, nobody meant or nothing can be said about: a typed error that names the
thing, the value and the remedy, or an honest empty answer; never a number.
"""

import math
from dataclasses import fields, replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from argo_alpine.backtest import backtest
from argo_alpine.bars import COLUMNS, Bars, between, from_daily, from_frame, join, to_frame
from argo_alpine.consensus import ConsensusPolicy
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import (
    ArgoAlpineError,
    InvalidBars,
    InvalidData,
    InvalidPolicy,
    InvalidTime,
    UnavailableData,
)
from argo_alpine.engine import WEIGHTS, Policy
from argo_alpine.fields import Grid, with_fields
from argo_alpine.folds import Windows, k_folds
from argo_alpine.indicators import IndicatorPolicy
from argo_alpine.labels import labels_of
from argo_alpine.loading import Action
from argo_alpine.metrics import summary
from argo_alpine.optimize import sweep
from argo_alpine.risk import RiskPolicy
from argo_alpine.sessions import date_of
from argo_alpine.signal_quality import signal_quality
from argo_alpine.sizing import SizingPolicy
from argo_alpine.stretches import Candidate, course_of
from argo_alpine.votes import VotePolicy
from argo_alpine.walk_forward import Objective, walk_forward
from tests.core.test_backtest import FREE, UNLIMITED
from tests.test_parity import CLOSES, QUICK, a_market

BARS = a_market(3, 60, ("A",), 0.02)
FRAME = to_frame(BARS, "A")
HOLE = np.full(BARS.close.shape, np.nan)
ONES = np.ones(BARS.close.shape)
MINUTE = 60_000_000


def bars_of(prices, volume=1e6, symbol="A"):
    column = np.array(prices, np.float64).reshape(-1, 1)
    at = CLOSES.iloc[: len(column)].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    volumes = np.full(column.shape, volume)
    return Bars((symbol,), at.astype(np.int64), column, column, column, column, volumes, "raw")


def with_value(name, value):
    sound = FRAME.index != FRAME.index[5]
    return lambda: from_frame(FRAME.assign(**{name: FRAME[name].where(sound, value)}), "A", "raw")


def without_row(i):
    return lambda: backtest(from_frame(FRAME.drop(FRAME.index[i]), "A", "raw"))


def given(targets, sizes):
    return lambda: backtest(BARS, targets=targets, sizes=sizes)


GRID = Grid({"sizing.stop_pct": (2.0, 3.0)})


def shifted(minutes, by):
    "Two symbols whose bars are as long, and end at other times."
    at = BARS.at[0] - 360 * MINUTE + MINUTE * minutes * np.arange(13)
    prices = [np.full((13, 1), 100.0)] * 5
    return join([Bars(("A",), at, *prices, "raw"), Bars(("B",), at + by * MINUTE, *prices, "raw")])


def split_run():
    actions = [Action("A", date_of(BARS.days[30]), 2.0)]
    return backtest(BARS, keep_log=True, actions=actions)


DATES = FRAME.set_axis(pd.DatetimeIndex(FRAME.index.tz_convert("America/New_York").date))

CASES = {
    # case: (what is done, the error, what its words must hold: thing, value, remedy)
    "unsorted": (
        lambda: from_frame(FRAME.iloc[::-1], "A", "raw"),
        InvalidBars,
        ("A", "2019-03-28", "sort"),
    ),
    "dates for closes": (
        lambda: from_frame(DATES.tz_localize("UTC"), "A", "raw"),
        InvalidTime,
        ("A", "midnight", "from_daily"),
    ),
    "dates in New York": (
        lambda: from_frame(DATES.tz_localize("America/New_York"), "A", "raw"),
        InvalidTime,
        ("A", "midnight", "from_daily"),
    ),
    "a day without a session": (
        lambda: from_daily(DATES.iloc[:1].set_axis(["2019-07-04"]), "A", "raw"),
        InvalidTime,
        ("2019-07-04", "no session", "correct"),
    ),
    "words for dates": (
        lambda: from_daily(DATES.iloc[:1].set_axis(["one"]), "A", "raw"),
        InvalidTime,
        ("A", "one", "dates"),
    ),
    "targets of other symbols": (
        given(pd.DataFrame({"B": 1.0}, BARS.times), ONES),
        InvalidPolicy,
        ("targets", "B", "symbols A"),
    ),
    "targets in another order": (
        given(pd.DataFrame({"A": 1.0}, BARS.times)[::-1], ONES),
        InvalidPolicy,
        ("targets", "index", "bars.times"),
    ),
    "targets by numbers": (
        given(pd.DataFrame({"A": 1.0, 4: 1.0}, BARS.times), ONES),
        InvalidPolicy,
        ("targets", "4", "symbols A"),
    ),
    "words for targets": (
        given(pd.DataFrame({"A": "long"}, BARS.times), ONES),
        InvalidPolicy,
        ("targets", "long", "numbers"),
    ),
    "folds without training": (
        lambda: k_folds(10, 5, 5, 0),
        InvalidPolicy,
        ("5", "purge", "no training"),
    ),
    "actions of nobody": (
        lambda: backtest(BARS, actions=[Action("QQ", date(2019, 3, 1), 2.0)]),
        InvalidBars,
        ("QQ", "no bars", "A"),
    ),
    "bars for a course": (
        lambda: sweep(BARS, GRID),
        InvalidPolicy,
        ("course", "Bars", "course_of"),
    ),
    "a dict for a grid": (
        lambda: sweep(course_of(BARS), {"sizing.stop_pct": (2.0, 3.0)}),
        InvalidPolicy,
        ("grid", "dict", "Grid("),
    ),
    "a policy for a base": (
        lambda: sweep(course_of(BARS), GRID, Policy()),
        InvalidPolicy,
        ("base", "Policy", "Candidate("),
    ),
    "a word for an objective": (
        lambda: sweep(course_of(BARS), GRID, objective="calmar"),
        InvalidPolicy,
        ("objective", "str", "Objective("),
    ),
    "a day for a base": (
        lambda: walk_forward(BARS, GRID, Windows(20, 10), date(2019, 2, 1)),
        InvalidPolicy,
        ("base", "date", "Candidate("),
    ),
    "bars that are half as long": (
        lambda: backtest(shifted(30, 15)),
        InvalidBars,
        ("A", "30 minutes", "apart"),
    ),
    "labels over a split": (
        lambda: labels_of(split_run(), BARS, 5),
        InvalidPolicy,
        ("labels", "splits", "adjusted"),
    ),
    "duplicated": (
        lambda: from_frame(FRAME.iloc[[0, 0, 1]], "A", "raw"),
        InvalidBars,
        ("A", "2019-01-0", "keep one"),
    ),
    "a symbol twice": (lambda: join([BARS, BARS]), InvalidBars, ("A, A", "each once")),
    "gapped": (without_row(20), InvalidBars, ("A", "2019-0", "load the missing")),
    "a NaN": (with_value("close", np.nan), InvalidBars, ("A at 2019", "NaN", "drop the row")),
    "a volume that is NaN alone": (
        lambda: replace(BARS, volume=HOLE),
        InvalidBars,
        ("A at", "volume nan", "leave it out whole"),
    ),
    "a price of zero": (with_value("low", 0.0), InvalidBars, ("A at", "low 0", "correct")),
    "a price below zero": (with_value("open", -1.0), InvalidBars, ("A at", "open -1", "correct")),
    "an infinite price": (with_value("high", np.inf), InvalidBars, ("A at", "high inf", "correct")),
    "an infinite volume": (
        with_value("volume", np.inf),
        InvalidBars,
        ("A at", "volume inf", "correct"),
    ),
    "high below low": (
        with_value("high", 0.01),
        InvalidBars,
        ("A at", "high is below low", "correct"),
    ),
    "mixed adjusted and raw": (
        lambda: join([BARS, replace(BARS, symbols=("B",), basis="splits")]),
        InvalidBars,
        ("raw", "splits", "one basis"),
    ),
    "actions on adjusted prices": (
        lambda: backtest(
            replace(BARS, basis="splits"), actions=[Action("A", date(2019, 2, 1), 2.0)]
        ),
        InvalidBars,
        ("splits", "load them raw"),
    ),
    "a time without a zone": (
        lambda: from_frame(FRAME.tz_localize(None), "A", "raw"),
        InvalidTime,
        ("A", "datetime64", "UTC"),
    ),
    "no times at all": (
        lambda: from_frame(FRAME.reset_index(drop=True), "A", "raw"),
        InvalidTime,
        ("A", "int64", "UTC"),
    ),
    "a time nobody's calendar has": (
        lambda: backtest(replace(BARS, at=BARS.at - 10**16)),
        InvalidTime,
        ("1970", "microseconds"),
    ),
    "a column that is missing": (
        lambda: from_frame(FRAME.drop(columns="low"), "A", "raw"),
        InvalidBars,
        ("A", "low", "only"),
    ),
    "a column twice": (
        lambda: from_frame(pd.concat([FRAME, FRAME[["low"]]], axis=1), "A", "raw"),
        InvalidBars,
        ("A", "low", "shape"),
    ),
    "no rows": (
        lambda: backtest(from_frame(FRAME.iloc[:0], "A", "raw")),
        InvalidBars,
        ("A", "no bars"),
    ),
    "an unknown field": (
        lambda: with_fields(Policy(), {"risk.drawdwn_pct": 5.0}),
        InvalidPolicy,
        ("risk.drawdwn_pct", "did you mean", "risk.drawdown_pct"),
    ),
    "a field of another kind": (
        lambda: with_fields(Policy(), {"risk.drawdown_pct": "x"}),
        InvalidPolicy,
        ("risk.drawdown_pct", "'x'", "number"),
    ),
    "a field that is NaN": (
        lambda: with_fields(Policy(), {"risk.drawdown_pct": np.nan}),
        InvalidPolicy,
        ("risk.drawdown_pct", "nan", "finite"),
    ),
    "half a bar": (
        lambda: with_fields(Policy(), {"indicators.sma": 20.5}),
        InvalidPolicy,
        ("indicators.sma", "20.5", "whole"),
    ),
    "a window longer than any ring": (
        lambda: IndicatorPolicy(sma=257),
        InvalidPolicy,
        ("indicators.sma", "257", "256"),
    ),
    "windows longer than the data": (
        lambda: walk_forward(BARS, Grid({"consensus.threshold": (60.0, 70.0)}), Windows(90, 20)),
        InvalidPolicy,
        ("92", "60", "shorten"),
    ),
    "a horizon longer than the data": (
        lambda: signal_quality(BARS, horizon=60),
        UnavailableData,
        ("60", "shorten"),
    ),
    "a sweep over one bar": (
        lambda: sweep(course_of(bars_of([10.0])), Grid({"consensus.threshold": (60.0, 70.0)})),
        InvalidData,
        ("1 bars", "load more"),
    ),
    "a start after the end": (
        lambda: backtest(BARS, start=date(2030, 1, 1)),
        UnavailableData,
        ("2030-01-01", "2019-03-28"),
    ),
    "cash that is NaN": (
        lambda: backtest(BARS, cash=np.nan),
        InvalidPolicy,
        ("cash", "nan", "above zero"),
    ),
    "cash that is infinite": (lambda: backtest(BARS, cash=np.inf), InvalidPolicy, ("cash", "inf")),
    "cash below zero": (
        lambda: backtest(BARS, cash=-1.0),
        InvalidPolicy,
        ("cash", "-1", "above zero"),
    ),
    "targets without sizes": (given(ONES, None), InvalidPolicy, ("targets", "sizes", "both")),
    "targets of another shape": (
        given(np.ones((60, 2)), np.ones((60, 2))),
        InvalidPolicy,
        ("targets", "(60, 2)", "(60, 1)"),
    ),
    "targets in one row": (
        given(np.ones(60), np.ones(60)),
        InvalidPolicy,
        ("targets", "(60,)", "(60, 1)"),
    ),
    "infinite targets": (given(ONES * np.inf, ONES), InvalidPolicy, ("targets", "was inf")),
    "infinite sizes": (given(ONES, ONES * np.inf), InvalidPolicy, ("sizes", "was inf")),
    "a summary of one bar": (
        lambda: summary(backtest(bars_of([10.0]))),
        InvalidData,
        ("equity", "two points", "100000"),
    ),
    "decisions without a log": (
        lambda: backtest(BARS).decisions("A"),
        UnavailableData,
        ("log", "keep_log=True"),
    ),
    "a symbol that is not there": (lambda: to_frame(BARS, "Z"), UnavailableData, ("'Z'", "A")),
    "a split by nothing": (
        lambda: Action("A", date(2019, 2, 1), 0.0),
        InvalidBars,
        ("A", "ratio", "0.0"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_a_typed_error_that_names_thing_value_and_remedy(case):
    do, error, words = CASES[case]
    with pytest.raises(error) as raised:
        do()
    assert isinstance(raised.value, ArgoAlpineError)
    for word in words:
        assert word in str(raised.value), f"{word!r} is not in: {raised.value}"


OTHERS = {
    "a text for a price": (
        lambda: from_frame(FRAME.astype(object).assign(close="x"), "A", "raw"),
        InvalidBars,
    ),
    "pandas' NA for a price": (
        lambda: from_frame(FRAME.astype("Float64").assign(close=pd.NA), "A", "raw"),
        InvalidBars,
    ),
    "no time for a bar": (
        lambda: from_frame(
            FRAME.set_axis(pd.DatetimeIndex([pd.NaT, *FRAME.index[1:]])), "A", "raw"
        ),
        InvalidTime,
    ),
    "targets of no bars": (given(np.zeros((0, 1)), np.zeros((0, 1))), InvalidPolicy),
    "targets in no row": (given(np.zeros(0), np.zeros(0)), InvalidPolicy),
    "sizes that are NaN": (given(ONES, HOLE), InvalidPolicy),
    "sizes below zero": (given(ONES, -ONES), InvalidPolicy),
    "targets that are no direction": (given(ONES / 2, ONES), InvalidPolicy),
    "a policy in the place of its name": (lambda: Policy(IndicatorPolicy()), InvalidPolicy),
    "limits in the place of sizes": (lambda: Policy(sizing=RiskPolicy()), InvalidPolicy),
    "half a bar, directly": (lambda: IndicatorPolicy(sma=20.5), InvalidPolicy),
    "a switch that is neither on nor off": (lambda: FillPolicy(stop_first=np.nan), InvalidPolicy),
    "a limit on no number": (lambda: RiskPolicy(drawdown_pct="5"), InvalidPolicy),
    "a wildness without end": (lambda: SizingPolicy(atr_high_pct=np.inf), InvalidPolicy),
    "closes at different times": (lambda: backtest(two_clocks()), InvalidBars),
    "minutes beside days": (lambda: backtest(minutes_and_days()), InvalidBars),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_bad_input_is_refused_with_an_error_of_ours(case):
    do, error = OTHERS[case]
    try:
        do()
    except error:
        return
    except Exception as other:
        pytest.fail(f"{type(other).__name__} instead")
    pytest.fail("nothing was refused")


def two_clocks():
    other = a_market(4, 60, ("B",), 0.02)
    return join([BARS, replace(other, at=other.at + 3_600_000_000)])


def minutes_and_days():
    n = 400
    at = BARS.at[30] - 60_000_000 * np.arange(n, 0, -1)
    ones = np.full((n, 1), 10.0)
    return join([BARS, Bars(("M",), at, ones, ones, ones, ones, ones, "raw")])


POLICIES = {
    "risk": RiskPolicy(), "sizing": SizingPolicy(), "costs": FillPolicy(), "votes": VotePolicy(),
    "indicators": IndicatorPolicy(), "consensus": ConsensusPolicy(WEIGHTS),
}  # fmt: skip
NUMBERS = [
    (part, f.name)
    for part, policy in POLICIES.items()
    for f in fields(policy)
    if type(getattr(policy, f.name)) in (int, float)
]


@pytest.mark.parametrize(("part", "name"), NUMBERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_no_knob_turns_to_what_is_no_number_or_below_its_stop(part, name, value):
    with pytest.raises(InvalidPolicy, match=f"{part}[.]"):
        replace(POLICIES[part], **{name: value})


@pytest.mark.parametrize("price", [1e-9, 1e9])
def test_prices_of_a_billionth_and_a_billion_make_finite_numbers(price):
    rng = np.random.default_rng(2)
    bars = bars_of(price * np.exp(np.cumsum(rng.normal(0, 0.01, 80))))
    for targets in (None, np.where(np.arange(80) // 10 % 2, 1.0, -1.0)[:, None]):
        sizes = None if targets is None else np.full(targets.shape, 50.0)
        run = backtest(bars, Policy(indicators=QUICK), targets=targets, sizes=sizes)
        assert np.isfinite(run.equity).all() and (run.equity > 0).all()
        assert np.isfinite(summary(run).total_return)


def test_an_account_that_is_wiped_out_trades_no_more_and_has_no_ratios():
    prices = [100.0] * 5 + [250.0, 300.0, 310.0, 300.0, 290.0] + [300.0] * 5
    bars = bars_of(prices)
    targets = np.full(bars.close.shape, np.nan)
    targets[2], targets[8:] = -1.0, 1.0
    run = backtest(bars, UNLIMITED, FREE, targets=targets, sizes=np.full(targets.shape, 100.0))
    assert run.equity.min() < 0
    assert len(run.fills[run.fills["bar"] > bars.times[6]]) <= 1  # the closing of the short
    with pytest.raises(InvalidData, match="wiped out"):
        summary(run)
    assert "hypothetical" in run._repr_html_()


def test_no_volume_and_a_cap_fills_nothing_and_says_how_much():
    bars = bars_of([100.0] * 10, volume=0.0)
    sizes = np.full(bars.close.shape, 10.0)
    run = backtest(bars, UNLIMITED, replace(FREE, volume_pct=10.0),
                   targets=np.ones(bars.close.shape), sizes=sizes)  # fmt: skip
    assert run.fills.empty and run.unfilled > 0 and (run.equity == 100_000.0).all()


@pytest.mark.parametrize(
    "bars",
    [bars_of([10.0]), bars_of([10.0, 10.0]), Bars(("A",), BARS.at, *[HOLE] * 5, "raw")],
    ids=["one bar", "two bars", "no bar of the only symbol"],
)
def test_where_nothing_can_be_traded_the_answer_is_empty(bars):
    run = backtest(bars, Policy(indicators=QUICK), keep_log=True)
    for table in (run.trades, run.fills, run.holdings):
        assert table.empty
    assert (run.equity == 100_000.0).all() and run.ambiguous == 0 and run.halts == ()
    assert "hypothetical" in run._repr_html_()


def test_a_symbol_without_bars_leaves_its_neighbour_alone():
    silent = Bars(("Z",), BARS.at, *[HOLE] * 5, "raw")
    alone, both = (backtest(b, Policy(indicators=QUICK)) for b in (BARS, join([BARS, silent])))
    assert np.array_equal(alone.equity, both.equity) and alone.trades.equals(both.trades)


def test_zero_trades_have_no_win_rate_and_no_profit_factor():
    found = summary(backtest(BARS, with_fields(Policy(), {"consensus.threshold": 100.0})))
    assert found.trades == 0
    for name in ("sharpe", "profit_factor", "expectancy", "win_rate"):
        assert np.isnan(getattr(found, name)), name


def test_a_ruined_or_idle_candidate_has_no_score_and_says_why():
    grid = Grid({"consensus.threshold": (99.0, 100.0)})
    table = sweep(course_of(BARS), grid, base=Candidate(Policy(indicators=QUICK))).table
    assert table["score"].isna().all() and table["why"].str.contains("trades").all()


def test_what_is_masked_is_not_there():
    there = np.flatnonzero(~np.isnan(BARS.close[:, 0]))
    prices = np.ma.masked_where(np.arange(len(BARS))[:, None] == there[5], BARS.close)
    hidden = {name: getattr(BARS, name) for name in COLUMNS} | {"close": prices}
    with pytest.raises(InvalidBars, match="close nan"):
        Bars(BARS.symbols, BARS.at, *(hidden[name] for name in COLUMNS), BARS.basis)


@pytest.mark.parametrize("symbols", [("",), (1,), (None,)])
def test_a_symbol_has_a_name(symbols):
    with pytest.raises(InvalidBars, match="symbols must be named"):
        Bars(symbols, *(getattr(BARS, name)[:, :1] if name in COLUMNS else BARS.at
                        for name in ("at", *COLUMNS)), BARS.basis)  # fmt: skip


@pytest.mark.parametrize("day", [0, False, ""])
def test_a_day_that_is_none_is_not_the_beginning(day):
    for ask in (lambda: between(BARS, day, None), lambda: course_of(BARS, day)):
        with pytest.raises(InvalidTime, match="a date is needed"):
            ask()


@pytest.mark.parametrize("least", [math.nan, -1, 2.5])
def test_an_objective_asks_for_a_whole_number_of_trades(least):
    with pytest.raises(InvalidPolicy, match="min_trades must be a whole number"):
        Objective("sharpe", least)


@pytest.mark.parametrize("choose", ["peak", lambda training: -1, lambda training: 99])
def test_a_chooser_names_a_point_of_its_grid(choose):
    grid = Grid({"sizing.stop_pct": (2.0, 3.0)})
    with pytest.raises(InvalidPolicy, match="choose"):
        walk_forward(BARS, grid, Windows(20, 10), choose=choose)


def test_bars_side_by_side_are_no_overlap():
    """Hours with a short last one, and minutes beside a symbol that trades in some of them."""
    ends = BARS.at[:20, None] - MINUTE * np.array([330, 270, 210, 150, 90, 30, 0])
    prices = [np.full((140, 1), 100.0)] * 5
    hours = [Bars((name,), ends.ravel(), *prices, "raw") for name in ("A", "B")]
    backtest(join(hours))
    minutes = BARS.at[0] - MINUTE * np.arange(389, -1, -1)
    some = np.random.default_rng(1).random(390) < 0.4
    dense = Bars(("A",), minutes, *[np.full((390, 1), 100.0)] * 5, "raw")
    thin = Bars(("B",), minutes[some], *[np.full((some.sum(), 1), 100.0)] * 5, "raw")
    backtest(join([dense, thin]))


def test_closes_at_midnight_are_closes_where_every_day_has_one():
    days = pd.date_range("2024-01-01", periods=30, tz="UTC")
    frame = pd.DataFrame({name: 100.0 for name in COLUMNS}, days)
    assert len(from_frame(frame, "BTC", "raw")) == 30
    assert len(from_frame(frame.iloc[::7], "BTC", "raw")) == 5  # weekly, on Mondays


def test_a_frame_of_targets_may_be_in_any_zone_and_order():
    two = join([BARS, from_frame(FRAME, "B", "raw")])
    wishes = pd.DataFrame({"B": 1.0, "A": 0.0}, two.times.tz_convert("America/New_York"))
    run = backtest(two, targets=wishes, sizes=wishes * 10)
    assert {*run.fills["symbol"]} == {"B"}
