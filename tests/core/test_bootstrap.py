"""Made histories: published digits, coverage, and the blocks that it needs."""

from datetime import date

import numpy as np
import pytest

from argo_alpine.backtest import backtest
from argo_alpine.bootstrap import block_length, drawn, histories, luck, luck_of, middle_of, traded
from argo_alpine.curves import returns
from argo_alpine.domain import InvalidData, InvalidPolicy
from argo_alpine.engine import Policy
from argo_alpine.loading import load
from argo_alpine.metrics import as_json, sharpe_interval, summary, told

DAY = 86_400_000_000


def days(n):
    return np.arange(n) * DAY


def wandering(rng, n, persistence):
    "Returns of a mean of zero that remember a share of the day before."
    noise, found = rng.normal(0, 0.01, n), np.empty(n)
    found[0] = noise[0]
    for i in range(1, n):
        found[i] = persistence * found[i - 1] + noise[i]
    return found


def share_covered(persistence, block, trials=150, n=400):
    "How often the middle 95 % of drawn sums hold the truth, which is zero."
    rng, held = np.random.default_rng(11), 0
    for _ in range(trials):
        moves = wandering(rng, n, persistence)
        length = max(block_length(moves), 1.0) if block is None else block
        sums = [moves[drawn(rng, n, length)].sum() for _ in range(200)]
        low, high = np.quantile(sums, [0.025, 0.975])
        held += low <= 0 <= high
    return held / trials


def test_google_has_the_digits_of_an_independent_library():
    moves = returns(load(["GOOG"]).close[:, 0])
    assert block_length(moves) == pytest.approx(0.64755, abs=1e-5)
    assert block_length(moves**2) == pytest.approx(7.46878, abs=1e-5)
    rng = np.random.default_rng(12345)
    drawns = [moves[drawn(rng, len(moves), 10.0)] for _ in range(2_000)]
    ratios = [r.mean() / r.std(ddof=1) * 252**0.5 for r in drawns]
    # arch's percentile interval with blocks of ten is [0.18, 1.61]
    assert np.quantile(ratios, [0.025, 0.975]) == pytest.approx([0.18, 1.61], abs=0.06)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    assert 0.90 <= share_covered(0.0, None) <= 0.99


def test_blocks_are_needed_where_returns_remember():
    assert share_covered(0.6, None) > 0.84
    assert share_covered(0.6, 1.0) < 0.75  # the control: without blocks it is far too narrow


def test_the_same_seed_draws_the_same_histories():
    rng = np.random.default_rng(2)
    equity = 100 * np.cumprod(1 + wandering(rng, 600, 0.0))
    first, second = (histories(equity, days(600), 252.0, 30) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != histories(equity, days(600), 252.0, 30, seed=1).tobytes()
    spans = luck_of(equity, days(600), 252.0, 200)
    assert {"cagr", "max_drawdown"} <= spans.keys()
    assert all(low <= high for low, high in spans.values())


def share_of_trades_covered(symbols, crowded, seeds=120, n=250):
    "How often the interval of the profit per trade holds the truth, zero; symbols move together."
    held = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        common = rng.normal(0, 1, n)[:, None] * 0.65
        pnl = (common + rng.normal(0, 1, (n, symbols))).ravel()
        closed = np.repeat(np.arange(n), symbols)
        n_bars = n
        if not crowded:  # the control: as if each trade had had a day of its own, in any order
            pnl, closed, n_bars = rng.permutation(pnl), np.arange(len(pnl)), len(pnl)
        spans = middle_of(traded(pnl, closed, closed, n_bars, 200), ("expectancy",))
        held += spans["expectancy"][0] <= 0 <= spans["expectancy"][1]
    return held / seeds


def test_trades_of_one_day_share_its_luck():
    assert share_of_trades_covered(12, crowded=True) > 0.88
    assert share_of_trades_covered(12, crowded=False) < 0.80


def test_what_a_lucky_history_lacks_counts_as_high():
    rows = np.zeros(100, [("sortino", "f8"), ("cagr", "f8")])
    rows["sortino"], rows["cagr"] = np.arange(100), np.arange(100)
    rows["sortino"][:2] = np.nan  # no loss in two histories: the best two
    spans = middle_of(rows, ("sortino", "cagr"))
    assert spans["sortino"] == (4.0, 99.0)
    assert spans["cagr"] == (2.0, 97.0)
    rows["sortino"][:5] = np.nan  # so many that the upper end has no number
    assert middle_of(rows, ("sortino",)) == {}


def test_too_little_has_no_interval():
    equity = 100 * np.cumprod(1 + wandering(np.random.default_rng(3), 15, 0.0))
    assert [*luck_of(equity, days(15), 252.0)] == ["sharpe"]
    assert np.isnan(luck_of(equity, days(15), 252.0)["sharpe"]).all()
    with pytest.raises(InvalidPolicy, match="times"):
        histories(equity, days(15), 252.0, times=0)
    with pytest.raises(InvalidPolicy, match="times"):
        traded(np.ones(2), np.zeros(2, int), np.ones(2, int), 3, times=0)
    with pytest.raises(InvalidData, match="pnl"):
        traded(np.array([np.nan]), np.array([0]), np.array([1]), 3)
    with pytest.raises(InvalidPolicy, match="level"):
        middle_of(np.zeros(1, [("cagr", "f8")]), ("cagr",), level=1.0)
    short = backtest(load(["AAPL"]), Policy(), start=date(2012, 12, 3))
    assert not {"win_rate", "expectancy", "profit_factor"} & luck(short, 50).keys()


def test_a_run_is_told_with_its_intervals():
    run = backtest(load(["AAPL"]), Policy(), start=date(2009, 1, 2))
    spans, page = luck(run, times=100), summary(run)
    words, bare = told(page, spans), told(page)
    assert words["cagr"] == bare["cagr"] + " [{:.1f}, {:.1f}]".format(
        *(100 * end for end in spans["cagr"])
    ).replace("-", "\N{MINUS SIGN}")
    assert words["longest_wait"].startswith(bare["longest_wait"] + " [")
    assert words["exposure"] == bare["exposure"]
    low, high = (f"{100 * end:.1f}" for end in spans["win_rate"])
    assert f"[{low}, {high}], n = {page.trades}" in words["win_rate"] != bare["win_rate"]
    said = as_json(page, spans)
    assert [said["win_low"], said["cagr_high"]] == pytest.approx(
        [spans["win_rate"][0], spans["cagr"][1]]
    )


def test_no_win_rate_is_surer_than_wilsons():
    run = backtest(load(["AAPL"]), Policy(), start=date(2009, 1, 2))
    page, low = summary(run), luck(run, 100)["win_rate"][0]
    assert low <= page.win_low and luck(run, 100)["win_rate"][1] >= page.win_high


@pytest.mark.parametrize("persistence", [-0.4, 0.0, 0.6])
def test_no_sharpe_ratio_is_surer_than_independent_returns_would_make_it(persistence):
    moves = wandering(np.random.default_rng(8), 1_500, persistence) + 0.0005
    equity = 100 * np.cumprod(np.append(1.0, 1 + moves))
    low, high = luck_of(equity, days(1_501), 252.0, 400)["sharpe"]
    least, most = sharpe_interval(returns(equity), 252.0)
    assert low <= least and high >= most
    # returns that come in runs are worth fewer: a formula that does not know is far too sure
    assert (high - low > 1.5 * (most - least)) == (persistence == 0.6)


def test_trades_that_last_too_long_say_nothing():
    n = 100
    made = traded(np.ones(n), np.zeros(n, int), np.arange(n), 1_000, 50)
    assert np.isnan(made["win_rate"]).all()
    assert middle_of(made, ("win_rate",)) == {}
    page = summary(backtest(load(["AAPL"]), Policy(), start=date(2009, 1, 2)))
    silent = {"win_rate": (np.nan, np.nan)}
    assert told(page, silent)["win_rate"] == f"n = {page.trades}: too few to say"
    assert as_json(page, silent)["win_low"] is None


def test_long_curves_are_drawn_less_often():
    equity = np.full(60_000, 100.0) + np.arange(60_000) % 2
    assert len(histories(equity, days(60_000), 252.0, 300)) == 200
