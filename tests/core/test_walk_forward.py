"""Chosen on the past, applied to the future, blind to it; and each mistake would be seen."""

import math
import time
from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine import walk_forward as walking
from argo_alpine.backtest import backtest
from argo_alpine.bars import Bars, each
from argo_alpine.costs import FillPolicy, fee, market_price
from argo_alpine.domain import InvalidData, InvalidPolicy
from argo_alpine.fields import Grid, with_fields
from argo_alpine.folds import Windows, folds, k_folds, purged
from argo_alpine.knobs import numbers
from argo_alpine.loading import load
from argo_alpine.sessions import bar_days, instant
from argo_alpine.shares import reading
from argo_alpine.stretches import Candidate, Span, Stretch, course_of, idle, stitched, stretch
from argo_alpine.walk_forward import (
    MEASURES,
    Objective,
    fold_table,
    outcomes,
    peak,
    scored,
    stability,
    walk_forward,
)

DAY = 86_400_000_000
STOCKS = load(["AAPL", "MSFT"], last=date(2003, 6, 30))
GRID = Grid({"consensus.threshold": (70, 75, 80), "sizing.stop_pct": (1.5, 3, 6)})
WINDOWS = Windows(train=250, test=120)
AIM = Objective("sharpe", min_trades=5)
FOLDS = folds(STOCKS.at, WINDOWS)
SEEDS = range(4)


def shaken(bars, first, stop, seed):
    """The same bars, those from first to stop multiplied by chance."""
    factor = np.ones((len(bars), 1))
    factor[first:stop, 0] = np.exp(np.random.default_rng(seed).normal(0, 0.03, stop - first))
    return Bars(bars.symbols, bars.at, *each(lambda n: getattr(bars, n) * factor), bars.basis)


def choices(bars, make):
    """What a chooser chose in each fold."""
    return [s.chosen for s in walk_forward(bars, GRID, WINDOWS, None, AIM, make(bars)).steps]


def listens(make):
    """Whether other training prices ever lead to another choice."""
    before, (first, stop) = choices(STOCKS, make)[0], FOLDS[0].train[0]
    return any(choices(shaken(STOCKS, first, stop, s), make)[0] != before for s in SEEDS)


def peeks(make):
    """Whether other test prices ever lead to another choice."""
    before = choices(STOCKS, make)
    for k, fold in enumerate(FOLDS):
        for seed in SEEDS:
            after = choices(shaken(STOCKS, fold.test.first, len(STOCKS), seed), make)
            if after[: k + 1] != before[: k + 1]:
                return True
    return False


def is_applied():
    """Whether each test is what the chosen knobs do over the test window, from flat."""
    walk = walk_forward(STOCKS, GRID, WINDOWS, None, AIM)
    for step, fold in zip(walk.steps, FOLDS, strict=True):
        chosen = with_fields(Candidate(), step.chosen)
        alone = stretch(course_of(STOCKS), chosen, fold.test)
        if not np.array_equal(alone.equity, step.part.equity):
            return False
    return True


def constant(bars):
    return lambda training: 4


def prophet(bars):
    """A chooser that judges by the bars after training."""

    def choose(training):
        stop = len(training.course.bars)
        ahead = replace(course_of(bars), spans=(Span(stop, min(stop + 120, len(bars))),))
        found = [scored(o, AIM, least=0)[0] for o in outcomes(ahead, training.candidates)]
        return int(np.nanargmax(found))

    return choose


def test_an_honest_chooser_listens_to_training_and_never_sees_the_test():
    assert listens(lambda bars: peak)
    assert not peeks(lambda bars: peak)


def test_a_chooser_that_ignores_training_is_caught():
    assert not listens(constant)


def test_a_chooser_that_sees_the_test_is_caught():
    assert peeks(prophet)


def test_what_was_chosen_is_what_was_run():
    assert is_applied()


def test_parameters_that_are_not_applied_are_caught(monkeypatch):
    real = walking.stretch
    monkeypatch.setattr(walking, "stretch", lambda course, _, span: real(course, Candidate(), span))
    assert not is_applied()


def test_training_is_handed_no_bar_of_the_test():
    seen = []

    def choose(training):
        seen.append((len(training.course.bars), training.course.spans))
        return peak(training)

    walk_forward(STOCKS, GRID, WINDOWS, None, AIM, choose)
    assert seen == [(fold.test.first, fold.train) for fold in FOLDS]


@st.composite
def walks(draw):
    train, test = draw(st.integers(2, 60)), draw(st.integers(2, 30))
    step = draw(st.sampled_from([0, test, test + 5]))
    purge, embargo = draw(st.integers(0, 8)), draw(st.integers(0, 8))
    windows = Windows(train, test, step, draw(st.booleans()), purge, embargo)
    bars = train + purge + draw(st.integers(2, 150))
    return windows, np.arange(bars) * DAY + 12 * DAY // 24


@given(walks())
def test_every_bar_after_the_first_training_is_tested_once(walk):
    windows, at = walk
    try:
        made = folds(at, windows)
    except InvalidPolicy:
        assert windows.embargo  # it left a fold nothing to train on
        return
    tested = [t for fold in made for t in range(*fold.test)]
    assert tested == sorted(set(tested))
    if windows.step in (0, windows.test):
        assert tested == [*range(windows.train + windows.purge, len(at))]


@given(walks())
def test_no_training_bar_meets_its_test_its_purge_or_an_embargo(walk):
    windows, at = walk
    try:
        made = folds(at, windows)
    except InvalidPolicy:
        return
    for i, fold in enumerate(made):
        bars = {t for span in fold.train for t in range(*span)}
        assert max(bars) < fold.test.first - windows.purge
        for earlier in made[:i]:
            assert not bars & {*range(earlier.test.stop, earlier.test.stop + windows.embargo)}
        if not windows.embargo:
            oldest = 0 if windows.anchored else fold.test.first - windows.purge - windows.train
            assert bars == {*range(oldest, fold.test.first - windows.purge)}


@pytest.mark.parametrize("embargo", range(1, 14, 3))
def test_an_embargo_within_a_day_lasts_until_its_end(embargo):
    days = np.repeat(STOCKS.at[:20], 13)
    at = days + 30 * 60_000_000 * np.tile(np.arange(-12, 1), 20)
    made = folds(at, Windows(26, 26, anchored=True, embargo=embargo))
    for fold in made:
        assert all(span.first % 13 == 0 for span in fold.train)
    assert len(made[-1].train) > 1


@given(st.integers(20, 300), st.integers(2, 10), st.integers(0, 9), st.integers(0, 9))
def test_k_folds_test_every_bar_once_and_train_on_none_that_touches(n, k, purge, embargo):
    try:
        made = k_folds(n, k, purge, embargo)
    except InvalidPolicy as refused:  # nothing would be left to train on
        assert "no training" in str(refused) and n / k + 2 * purge + embargo > n - 6
        return
    assert [t for fold in made for t in range(*fold.test)] == [*range(n)]
    for fold in made:
        near = {*range(fold.test.first - purge, fold.test.stop + purge + embargo)}
        assert not near & {t for span in fold.train for t in range(*span)}


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 30))), st.integers(0, 99), st.data())
def test_no_label_that_is_kept_shares_an_instant_with_the_test(labels, first, data):
    last = data.draw(st.integers(first, 120))
    starts = np.array([a for a, _ in labels], np.int64)
    ends = np.array([a + length for a, length in labels], np.int64)
    block = {*range(first, last + 1)}
    kept = purged(starts, ends, first, last)
    assert kept.tolist() == [
        not block & {*range(a, b + 1)} for a, b in zip(starts, ends, strict=True)
    ]


def test_no_trade_that_ends_in_the_test_takes_part_in_a_choice():
    fold = FOLDS[1]
    everything = backtest(STOCKS).trades
    inside = stretch(course_of(STOCKS), Candidate(), Span(0, fold.test.first))
    closes = STOCKS.at[[fold.test.first, len(STOCKS) - 1]]
    starts, ends = (everything[n].dt.as_unit("us").astype("int64") for n in ("opened", "closed"))
    kept = purged(starts.to_numpy(), ends.to_numpy(), *map(int, closes))
    # a close at the open of the test's first bar lies before that bar's close, and is not inside
    early = ends.to_numpy() <= STOCKS.at[fold.test.first - 1]
    assert (kept[early]).all()
    assert len(inside.pnl) - inside.left == early.sum()
    assert np.allclose(inside.pnl[: early.sum()], everything["pnl"].to_numpy()[early])


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=6))
def test_stretches_compound(growth):
    parts = [
        Stretch(
            np.arange(2) + 2 * i, 1e5 * np.array([1.0, g]), np.ones(2), np.ones(2),
            np.array([1e5 * (g - 1)]), 1.0, 0, 0,
        )
        for i, g in enumerate(growth)
    ]  # fmt: skip
    whole = stitched(parts, 1e5)
    assert whole.equity[-1] == pytest.approx(1e5 * math.prod(growth))
    assert whole.pnl.sum() == pytest.approx(whole.equity[-1] - 1e5, abs=1e-6)


def test_a_window_ends_flat_and_pays_for_it():
    course = course_of(STOCKS)
    costs = FillPolicy(fee_per_share=0.01, fee_minimum=1.0, borrow_pct=0.0)
    run = backtest(course.bars, costs=costs)
    assert len(run.holdings)
    part, record = stretch(course, Candidate(costs=costs), course.spans[0]), numbers(costs)
    paid = 0.0
    for held in run.holdings.itertuples():
        price = market_price(held.last, -held.quantity, np.nan, 0.0, record)
        paid += abs(held.quantity * (held.last - price)) + fee(held.quantity, price, record)
    assert part.left == len(run.holdings)
    assert run.equity[-1] - part.equity[-1] == pytest.approx(paid)
    assert part.equity[-1] - course.cash == pytest.approx(part.pnl.sum())


def test_what_is_sold_at_the_end_counts_as_traded():
    part, run = stretch(course_of(STOCKS), Candidate(), Span(0, len(STOCKS))), backtest(STOCKS)
    value = (run.holdings["quantity"].abs() * run.holdings["last"]).sum()
    assert value > 0
    assert run.turned == pytest.approx((run.traded / run.equity).sum())
    before = (run.traded / part.equity).sum()  # the last point bears what the sale costs
    assert part.turned - before == pytest.approx(value / part.equity[-1], rel=1e-3)


def test_turnover_counts_from_the_first_decision_on():
    late = backtest(STOCKS, start=date(2002, 3, 1))
    assert late.first > 0
    assert late.turned == pytest.approx((late.traded / late.equity).sum())
    part = stretch(course_of(STOCKS, date(2002, 3, 1)), Candidate(), Span(late.first, len(STOCKS)))
    sold = (late.holdings["quantity"].abs() * late.holdings["last"]).sum() / part.equity[-1]
    assert part.turned == pytest.approx((late.traded / part.equity).sum() + sold, rel=1e-5)


def test_turnover_of_stitched_windows_is_that_of_each():
    spans = [Span(0, 250), Span(250, 500)]
    parts = [stretch(course_of(STOCKS), Candidate(), span) for span in spans]
    assert all(part.turned > 0 for part in parts)
    whole = stitched(parts, 100_000.0)
    assert whole.turned == parts[0].turned + parts[1].turned


def test_threads_change_no_bit():
    course, some = course_of(STOCKS), [with_fields(Candidate(), p) for p in GRID.points]
    assert repr(outcomes(course, some)) == repr(outcomes(course, some, workers=3))
    one, two = (
        walk_forward(STOCKS, GRID, WINDOWS, None, AIM, run=lambda c, s, w=w: outcomes(c, s, w))
        for w in (1, 2)
    )
    assert one.equity.tobytes() == two.equity.tobytes()


def test_the_order_of_the_symbols_changes_nothing():
    turned = Bars(
        STOCKS.symbols[::-1], STOCKS.at, *each(lambda n: getattr(STOCKS, n)[:, ::-1]), "splits"
    )
    walk, other = (walk_forward(b, GRID, WINDOWS, None, AIM) for b in (STOCKS, turned))
    assert walk.equity.tobytes() == other.equity.tobytes()


def test_the_record_has_one_point_for_each_tested_bar():
    walk = walk_forward(STOCKS, GRID, WINDOWS, None, AIM)
    tested = [t for fold in FOLDS for t in range(*fold.test)]
    assert walk.whole.at.tolist() == STOCKS.at[tested].tolist()
    assert walk.trials == len(FOLDS) * len(GRID)
    assert stability(walk)["folds"].tolist() == [len(FOLDS)] * 2
    assert "best of 9" in walk._repr_html_()


def test_intraday_windows_begin_with_a_day():
    hours = load(["EURUSD"])
    made = folds(hours.at, Windows(1001, 301))
    days = bar_days(hours.at)
    for fold in made:
        assert days[fold.test.first] != days[fold.test.first - 1]
    walk = walk_forward(hours, Grid({"sizing.stop_pct": (0.5, 1)}), Windows(1001, 301), None, AIM)
    assert len(walk.equity) == sum(f.test.stop - f.test.first for f in made)


def test_a_fold_that_cannot_choose_stays_flat_and_says_why():
    walk = walk_forward(STOCKS, GRID, WINDOWS, None, Objective("sharpe", min_trades=10_000))
    assert all(math.isnan(s.outside) and math.isnan(s.inside) for s in walk.steps)
    assert all("at least 10000" in s.why for s in walk.steps)
    assert (walk.equity == walk.cash).all()
    assert walk.outcome.summary.trades == 0


def test_a_test_without_trades_has_no_score():
    silent = Bars(STOCKS.symbols, STOCKS.at, *each(lambda n: flat(getattr(STOCKS, n))), "splits")
    walk = walk_forward(silent, GRID, WINDOWS, None, AIM)
    assert walk.steps[-1].chosen
    assert math.isnan(walk.steps[-1].outside)
    assert walk.steps[-1].why.startswith("no trades")


def flat(prices):
    """Prices until the last test; none from there on."""
    prices = prices.copy()
    prices[FOLDS[-1].test.first - 1 :] = np.nan
    return prices


@pytest.mark.parametrize("name", MEASURES)
def test_every_objective_can_choose(name):
    (course, aim) = course_of(STOCKS), Objective(name, 5)
    (outcome,) = outcomes(course, [Candidate()])
    value, why = scored(outcome, aim)
    assert math.isfinite(value)
    assert why == ""


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        (Windows(700, 600), None),
        (Windows(5000, 10), "need 5002 bars"),
        (Windows(840, 10, purge=100), "need 942 bars"),
    ],
)
def test_windows_longer_than_the_data_are_refused(windows, said):
    if said is None:
        assert len(folds(STOCKS.at, windows)) == 1
    else:
        with pytest.raises(InvalidPolicy, match=said):
            folds(STOCKS.at, windows)


@pytest.mark.parametrize(
    "wrong", [{"train": 1}, {"test": 1}, {"step": 5}, {"purge": -1}, {"embargo": -1}]
)
def test_windows_that_make_no_sense_are_refused_by_name(wrong):
    with pytest.raises(InvalidPolicy, match=f"windows: {next(iter(wrong))} must be"):
        Windows(**{"train": 50, "test": 20} | wrong)


def test_a_start_beyond_the_data_is_refused():
    with pytest.raises(InvalidData, match="leave 0"):
        walk_forward(STOCKS, GRID, WINDOWS, start=date(2030, 1, 1))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_fails_stops_the_others(monkeypatch, workers):
    real, begun = walking.run_sheet, []

    def broken(*given):
        begun.append(given)
        if len(begun) == 3:
            raise MemoryError("no room")
        if len(begun) > 3:
            time.sleep(0.05)  # a busy machine may be late to hear of it
        return real(*given)

    monkeypatch.setattr(walking, "run_sheet", broken)
    course = course_of(load(["MSFT"], last=date(2004, 12, 31)), date(2003, 1, 2))
    with pytest.raises(MemoryError, match="no room"):
        walking.outcomes(course, [Candidate()] * 200, workers)
    assert 3 <= len(begun) < 20


def test_a_step_longer_than_a_test_leaves_bars_out():
    made = folds(STOCKS.at[:400], Windows(100, 20, step=50))
    assert [f.test for f in made] == [Span(first, first + 20) for first in range(100, 399, 50)]


def test_between_tests_that_lie_apart_the_money_rests_and_time_passes():
    windows = Windows(train=250, test=120, step=200)
    walk, made = walk_forward(STOCKS, GRID, windows, None, AIM), folds(STOCKS.at, windows)
    assert walk.whole.at.tolist() == STOCKS.at[made[0].test.first : made[-1].test.stop].tolist()
    gap = slice(120, 200)  # behind the first test
    assert set(walk.equity[gap]) == {walk.equity[119]}  # not a bit of a return
    assert not walk.whole.gross[gap].any()
    compounded = math.prod(1 + s.outcome.summary.total_return for s in walk.steps)
    assert walk.equity[-1] == pytest.approx(walk.cash * compounded, rel=1e-12)
    years = (walk.whole.at[-1] - walk.whole.at[0]) / (365.25 * DAY)
    assert walk.outcome.summary.n / years == pytest.approx(252, rel=0.02)  # returns, idle ones too


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=8), st.floats(1.0, 1e9))
def test_money_that_rests_between_two_parts_does_not_move_by_a_bit(growths, cash):
    course = course_of(STOCKS, cash=cash)
    rest = idle(course, Span(0, 3))
    parts = [p for g in growths for p in (replace(rest, equity=rest.equity * [1.0, g, g]), rest)]
    moved = np.diff(stitched(parts, cash).equity)
    assert np.count_nonzero(moved) <= len(growths)  # within parts, and nowhere else


@pytest.mark.parametrize("anchored", [True, False])
def test_nothing_before_the_origin_is_trained_on(anchored):
    made = folds(STOCKS.at[:400], Windows(100, 20, anchored=anchored), origin=150)
    assert min(f.train[0].first for f in made) == 150
    assert made[0].test.first == 250


def test_windows_are_whole_and_purged_bars_count():
    with pytest.raises(InvalidPolicy, match=r"at least 2 bars, was 20\.5"):
        Windows(100, 20.5)
    with pytest.raises(InvalidPolicy, match="need 122 bars, there are 121"):
        folds(STOCKS.at[:121], Windows(100, 20, purge=20))


@pytest.mark.parametrize("k", [1, 6])
def test_folds_are_two_or_more_of_two_bars_or_more(k):
    with pytest.raises(InvalidPolicy, match="between 2 and 5"):
        k_folds(10, k)


@pytest.mark.parametrize(
    ("scores", "place"),
    [([1.0, 3.0, 2.0], 1), ([math.nan, 2.0, 2.0, 1.0], 1), ([math.nan, math.nan], None)],
)
def test_the_peak_is_the_best_and_the_first_of_equals(scores, place):
    assert peak(SimpleNamespace(scores=np.array(scores))) == place


SMALL, ANY = Grid({"consensus.threshold": (60.0, 70.0)}), Objective("total_return", 0)


def test_all_pieces_of_training_are_run():
    windows, seen = Windows(200, 60, anchored=True, embargo=10), []

    def run(course, candidates):
        seen.append(course.spans)
        return outcomes(course, candidates)

    walk_forward(STOCKS, SMALL, windows, objective=ANY, run=run)
    assert seen == [f.train for f in folds(STOCKS.at, windows)]
    assert len(seen[-1]) > 1


def test_the_inside_score_is_that_of_the_chosen():
    scores = []

    def second(training):
        scores.append(training.scores[1])
        return 1

    walk = walk_forward(STOCKS, SMALL, WINDOWS, objective=ANY, choose=second)
    assert [step.inside for step in walk.steps] == scores


def test_a_test_may_have_few_trades():
    many = Objective("total_return", 1_000)
    walk = walk_forward(STOCKS, SMALL, WINDOWS, objective=many, choose=lambda training: 0)
    assert all(math.isnan(step.inside) for step in walk.steps)
    assert all(math.isfinite(step.outside) for step in walk.steps)


@pytest.mark.parametrize("choice", [-1, len(GRID)])
def test_a_choice_is_one_of_the_points(choice):
    with pytest.raises(InvalidPolicy, match=f"names one of 9 points, was {choice}"):
        walk_forward(STOCKS, GRID, WINDOWS, None, AIM, choose=lambda training: choice)


def test_a_chooser_is_a_function():
    with pytest.raises(InvalidPolicy, match="choose is a function"):
        walk_forward(STOCKS, SMALL, WINDOWS, choose="peak")


def test_a_step_says_when_it_was_tested_and_a_table_what_was_traded():
    walk = walk_forward(STOCKS, SMALL, WINDOWS, objective=ANY)
    table, parts = fold_table(walk), [step.part for step in walk.steps]
    for step, part in zip(walk.steps, parts, strict=True):
        assert step.tested == (instant(int(part.at[0])), instant(int(part.at[-1])))
    assert table["trades"].tolist() == [len(part.pnl) for part in parts]
    assert walk.whole.left == sum(part.left for part in parts) > 0


def test_a_page_of_a_walk_says_returns_in_percent():
    walk = walk_forward(STOCKS, SMALL, WINDOWS, objective=ANY)
    page = walk._repr_html_()
    found = [part.equity[-1] / part.equity[0] - 1 for part in (walk.whole, walk.steps[0].part)]
    whole, first = (reading(value, pct=True) for value in found)
    assert f"return {whole}, " in page and f"<td>{first}</td>" in page
    assert whole.endswith(" %")


def test_a_stretch_begins_with_the_money_and_not_with_the_equity_of_the_one_before():
    """The first point of a stretch is a close already: what was gained by then counts as well."""
    begun = [np.array([110.0, 120.0]), np.array([90.0, 100.0, 80.0])]
    parts = [
        Stretch(np.arange(len(equity)) + 9 * i, equity, equity / 2, 1.0, np.ones(1) * 5, 2.0, i, 1)
        for i, equity in enumerate(begun)
    ]
    whole = stitched(parts, 100.0)
    assert whole.equity == pytest.approx([110.0, 120.0, 1.2 * 90.0, 1.2 * 100.0, 1.2 * 80.0])
    assert whole.gross == pytest.approx(whole.equity / 2)
    assert whole.pnl == pytest.approx([5.0, 6.0]) and whole.fees == pytest.approx(2.0 + 2.4)
    assert (whole.turned, whole.halts, whole.left) == (2.0, 1, 2)


def test_who_does_nothing_keeps_the_money_there_was():
    part = idle(course_of(STOCKS, cash=5.0), Span(3, 7))
    assert part.equity.tolist() == [5.0] * 4 and part.gross.tolist() == [0.0] * 4
    assert part.at.tolist() == STOCKS.at[3:7].tolist()
