"""A label is late and never changes, a score is exact, and credit adds up."""

import json
import math
from dataclasses import replace
from datetime import date
from fractions import Fraction
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as t_of
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from argo_alpine import metrics, scores, signal_plots, signal_quality
from argo_alpine.backtest import backtest
from argo_alpine.bars import Bars, each
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import InvalidData, InvalidPolicy, Reading, UnavailableData
from argo_alpine.engine import Policy
from argo_alpine.indicators import fold, fresh
from argo_alpine.knobs import numbers
from argo_alpine.labels import (
    EXPIRED,
    HIT,
    LABEL,
    OUTCOMES,
    PENDING,
    STOPPED,
    VOID,
    Paths,
    ending_of,
    forward,
    horizon_curve,
    label_all,
    labels_of,
    matured,
    paths_of,
)
from argo_alpine.loading import load
from argo_alpine.opinions import atrs_of
from argo_alpine.scores import (
    crowding,
    difference_of,
    hits_by_confidence,
    long_run,
    mean_of,
    pool_neighbours,
    quality_of,
    shapley,
    share_of,
    spread_of,
    student,
)
from argo_alpine.shares import FLOOR, Z, wilsons
from argo_alpine.signal_quality import (
    by_group,
    coalition_gains,
    credit_of,
    excess,
    index_of,
    overlap,
    phases,
    sources_of,
    volatility_of,
    weather,
)
from argo_alpine.signal_quality import (
    signal_quality as judge,
)

DAY = 86_400_000_000
FREE = FillPolicy(slippage_bps=0, spread_bps=0, borrow_pct=0)
WORDS = ("outcome", "end", "exit", "both", "net")


def a_policy(**knobs):
    base = Policy()
    return replace(base, consensus=replace(base.consensus, **knobs))


EAGER = a_policy(threshold=55.0)


def a_market(seed, n_bars=160, symbols=("AAA", "BBB"), gaps=0.0):
    "A seeded walk on whole cents, with bars missing."
    draw = np.random.default_rng(seed)
    shape = (n_bars, len(symbols))
    close = np.round(100 * np.exp(np.cumsum(draw.normal(0, 0.015, shape), axis=0)), 2)
    before = np.vstack([close[:1], close[:-1]])
    open = np.round(before * (1 + draw.normal(0, 0.006, shape)), 2)
    high = np.round(np.maximum(open, close) + draw.exponential(0.5, shape), 2)
    low = np.round(np.minimum(open, close) - draw.exponential(0.5, shape), 2)
    columns = [open, high, low, close, draw.integers(1, 9, shape) * 1e5]
    missing = draw.random(shape) < gaps
    for column in columns:
        column[missing] = np.nan
    at = 1_262_638_800_000_000 + DAY * np.arange(n_bars, dtype=np.int64)
    return Bars(symbols, at, *columns, "splits")


def cut(bars, n):
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbols, bars.at[:n], *(column[:n] for column in columns), bars.basis)


def spoilt(bars, n):
    "The same bars up to `n`, then other prices altogether."
    other = a_market(99, len(bars), bars.symbols)
    names = ("open", "high", "low", "close", "volume")
    mixed = (np.vstack([getattr(bars, c)[:n], 3 * getattr(other, c)[n:]]) for c in names)
    return Bars(bars.symbols, bars.at, *mixed, bars.basis)


def labelled(bars, horizon=8, policy=EAGER, costs=None):
    return labels_of(backtest(bars, policy, costs, keep_log=True), bars, horizon)


def same(one, other):
    return one.tobytes() == other.tobytes()


# Labels: late, and then for ever


def changes(labels, n_bars, again):
    """Labels of the full data that a past of `n` bars contradicts, for every n.

    `again(n)` labels what is known after n bars: known there by then, or absent.
    """
    wrong = []
    for n in range(20, n_bars + 1, 7):
        past = {(r["bar"], r["symbol"]): r for r in again(n)}
        for row in labels[labels["bar"] < n]:
            then = past[row["bar"], row["symbol"]]
            mature = row["end"] >= 0 and row["end"] < n
            is_kept = same(then, row) if mature else then["outcome"] == PENDING
            wrong += [] if is_kept else [(n, int(row["bar"]))]
    return wrong


@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_label_is_absent_until_it_matures_and_then_never_changes(seed, gaps):
    bars = a_market(seed, gaps=gaps)
    labels = labelled(bars)
    assert {*labels["outcome"]} >= {HIT, STOPPED, EXPIRED}
    assert changes(labels, len(bars), lambda n: labelled(cut(bars, n))) == []


def test_a_label_that_is_guessed_at_the_end_of_the_data_is_caught():
    bars = a_market(1)

    def guessed(n):
        rows = labelled(cut(bars, n))
        rows["outcome"][rows["outcome"] == PENDING] = EXPIRED
        return rows

    assert changes(guessed(len(bars)), len(bars), guessed)


def test_a_bracket_taken_from_the_whole_sample_is_caught():
    bars = a_market(1)

    def peeking(n):
        some = cut(bars, n)
        wide = replace(EAGER, sizing=replace(EAGER.sizing, stop_pct=100 * some.close.std() / 100))
        return labelled(some, policy=wide)

    assert changes(peeking(len(bars)), len(bars), peeking)


@pytest.mark.parametrize("n", [60, 97, 130])
def test_garbage_after_maturity_changes_nothing(n):
    bars = a_market(3)
    labels, poisoned = labelled(bars), labelled(spoilt(bars, n))
    mature = labels[(labels["end"] >= 0) & (labels["end"] < n)]
    kept = {(r["bar"], r["symbol"]): r for r in poisoned}
    assert len(mature) > 5
    assert all(same(kept[r["bar"], r["symbol"]], r) for r in mature)


def test_a_label_ends_after_it_is_made_and_within_its_horizon():
    labels = labelled(a_market(4))
    known = labels[labels["outcome"] != PENDING]
    assert (known["end"] > known["bar"]).all()
    assert (known["end"] <= known["bar"] + 8).all()
    assert (labels["end"][labels["outcome"] == PENDING] == -1).all()


def test_the_last_signals_are_pending():
    bars = a_market(4)
    labels = labelled(bars, horizon=30)
    waiting = labels[labels["outcome"] == PENDING]
    assert len(waiting) and (waiting["bar"] >= len(bars) - 30).all()
    assert np.isnan(waiting["net"]).all()


def test_every_consensus_with_a_side_has_one_label_held_or_not():
    bars = a_market(5)
    run = backtest(bars, EAGER, keep_log=True)
    labels = labels_of(run, bars, 8)
    assert len(labels) == (run.log["side"] != 0).sum() > len(run.trades)


def by_entry(run, bars, labels):
    "Labels that are known, by symbol and the bar of their entry."
    known = labels[labels["end"] >= 0]
    return {(run.bars.symbols[r["symbol"]], int(bars.at[r["bar"] + 1])): r for r in known}


def test_the_engines_own_trades_are_found_among_the_labels():
    bars = load(["AAPL", "IBM"], last=date(2008, 12, 31))
    run = backtest(bars, keep_log=True)
    labels = labels_of(run, bars, len(bars))
    found = by_entry(run, bars, labels)
    trades = run.trades[run.trades["why"] != "close"]
    assert len(trades) > 200
    for trade in trades.itertuples():
        day = bars.at[np.searchsorted(bars.at, trade.opened.value // 1000, "right")]
        row = found[trade.symbol, int(day)]
        assert (OUTCOMES[row["outcome"]], bool(row["both"])) == (trade.why, trade.ambiguous)
        assert row["exit"] == trade.exit
        assert row["entry"] == pytest.approx(trade.entry, rel=1e-12)
        assert bars.at[row["end"]] == trade.closed.value // 1000


def test_net_is_what_the_engine_paid_for_one_trade():
    "A short for weeks: slippage, fees of both ends and interest, to the last digit but rounding."
    costs = FillPolicy(fee_per_share=0.01, fee_bps=3.0, borrow_pct=9.0)
    bars = a_market(6, 400)
    run = backtest(bars, EAGER, costs, cash=1e6, keep_log=True)
    labels = labels_of(run, bars, len(bars))
    found = by_entry(run, bars, labels)
    for trade in run.trades[run.trades["why"] != "close"].itertuples():
        day = int(np.searchsorted(bars.at, trade.opened.value // 1000, "right"))
        row = found[trade.symbol, int(bars.at[day])]
        s = bars.symbols.index(trade.symbol)
        first, side = bars.open[day, s], 1 if trade.direction == "LONG" else -1
        days = (bars.at[row["end"]] - bars.at[day]) / DAY
        interest = 0.09 * days / 365 if side < 0 else 0.0
        expected = trade.pnl / trade.quantity / first - interest
        assert row["net"] == pytest.approx(expected, abs=1e-12)


def test_multiples_of_the_atr_are_those_the_engine_folds():
    bars = a_market(7, gaps=0.1)
    policy = Policy()
    made = atrs_of(bars.high, bars.low, bars.close, np.zeros((0, 0)), policy.indicators.atr)
    states, rings = fresh(2)
    for t in range(len(bars)):
        for s in range(2):
            if bars.close[t, s] == bars.close[t, s]:
                row = [getattr(bars, c)[t, s] for c in ("high", "low", "close", "volume")]
                fold(states[s], rings[s], *row, numbers(policy.indicators))
                np.testing.assert_equal(made[t, s], states[s]["atr"])


def mirrored(prices):
    "Every price p becomes 200 - p: what fell rises. Exact on quarters."
    o, h, lo, c = prices[1:]
    return Paths(prices.at, 200 - o, 200 - lo, 200 - h, 200 - c)


quarters = st.integers(-30, 30).map(lambda q: q / 4)


@given(st.lists(st.tuples(quarters, quarters, quarters, quarters), min_size=2, max_size=12))
def test_a_mirrored_market_mirrors_the_outcome_of_the_opposite_signal(moves):
    rows = 100 + np.array(moves)
    ohlc = (rows[:, :1], rows.max(1, keepdims=True), rows.min(1, keepdims=True), rows[:, 3:])
    prices = Paths(DAY * np.arange(len(rows)), *(np.ascontiguousarray(x) for x in ohlc))
    told = ending_of(0, 0, 1, (97.0, 105.0), 5, prices, math.nan, numbers(FREE))
    mirror = ending_of(0, 0, -1, (103.0, 95.0), 5, mirrored(prices), math.nan, numbers(FREE))
    assert (told[0], told[1], told[4]) == (mirror[0], mirror[1], mirror[4])
    np.testing.assert_equal(told[2], 200 - mirror[2])


def one_bar_later(open, high, low, close, legs=(97.0, 105.0)):
    rows = np.array([[100.0, 100, 100, 100], [open, high, low, close]])
    prices = Paths(
        DAY * np.arange(2), *(np.ascontiguousarray(rows[:, i : i + 1]) for i in range(4))
    )
    return ending_of(0, 0, 1, legs, 1, prices, math.nan, numbers(FREE))


def test_a_bar_that_touches_both_legs_is_a_stop_and_counted():
    assert one_bar_later(100, 106, 96, 100)[::4] == (STOPPED, True)
    assert one_bar_later(100, 106, 99, 100)[::4] == (HIT, False)


def test_an_open_beyond_a_leg_is_no_entry():
    assert one_bar_later(96, 100, 95, 100)[0] == VOID
    assert one_bar_later(105, 107, 104, 106)[0] == VOID
    assert one_bar_later(np.nan, np.nan, np.nan, np.nan)[0] == VOID


def test_a_policy_without_a_stop_has_no_break_even_and_says_nothing_else_wrong():
    policy = replace(EAGER, sizing=replace(EAGER.sizing, stop_pct=0.0))
    quality = judge(a_market(8, 300), policy, horizon=10)
    assert quality.outcomes["stop"] == 0 < quality.outcomes["target"]
    assert math.isnan(quality.break_even)


def test_the_order_of_the_symbols_changes_nothing():
    bars = a_market(9, 300, ("AAA", "BBB", "CCC"))
    order = [2, 0, 1]
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    turned = Bars(("CCC", "AAA", "BBB"), bars.at, *(c[:, order] for c in columns), "splits")
    one, other = judge(bars, EAGER), judge(turned, EAGER)
    assert same(one.labels, other.labels)
    pd.testing.assert_frame_equal(one.sources, other.sources)
    pd.testing.assert_frame_equal(one.groups, other.groups)


def test_bars_before_the_start_only_warm_up():
    bars = a_market(10, 300)
    whole, late = judge(bars, EAGER), judge(bars, EAGER, start=date(2010, 6, 1))
    begun = whole.labels[whole.labels["bar"] >= len(bars) - late.asked // 2]
    assert 0 < late.asked < whole.asked
    assert same(begun, late.labels)


# Shares and their intervals


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilsons_interval_is_that_of_metrics(wins, n):
    wins = min(wins, n)
    low, high = wilsons(np.array([wins / n]), np.array([float(n)]))
    assert (low[0], high[0]) == pytest.approx(metrics.wilson(wins, n), abs=1e-12)


def test_no_observations_have_no_interval():
    assert np.isnan(wilsons(np.array([np.nan]), np.array([0.0]))).all()
    assert share_of(np.ones(FLOOR - 1, bool), np.arange(FLOOR - 1), 5).text.endswith(
        "too few to say"
    )


def test_a_signal_said_twice_in_the_same_bar_is_worth_one():
    hits = (np.random.default_rng(1).random(500) < 0.4).astype(float)
    once, _ = crowding(hits, np.arange(500), 0)
    twice, _ = crowding(np.repeat(hits, 2), np.repeat(np.arange(500), 2), 0)
    assert once == pytest.approx(500 / 499, abs=1e-9)  # a mean was estimated
    assert twice == pytest.approx(2 * 500 / 499, abs=1e-9)


def covers(seed, lag, span=10, n=1500):
    "Whether the interval of a mean of overlapping sums of noise contains the truth, zero."
    noise = np.random.default_rng(seed).normal(size=n + span)
    sums = np.convolve(noise, np.ones(span), "valid")[:n]
    _, low, high = mean_of(sums, np.arange(n), lag)
    return low <= 0 <= high


def test_the_interval_of_overlapping_windows_covers_as_often_as_it_says_and_the_naive_does_not():
    honest = sum(covers(seed, 20) for seed in range(300))
    naive = sum(covers(seed, 0) for seed in range(300))
    assert honest >= 0.90 * 300
    assert naive < 0.60 * 300


def clumped(seed, clumps, size, span=20):
    "Overlapping outcomes of noise whose true mean is zero, seen in a few clumps only."
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=2_000 + span)
    sums = np.convolve(noise, np.ones(span), "valid")[:2_000]
    starts = np.sort(draw.choice(2_000 // (2 * size), clumps, replace=False)) * 2 * size
    bars = (starts[:, None] + np.arange(size)).ravel()
    return sums[bars], bars


@pytest.mark.parametrize(("clumps", "size"), [(2, 20), (3, 15), (6, 8)])
def test_a_few_clumps_of_signals_are_a_few_observations(clumps, size):
    honest, plain = 0, 0
    for seed in range(300):
        values, bars = clumped(seed, clumps, size)
        _, low, high = mean_of(values, bars, 40)
        honest += low <= 0 <= high
        sums = np.bincount(bars - bars.min(), values - values.mean())
        half = 1.96 * long_run(sums, 40) ** 0.5 / len(values)
        plain += abs(values.mean()) <= half
    assert honest >= 0.92 * 300
    assert plain < 0.88 * 300  # the control: without the two admissions


def test_signals_of_one_occasion_have_no_interval():
    values = np.random.default_rng(1).normal(200, 300, 40)
    assert np.isnan(mean_of(values, np.zeros(40, int), 40)).all()
    assert np.isnan(mean_of(values, np.arange(40) // 4, 40)).all()  # ten bars of one life
    lone = share_of(values > 0, np.zeros(40, int), 40, 20.0)
    assert lone.text == "n = 40: too few to say" and np.isnan(lone.effective)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 20, 100])
def test_students_t_is_scipys(freedom):
    assert student(freedom) == pytest.approx(t_of.ppf(0.975, freedom), rel=2e-3)


def test_a_difference_in_one_market_is_surer_than_either_mean():
    held = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        market = np.convolve(draw.normal(size=1_019), np.ones(20), "valid")
        bars = np.flatnonzero(draw.random(1_000) < 0.4)
        own = market[bars] + draw.normal(0.5, 1.0, len(bars))
        gap = difference_of(own, bars, market, np.arange(1_000), 40)
        held += gap[1] <= 0.5 <= gap[2]
        assert gap[0] == pytest.approx(own.mean() - market.mean())
    assert held >= 0.90 * 200
    alone = mean_of(own, bars, 40)
    assert gap[2] - gap[1] < 0.8 * (alone[2] - alone[1])
    assert np.isnan(difference_of(own[:29], bars[:29], market, np.arange(1_000), 40)).all()


# Confidence and hits

histories = st.lists(
    st.tuples(st.integers(7000, 7040) | st.integers(0, 10_000), st.booleans()),
    min_size=1,
    max_size=80,
)


def arrays(history):
    return np.array([c for c, _ in history]), np.array([h for _, h in history])


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_the_signals_changes_no_digit(history, random):
    one, other = (
        quality_of(*arrays(history)),
        quality_of(*arrays(random.sample(history, len(history)))),
    )
    assert repr(one) == repr(other)
    pd.testing.assert_frame_equal(one.bins, other.bins)


@given(histories)
def test_pooling_neighbours_is_isotonic_regression(history):
    confidences, hits = arrays(history)
    first, n, right = pool_neighbours(hits_by_confidence(confidences, hits)[0])
    fitted = IsotonicRegression().fit_transform(confidences, hits.astype(float))
    ours = (right / n)[np.searchsorted(first, confidences, "right") - 1]
    np.testing.assert_allclose(ours, fitted, atol=1e-12)
    assert n.sum() == len(hits) and right.sum() == hits.sum()
    assert (np.diff(right / n) > 0).all()


@given(histories)
def test_the_parts_of_the_score_add_up_exactly(history):
    confidences, hits = arrays(history)
    _, n, right = pool_neighbours(hits_by_confidence(confidences, hits)[0])
    total = len(history)
    score = sum((Fraction(int(c), 10_000) - int(h)) ** 2 for c, h in history) / total
    best = sum(Fraction(int(r) * int(m - r), int(m)) for m, r in zip(n, right, strict=True)) / total
    good = int(hits.sum())
    average = Fraction(good * (total - good), total**2)
    told = quality_of(confidences, hits)
    exact = (score, score - best, average - best, average)
    assert exact[1] - exact[2] + exact[3] == exact[0]
    parts = (told.brier, told.miscalibration, told.discrimination, told.uncertainty)
    assert parts == pytest.approx([float(part) for part in exact], abs=1e-15)
    assert exact[1] >= 0 and exact[2] >= 0


@given(histories)
def test_score_and_ranking_are_those_of_scikit_learn(history):
    confidences, hits = arrays(history)
    told = quality_of(confidences, hits)
    # given both labels, or scikit-learn guesses which one is a hit
    score = brier_score_loss(hits.astype(int), confidences / 10_000, labels=[0, 1])
    assert told.brier == pytest.approx(score, abs=1e-14)
    if 0 < hits.sum() < len(hits):
        assert told.auc == pytest.approx(roc_auc_score(hits, confidences), abs=1e-14)
    else:
        assert math.isnan(told.auc)


def test_bins_are_those_of_scikit_learn_and_pandas():
    draw = np.random.default_rng(5)
    confidences = draw.integers(5000, 10_000, 20_000)
    confidences += confidences % 1000 == 0  # on an edge the two disagree about whose it is
    hits = draw.random(20_000) < confidences / 10_000
    bins = quality_of(confidences, hits, width=1000).bins
    share, claimed = calibration_curve(hits, confidences / 10_000, n_bins=10)
    np.testing.assert_allclose(bins["share"], share)
    np.testing.assert_allclose(bins["confidence"] / 100, claimed)
    counted = pd.Series(hits).groupby(confidences // 1000).agg(["size", "sum"])
    assert (bins[["n", "hits"]].to_numpy() == counted.to_numpy()).all()
    assert bins["low"].to_numpy() == pytest.approx(
        [metrics.wilson(h, n)[0] for h, n in zip(bins["hits"], bins["n"], strict=True)]
    )


def test_few_signals_in_a_bin_have_no_rate():
    bins = quality_of(np.full(FLOOR - 1, 8000), np.ones(FLOOR - 1, bool)).bins
    assert bins["n"].item() == FLOOR - 1
    assert bins[["share", "low", "high"]].isna().all(axis=None)


def test_certainty_is_in_the_last_bin():
    bins = quality_of(np.full(40, 10_000), np.ones(40, bool)).bins
    assert (bins["from"].item(), bins["to"].item()) == (95.0, 100.0)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_the_width_of_the_numbers_does_not_matter(dtype):
    confidences = np.arange(5000, 10_001).astype(dtype)
    hits = confidences % 3 == 0
    assert repr(quality_of(confidences, hits)) == repr(
        quality_of(confidences.astype(np.int64), hits)
    )


@pytest.mark.parametrize(
    ("confidences", "hits", "said"),
    [
        ([7500, 10_001], [True, False], "0..10000, was 10001 at 1"),
        ([-1], [True], "was -1 at 0"),
        ([0.75], [True], "whole hundredths"),
        ([7500], [0.5], "whole hundredths"),
        ([7500], [True, False], "equally long"),
    ],
)
def test_what_is_not_a_confidence_or_a_hit_is_refused(confidences, hits, said):
    with pytest.raises(InvalidData, match=said):
        quality_of(np.array(confidences), np.array(hits))


def test_a_width_that_leaves_a_remainder_is_refused():
    with pytest.raises(InvalidPolicy, match="was 300"):
        quality_of(np.array([7500]), np.array([True]), width=300)


def test_a_calibrated_forecaster_is_told_from_a_boaster():
    draw = np.random.default_rng(6)
    claimed = draw.integers(5000, 10_001, 50_000)
    honest = quality_of(claimed, draw.random(50_000) < claimed / 10_000)
    boaster = quality_of(claimed, draw.random(50_000) < 0.5)
    assert honest.miscalibration < 0.002 < 0.01 < honest.discrimination
    assert boaster.discrimination < 0.001 < 0.05 < boaster.miscalibration
    assert boaster.auc == pytest.approx(0.5, abs=0.01)


# Credit

games = (
    st.integers(1, 4)
    .flatmap(lambda n: st.lists(st.integers(-1000, 1000), min_size=2**n, max_size=2**n))
    .map(lambda v: np.array(v, float))
)


def by_orders(values):
    "The definition: what a player adds on joining, averaged over all orders."
    n = len(values).bit_length() - 1
    adds = np.zeros(n)
    orders = [*permutations(range(n))]
    for order in orders:
        coalition = 0
        for player in order:
            adds[player] += values[coalition | 1 << player] - values[coalition]
            coalition |= 1 << player
    return adds / len(orders)


@given(games)
def test_shapley_is_its_definition_and_efficient(values):
    adds = shapley(values)
    assert adds == pytest.approx(by_orders(values), abs=1e-9)
    assert adds.sum() == pytest.approx(values[-1] - values[0], abs=1e-9)


@given(games)
def test_a_player_who_changes_nothing_gets_exactly_nothing(values):
    doubled = np.concatenate([values, values])  # the last player's bit changes nothing
    assert shapley(doubled)[-1] == 0.0
    assert shapley(doubled)[:-1] == pytest.approx(shapley(values), abs=1e-9)


@given(games)
def test_equal_players_get_equal_shares(values):
    n = len(values).bit_length() - 1
    if n < 2:
        return
    swap = [c if (c & 1) == (c >> 1 & 1) else c ^ 0b11 for c in range(2**n)]
    adds = shapley((values + values[swap]) / 2)
    assert adds[0] == pytest.approx(adds[1], abs=1e-9)


def random_votes(seed, n_bars=60, n_symbols=2):
    draw = np.random.default_rng(seed)
    shape = (n_bars, n_symbols, 4)
    directions = draw.integers(-1, 2, shape).astype(np.int16)
    confidences = draw.integers(5000, 10_001, shape).astype(np.int16)
    return directions, confidences, draw.integers(-50, 51, shape[:2]).astype(float)


RULES = (np.array([4000, 2500, 2000, 1500]), 6000, 4000)


@given(st.integers(0, 200))
@settings(max_examples=25)
def test_mirrored_votes_mirror_every_coalition(seed):
    directions, confidences, gains = random_votes(seed)
    worth, carried = coalition_gains(directions, confidences, gains, RULES)
    other, also = coalition_gains(-directions, confidences, gains, RULES)
    assert (worth == -other).all() and (carried == also).all()


def test_the_full_coalition_is_the_consensus_of_the_log():
    bars = a_market(11, 300)
    run = backtest(bars, EAGER, keep_log=True)
    gains = np.random.default_rng(0).normal(size=run.log.shape)
    credit = credit_of(run, gains, 5)
    side = np.where(run.log["why"] >= 0, run.log["side"], 0)
    assert credit.coalitions["elections"].iloc[-1] == (side != 0).sum()
    assert credit.total == pytest.approx(1e4 * (side * gains).sum(), rel=1e-12)
    assert credit.sources["adds"].sum() == pytest.approx(credit.total, rel=1e-12)


def test_a_silent_source_adds_exactly_nothing_and_moves_no_other():
    directions, confidences, gains = random_votes(1)
    directions[:, :, 3] = 0
    worth, _ = coalition_gains(directions, confidences, gains, RULES)
    assert (shapley(worth)[:, 3] == 0.0).all()


def test_two_equal_sources_share_equally():
    directions, confidences, gains = random_votes(2)
    directions[:, :, 1], confidences[:, :, 1] = directions[:, :, 0], confidences[:, :, 0]
    equal = (np.array([2500, 2500, 2500, 2500]), 6000, 2500)
    adds = shapley(coalition_gains(directions, confidences, gains, equal)[0].sum(axis=0))
    assert adds[0] == pytest.approx(adds[1], abs=1e-9)


def test_gains_that_are_not_known_are_left_out():
    directions, confidences, gains = random_votes(3)
    gains[50:] = np.nan
    short = coalition_gains(directions[:50], confidences[:50], gains[:50], RULES)
    whole = coalition_gains(directions, confidences, gains, RULES)
    assert (whole[0][:50] == short[0]).all() and (whole[0][50:] == 0).all()
    assert (whole[1] == short[1]).all()


# Curves and weather


def test_a_forward_return_knows_nothing_beyond_its_bar():
    bars = a_market(12, gaps=0.1)
    prices, k = paths_of(bars, bars.symbols), 5
    whole = forward(prices.open, prices.close, k)
    for n in (40, 90, 140):
        some = forward(prices.open[:n], prices.close[:n], k)
        known = ~np.isnan(some)
        assert (some[known] == whole[:n][known]).all() and np.isnan(some[-k:]).all()


def test_a_forward_return_is_from_the_next_open_to_the_kth_close():
    bars = a_market(13)
    made = forward(bars.open, bars.close, 3)
    assert made[:-3] == pytest.approx(bars.close[3:] / bars.open[1:-2] - 1, abs=1e-15)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_the_weather_of_a_day_never_changes(seed):
    closes = np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, 400)))
    whole = weather(closes)
    assert (whole[:272] == -1).all() and {*whole[272:]} <= {0, 1, 2}
    assert (weather(closes[:330]) == whole[:330]).all()


def test_bull_and_bear_are_hindsight():
    "The same day is a bull until it is known to have been a bear: so the table says not tradable."
    closes = np.array([100.0, 130.0, 120.0, 110.0, 104.0, 104.0])
    assert phases(closes[:4])[2] == 1
    assert phases(closes)[2] == -1
    assert not phases(np.linspace(100, 81, 50)).any()  # nothing has turned yet
    assert phases(np.linspace(100, 79, 50))[1:].tolist() == [-1] * 49
    quality = judge(a_market(14, 400), EAGER)
    assert "market, not tradable" in quality.groups.index.get_level_values("by")


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_every_bear_market_falls_by_a_fifth_or_more(seed):
    closes = np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, 600)))
    phase = phases(closes)
    starts = np.flatnonzero(np.diff(phase) == -2)
    for start in starts:
        end = start + 1
        while end < len(phase) and phase[end] < 0:
            end += 1
        assert closes[start + 1 : end].min() <= closes[start] * 0.8 * (1 + 1e-12)


def test_each_kind_of_weather_holds_every_signal_once():
    quality = judge(a_market(15, 400), EAGER)
    sums = quality.groups.groupby(level="by")["n"].sum()
    assert (sums == quality.hit_rate.n).all() and len(sums) == 4


# The whole


def foresight(bars, noise):
    "Readings that were written after the fact: both say what the next five bars will do."
    after, draw, readings = forward(bars.open, bars.close, 5), np.random.default_rng(0), []
    for t, at in enumerate(bars.times):
        for s, symbol in enumerate(bars.symbols):
            if not np.isnan(after[t, s]):
                up = np.sign(after[t, s]) if draw.random() > noise else draw.choice([-1.0, 1.0])
                said = {"direction": float(up), "confidence": 95.0}
                mood = {"score": 0.9 * float(up), "authors": 20.0}
                until = at + pd.Timedelta(days=1)
                readings.append(Reading("sonar", symbol, at, until, said))
                readings.append(Reading("x_sentiment", symbol, at, until, mood))
    return readings


WIDE_AWAKE = {"massive": 1000, "alpha_vantage": 1000, "x_sentiment": 4000, "sonar": 4000}


def test_a_leak_in_the_readings_is_seen():
    "Sources that know the future win far beyond break-even, and Shapley says which ones."
    bars = a_market(16, 500)
    policy = a_policy(weights=WIDE_AWAKE, threshold=60.0)
    leaky = judge(bars, policy, readings=foresight(bars, 0.0), horizon=10)
    blind = judge(bars, policy, readings=foresight(bars, 1.0), horizon=10)
    assert leaky.hit_rate.low > leaky.break_even and leaky.net[1] > 0
    assert blind.hit_rate.low < blind.break_even and blind.net[1] < 0
    assert {*leaky.sources["adds"].nlargest(2).index} == {"x_sentiment", "sonar"}
    assert (leaky.sources.loc[["x_sentiment", "sonar"], "low"] > 0).all()
    assert not (blind.sources["low"] > 0).any()


def test_sources_that_know_nothing_are_not_thanked_by_name():
    "Sixteen markets without memory: an interval of 95 % must not find skill in most of them."
    found = sum(judge(a_market(seed, 300), EAGER, horizon=5).net[1] > 0 for seed in range(16))
    assert found <= 3


def test_the_parts_agree_with_each_other():
    quality = judge(a_market(17, 400, gaps=0.05), EAGER)
    done = quality.labels[np.isin(quality.labels["outcome"], [HIT, STOPPED, EXPIRED])]
    assert quality.calibration.n == quality.hit_rate.n == len(done)
    assert quality.calibration.bins["n"].sum() == len(done)
    assert sum(quality.outcomes.values()) == len(quality.labels)
    assert quality.net[0] == pytest.approx(1e4 * done["net"].mean())
    p, r, g, c = quality.break_even, quality.risk, quality.gain, quality.cost
    assert p * g - (1 - p) * r - c == pytest.approx(0.0, abs=1e-15)
    assert quality.sources["adds"].sum() == pytest.approx(quality.coalitions["worth"].iloc[-1])
    assert quality.curve["n"].is_monotonic_decreasing


def test_nothing_to_judge_is_an_answer_that_says_why():
    flat = np.full((60, 1), 100.0)
    bars = Bars(("AAA",), a_market(0, 60).at, flat, flat, flat, flat, flat * 1000, "splits")
    quality = judge(bars, horizon=5)
    assert len(quality.labels) == quality.hit_rate.n == 0
    assert "no consensus had a side" in quality.why_empty
    assert "no consensus had a side" in quality._repr_html_()
    assert math.isnan(quality.break_even) and math.isnan(quality.net[0])
    assert quality.curve["mean"].isna().all() and (quality.sources["adds"] == 0).all()


def test_a_horizon_the_data_cannot_answer_is_refused():
    with pytest.raises(UnavailableData, match="needs more than 160 decided bars"):
        judge(a_market(0), horizon=160)
    with pytest.raises(InvalidPolicy, match="was 0"):
        judge(a_market(0), horizon=0)


def test_a_run_without_a_log_is_refused():
    bars = a_market(0)
    with pytest.raises(UnavailableData, match="keep_log=True"):
        labels_of(backtest(bars), bars, 5)


def test_entries_at_a_limit_are_refused_not_judged_as_if_at_the_market():
    limit = replace(EAGER, sizing=replace(EAGER.sizing, is_limit=True))
    with pytest.raises(InvalidPolicy, match=r"set sizing\.is_limit to False"):
        judge(a_market(0), limit)


def test_what_it_shows_is_safe_and_names_no_rate_of_few():
    quality = judge(a_market(18, 70, ("<b>AAA",)), EAGER)
    assert "<b>AAA" not in quality._repr_html_()
    assert quality.hit_rate.n < FLOOR and "too few to say" in quality._repr_html_()


def test_labels_written_over_rubbish_are_the_same():
    "Labelling again is the same to the bit, from rows that were filled with rubbish."
    bars = a_market(19)
    labels = labelled(bars)
    again = np.frombuffer(b"\xff" * labels.nbytes, LABEL).copy()
    for name in ("bar", "symbol", "side", "confidence"):
        again[name] = labels[name]
    prices, costs = paths_of(bars, bars.symbols), numbers(FillPolicy())
    atrs = atrs_of(prices.high, prices.low, prices.close, np.zeros((0, 0)), 20)
    label_all(again, atrs, 8, prices, numbers(EAGER.sizing), costs)
    for name in WORDS:
        np.testing.assert_equal(again[name], labels[name])


def test_a_group_of_few_has_a_count_and_no_rate():
    bars = a_market(20, 60)
    labels = labelled(bars)
    done = labels[np.isin(labels["outcome"], [HIT, STOPPED, EXPIRED])][: FLOOR - 1]
    table = by_group(done, done, paths_of(bars, bars.symbols), bars.symbols, 16)
    assert (
        table[["share", "net", "margin", "beyond"]].isna().all(axis=None)
        and table["n"].max() < FLOOR
    )


# What a signal is held against, and what is said of it


def test_an_expired_signal_leaves_at_its_close_and_pays_for_it():
    rows = np.array([[100.0, 100, 100, 100], [100, 102, 99, 101]])
    prices = Paths(
        DAY * np.arange(2), *(np.ascontiguousarray(rows[:, i : i + 1]) for i in range(4))
    )
    dear = numbers(replace(FREE, slippage_bps=100.0))
    legs = (np.nan, np.nan)
    told = {side: ending_of(0, 0, side, legs, 1, prices, math.nan, dear) for side in (1, -1)}
    assert all(t[0] == EXPIRED and t[2] == 101.0 for t in told.values())
    assert told[1][3] < 101.0 < told[-1][3]


def test_the_yardstick_is_a_long_on_every_bar_with_the_same_bracket():
    bars = a_market(21, 300)
    run = backtest(bars, EAGER, keep_log=True)
    every, signals = labels_of(run, bars, 8, every=True), labels_of(run, bars, 8)
    assert len(every) == bars.close.size and (every["side"] == 1).all()
    place = {(r["bar"], r["symbol"]): r for r in every}
    for row in signals[signals["side"] > 0]:
        assert all(
            np.array_equal(row[w], place[row["bar"], row["symbol"]][w], equal_nan=w in WORDS[2::2])
            for w in WORDS
        )


def test_what_was_needed_is_the_break_even_where_nothing_expires_or_jumps():
    "One market of one price but for the legs: then the hit rate needed is p*."
    draw = np.random.default_rng(4)
    done = np.zeros(200, LABEL)
    won = draw.random(200) < 0.4
    done["outcome"], done["risk"], done["gain"], done["cost"] = (
        np.where(won, HIT, STOPPED),
        0.03,
        0.05,
        0.001,
    )
    done["net"] = np.where(won, 0.05, -0.03) - 0.001
    assert signal_quality.needed(done) == pytest.approx((0.03 + 0.001) / 0.08, abs=1e-12)


def clustered(rng, n_bars, size, edge):
    """Confidences and hits that are alike within a bar."""
    bars = np.repeat(np.arange(n_bars), size)
    (mood, luck), (own, chance) = rng.normal(size=(2, n_bars)), rng.normal(size=(2, len(bars)))
    sure = np.clip(7_500 + 600 * (np.repeat(mood, size) + own), 5_000, 10_000).astype(np.int64)
    return sure, np.repeat(luck, size) + chance + edge * (sure - 7_500) / 600 > 0, bars


@pytest.mark.parametrize("edge", [0.0, 0.4])
def test_the_interval_of_a_ranking_holds_the_truth_as_often_as_it_says(edge):
    rng = np.random.default_rng(3)
    sure, hits, _ = clustered(rng, 40_000, 5, edge)
    truth, found = roc_auc_score(hits, sure), []
    for _ in range(400):
        auc, low, high = scores.auc_of(*clustered(rng, 60, 5, edge), 2)
        found.append((low <= truth <= high, low <= auc <= high))
    inside, is_around = np.mean(found, axis=0)
    assert 0.92 <= inside <= 0.98 and is_around == 1.0


def test_signals_of_one_bar_taken_for_independent_would_be_too_sure():
    rng = np.random.default_rng(4)
    tight = []
    for _ in range(400):
        sure, hits, _ = clustered(rng, 60, 5, 0.0)
        _, low, high = scores.auc_of(sure, hits, np.arange(300), 1)
        tight.append(low <= 0.5 <= high)
    assert np.mean(tight) < 0.92  # the control: less than what the test above asks for


@pytest.mark.parametrize("flip", [False, True])
def test_a_perfect_order_or_none_has_no_interval(flip):
    sure, bars = np.repeat([6_000, 9_000], 20), np.arange(40)
    auc, low, high = scores.auc_of(sure, (sure > 7_000) ^ flip, bars, 2)
    assert (auc, math.isnan(low), math.isnan(high)) == (0.0 if flip else 1.0, True, True)
    auc, low, high = scores.auc_of(np.full(40, 7_000), bars % 2 == 0, bars, 2)
    assert (auc, math.isnan(low), math.isnan(high)) == (0.5, True, True)
    assert np.isnan(scores.auc_of(sure[:29], sure[:29] > 7_000, bars[:29], 2)).all()
    assert np.isnan(scores.auc_of(sure, sure > 0, bars, 2)).all()


def test_the_plain_numbers_are_json_and_say_null_for_what_is_not_defined():
    told = signal_quality.figures(judge(a_market(18, 70), a_policy(threshold=99.0)))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["hit_rate"] is None and told["auc"] is None


QUALITY = judge(a_market(22, 400), EAGER)
PICTURES = {
    "rates": signal_plots.rate_dots(QUALITY.groups),
    "reliability": signal_plots.reliability(QUALITY.calibration.bins, QUALITY.needed),
    "horizon": signal_plots.horizon_band(QUALITY.curve),
    "credit": signal_plots.credit_dots(QUALITY.sources, "bps"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_of_signals_names_its_axes_and_has_no_title(name):
    fig = PICTURES[name]
    assert fig.layout.xaxis.title.text and fig.layout.yaxis.title.text
    assert fig.layout.title.text is None and "uid" not in fig.to_json()


def test_a_dot_stands_between_its_ends():
    arms = PICTURES["rates"].data[0].error_x
    known = ~np.isnan(arms.array)
    assert known.any()
    assert (arms.array[known] >= 0).all() and (arms.arrayminus[known] >= 0).all()


def test_no_interval_shrinks_because_signals_may_take_longer_than_they_do():
    bars = load(["AAPL"], last=date(2009, 6, 1))
    some, many = (judge(bars, start=date(2006, 1, 3), horizon=h) for h in (60, 200))
    assert many.hit_rate.n < some.hit_rate.n  # the last ones have not had their time
    assert many.hit_rate.effective <= some.hit_rate.effective * 1.05 < some.hit_rate.n / 2
    width = [q.net[2] - q.net[1] for q in (some, many)]
    assert width[1] > 0.9 * width[0]


def test_positive_control_the_long_run_variance_vanishes_with_its_lag():
    sums = np.random.default_rng(1).normal(size=400)
    sums -= sums.mean()
    assert long_run(sums, 400) < 0.5 * long_run(sums, 5)
    halves = [
        width * variance**0.5
        for variance, width in (spread_of(sums, 5, 160), spread_of(sums, 400, 2))
    ]
    assert halves[1] > halves[0]


def test_the_last_signals_are_not_judged_by_those_that_were_quick():
    "On a walk without drift early deciders near the end lose: stops are nearer than targets."
    early, whole = [], []
    for seed in range(30):
        bars = a_market(seed)
        labels = labels_of(backtest(bars, EAGER, FREE, keep_log=True), bars, 60, every=True)
        waiting = matured(labels, len(bars), 60)
        late = waiting["bar"] >= len(bars) - 60
        assert np.isin(waiting["outcome"][late], [PENDING, VOID]).all()
        assert same(waiting[~late], labels[~late])
        early.append(signal_quality.ended(labels)["net"].mean())
        whole.append(signal_quality.ended(waiting)["net"].mean())
    assert np.mean(early) < np.mean(whole)


# By hand


def test_a_mean_of_many_a_bar_is_a_mean_of_values():
    "Two values a bar, forty in all: the sum of a bar deviates, and the mean is over forty."
    values, bars = np.arange(40.0), np.repeat(np.arange(20), 2)
    sums = np.bincount(bars, values - values.mean())
    variance, width = spread_of(sums, 0, 20)
    middle, low, high = mean_of(values, bars, 0)
    assert middle == 19.5 and width > Z
    assert variance == pytest.approx((sums**2).sum() * 20 / 19)
    assert (high - middle, middle - low) == pytest.approx([width * math.sqrt(variance) / 40] * 2)


def test_neighbours_count_the_less_the_farther():
    x = np.array([1.0, 2.0, -1.0, 3.0])
    by_hand = x @ x + 2 * (2 / 3) * (x[1:] @ x[:-1]) + 2 * (1 / 3) * (x[2:] @ x[:-2])
    assert long_run(x, 2) == pytest.approx(by_hand)


def test_thirty_are_a_rate_and_fewer_are_worth_nothing_that_is_said():
    hits = np.tile([True, False], 15)
    enough, few = (share_of(hits[:n], np.arange(n), 2) for n in (30, 29))
    assert enough.share == 0.5 and enough.low < 0.5 < enough.high
    assert few.n == 29 and math.isnan(few.share) and math.isnan(few.effective)


@pytest.mark.parametrize(
    ("width", "bins"),
    [(500, [(70, 75, 1), (75, 80, 1), (95, 100, 2)]), (2500, [(50, 75, 1), (75, 100, 3)])],
)
def test_a_confidence_on_an_edge_is_in_the_bin_above_but_for_certainty(width, bins):
    confidences = np.array([7499, 7500, 9999, 10_000])
    made = quality_of(confidences, np.ones(4, bool), width=width).bins
    assert [*made[["from", "to", "n"]].itertuples(index=False, name=None)] == bins


def test_the_first_forward_return_begins_at_the_open_and_not_at_the_close_before():
    open, close = np.array([[10.0], [12.0], [9.0]]), np.array([[11.0], [15.0], [18.0]])
    np.testing.assert_array_equal(forward(open, close, 1)[:, 0], [0.25, 1.0, np.nan])
    np.testing.assert_array_equal(forward(open, close, 2)[:, 0], [0.5, np.nan, np.nan])


def weather_by_hand(closes, window, memory):
    moves = np.append(0.0, np.diff(np.log(closes)))
    spread = [moves[max(t - window + 1, 0) : t + 1].std() for t in range(len(closes))]
    known = range(window + memory, len(closes))
    ranks = [sum(spread[u] < spread[t] for u in range(t - memory, t)) for t in known]
    return [-1] * (window + memory) + [3 * rank // (memory + 1) for rank in ranks]


def test_the_weather_is_a_third_of_what_was_before():
    closes = np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.02, 40)))
    made = weather(closes, 3, 5).tolist()
    assert made == weather_by_hand(closes, 3, 5)
    assert {*made} == {-1, 0, 1, 2}


def test_a_day_that_is_wilder_than_all_it_remembers_is_wild():
    closes = np.exp(np.cumsum((-1.0) ** np.arange(40) * 1.2 ** np.arange(40) / 1000))
    made = weather(closes, 3, 5)
    assert (made[8:] == 2).all()
    calming = np.exp(np.cumsum((-1.0) ** np.arange(40) * 0.8 ** np.arange(40)))
    assert (weather(calming, 3, 5)[8:] == 0).all()


def test_a_horizon_curve_by_hand():
    close = 100 * np.exp(np.random.default_rng(4).normal(0, 0.01, (300, 1)).cumsum(axis=0))
    close[100:160] = close[100]  # where nothing moves nobody is right
    prices = Paths(np.arange(300), close, close, close, close)
    labels = np.zeros(200, LABEL)
    labels["bar"], labels["side"] = np.arange(200), np.tile([1, -1], 100)
    curve = horizon_curve(labels, prices, 5, first=50)
    assert [*curve.index] == [1, 2, 3, 4, 5]
    for k, row in curve.iterrows():
        after = close[1 + np.minimum(np.arange(299) + k - 1, 298), 0] / close[1:, 0] - 1
        gained = 1e4 * labels["side"] * after[:200]
        assert row["n"] == 200 and row["right"] == (gained > 0).mean()
        band = mean_of(gained, np.arange(200), 2 * k)
        assert row[["mean", "low", "high"]].tolist() == pytest.approx(band, abs=1e-9)
        assert row["drift"] == pytest.approx(1e4 * after[50 : 300 - k].mean())


LONG_BARS = load(["AAPL", "MSFT"], date(2005, 3, 1), date(2008, 1, 1))


@pytest.fixture(scope="module")
def long_run_of_two():
    return backtest(LONG_BARS, keep_log=True)


def test_credit_adds_up_to_all_less_none(long_run_of_two):
    gains = excess(paths_of(LONG_BARS, LONG_BARS.symbols), 10, 0)
    credit = credit_of(long_run_of_two, gains, 20)
    worth = credit.coalitions["worth"]
    assert credit.total != 0
    assert credit.total == pytest.approx(credit.sources["adds"].sum())
    assert credit.total == pytest.approx(worth.iloc[-1] - worth.iloc[0])


def test_who_never_spoke_has_no_interval(long_run_of_two):
    gains = excess(paths_of(LONG_BARS, LONG_BARS.symbols), 10, 0)
    known = credit_of(long_run_of_two, gains, 20).sources[["low", "high"]].notna().all(axis=1)
    assert known[["massive", "alpha_vantage"]].all()
    assert not known[["x_sentiment", "sonar"]].any()


def test_sources_are_counted_by_hand(long_run_of_two):
    table, log = sources_of(long_run_of_two, 20), long_run_of_two.log.ravel()
    for i, (_, row) in enumerate(table.iterrows()):
        votes = [(cell["directions"][i], cell["side"]) for cell in log if cell["why"] >= 0]
        beside = [(vote, side) for vote, side in votes if vote and side]
        assert row["asked"] == len(votes)
        assert row["voted"] == sum(vote != 0 for vote, _ in votes)
        assert (row["beside"], row["agreed"]) == (len(beside), sum(v == s for v, s in beside))


def test_groups_are_by_what_was_known_at_the_signal(long_run_of_two):
    prices, symbols = paths_of(LONG_BARS, LONG_BARS.symbols), LONG_BARS.symbols
    done, every = (
        signal_quality.ended(labels_of(long_run_of_two, LONG_BARS, 20, every=every))
        for every in (False, True)
    )
    counts = by_group(done, every, prices, symbols, 20)["n"]
    wild = volatility_of(prices.close)[done["bar"], done["symbol"]]
    phase = phases(index_of(prices.close))[done["bar"]]
    names = ("not known yet", "calm", "usual", "wild")
    assert [counts["volatility", name] for name in names] == [
        (wild == i).sum() for i in range(-1, 3)
    ]
    for name, sign in {"bull": 1, "bear": -1, "not known": 0}.items():
        assert counts["market, not tradable", name] == (phase == sign).sum()
    assert counts["volatility", "wild"] > 0


def holed(bars, t, s):
    "The same bars but for one."

    def without(name):
        column = getattr(bars, name).copy()
        column[t, s] = np.nan
        return column

    return Bars(bars.symbols, bars.at, *each(without), bars.basis)


def test_what_is_judged_adds_up():
    bars = holed(LONG_BARS, 300, 1)
    quality, run = judge(bars, horizon=20), backtest(bars, keep_log=True)
    p, per = quality.hit_rate.share, 1e4
    expected = per * (p * quality.gain - (1 - p) * quality.risk - quality.cost)
    assert quality.expected == pytest.approx(expected) and quality.cost > 0
    assert quality.asked == 2 * len(bars) - 1
    done = signal_quality.ended(quality.labels)
    every = labels_of(run, bars, 20, every=True)
    longs = signal_quality.ended(matured(every, len(bars), 20))
    always = mean_of(per * longs["net"], longs["bar"], 2 * overlap(done, 20))
    assert quality.always_long == always
    assert signal_quality.figures(quality)["always_long"] == pytest.approx(always[0])


def test_sources_are_judged_over_twice_the_horizon():
    bars = holed(LONG_BARS, 300, 1)
    quality, run = judge(bars, horizon=20), backtest(bars, keep_log=True)
    own = credit_of(run, excess(paths_of(bars, bars.symbols), 20, 0), 40).sources
    pd.testing.assert_frame_equal(quality.sources[["adds", "low", "high"]], own)
    counted = sources_of(run, 40)
    pd.testing.assert_frame_equal(quality.sources[[*counted]], counted)
