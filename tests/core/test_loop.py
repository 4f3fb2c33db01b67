"""Bars that are passed by the stretch are the same bits as bars gone through one by one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from argo_alpine import backtest as backtesting
from argo_alpine.backtest import prepared
from argo_alpine.bars import Bars, join
from argo_alpine.book import FILLS, TRADES, WORD, Run, blank_run, rules_of
from argo_alpine.booking import UNMARKED
from argo_alpine.costs import FillPolicy
from argo_alpine.engine import Policy
from argo_alpine.hearing import hear, log_votes
from argo_alpine.loop import loop
from argo_alpine.quiet import RANGE_BARS
from argo_alpine.risk import RiskPolicy
from argo_alpine.sizing import SizingPolicy
from tests.test_parity import QUICK, a_market, some_actions

LENIENT = replace(Policy().consensus, threshold=62.0)
MINUTE, DAY = 60_000_000, 86_400_000_000
N = 1_500
LIMITS = {
    "usual": RiskPolicy(),
    "tight": RiskPolicy(daily_loss_pct=0.5, drawdown_pct=1.0, rearm_after=2),
    "tighter": RiskPolicy(daily_loss_pct=0.1, drawdown_pct=0.3, rearm_after=1),
    "for good": RiskPolicy(drawdown_pct=0.5),
}


def a_walk(seed: int, step: int) -> Bars:
    """Weekdays only; some bars are missing where there are many a day."""
    rng = np.random.default_rng(seed)
    open_at = 1_105_108_200_000_000  # 2005-01-07, 14:30 UTC
    per_day = 390 if step == MINUTE else 1
    day, minute = np.divmod(np.arange(N), per_day)
    at = open_at + DAY * (day + 2 * ((day + 4) // 5)) + MINUTE * (minute + 1)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.004, (N, 1)), axis=0))
    first = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.001, (N, 1)))
    high, low = np.maximum(first, close) * 1.002, np.minimum(first, close) * 0.998
    columns = [first, high, low, close, np.full((N, 1), 1e5)]
    for column in columns if step == MINUTE and seed % 2 else []:
        column[np.random.default_rng(seed).uniform(size=N) < 0.02] = np.nan
    return Bars(("A",), at, *columns, "raw")


def ran(
    bars: Bars, policy: Policy, step: int, ranges: np.ndarray | None = None, keep_log: bool = True
) -> Run:
    """The run of a policy, `step` bars at a time: a single one is never passed."""
    ready, costs = prepared(bars), FillPolicy(borrow_pct=8.0)
    told, rules = ready.opinions(policy, keep_votes=True), rules_of(bars.symbols, policy, costs)
    run, now, cells = blank_run(N, 1, 1e5, 0, keep_log), UNMARKED, told.in_cells()
    hear(0, N, cells, run, rules)
    for t in range(0, N, step):
        known = ready.market.ranges if ranges is None else ranges
        market = ready.market._replace(atr=told.atr, ranges=known)
        now = loop(t, min(t + step, N), now, cells, market, run, rules)
    if keep_log:
        log_votes(0, told, run, rules)
    return run


def contents(run: Run) -> dict[str, bytes]:
    """What a run left; of tables only what was written."""
    counts = {"fills": "fills", "trades": "trades", "halts": "halts"}
    found = {k: getattr(run, k)[: int(run.book[v][0])] for k, v in counts.items()}
    names = ("book", "marks", "amounts", "log", "equity", "gross", "whys", "refused")
    left = {n: getattr(run, n) for n in names} | found | {"slots": acted_on(run)}
    return {k: v.tobytes() for k, v in left.items()}


def acted_on(run: Run) -> np.ndarray:
    """What is held and ordered, without the brackets of wishes that came to nothing."""
    slots = run.slots.copy()
    idle = (slots["order"] == 0) & (slots["rest"] == 0) & (slots["quantity"] == 0)
    for name in ("wish_stop", "wish_target", "limit"):
        slots[name][idle] = 0.0
    return slots


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("step", [MINUTE, DAY])
@pytest.mark.parametrize("keep_log", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_stretch_is_its_bars_one_by_one(seed, step, limits, keep_log):
    bars = a_walk(seed, step)
    # near legs, so that some bars speak and come to a leg at once; and far ones
    stop, target = (0.7, 1.0) if seed > 1 else (6.0, 12.0)
    legs = SizingPolicy(stop_pct=stop, target_pct=target)
    policy = Policy(consensus=LENIENT, sizing=legs, risk=LIMITS[limits])
    steps = (1, N, RANGE_BARS + 1, WORD + 1)
    one_by_one, *others = (contents(ran(bars, policy, k, keep_log=keep_log)) for k in steps)
    assert all(other == one_by_one for other in others)


BIG = SizingPolicy(base_pct=90.0, max_pct=95.0, stop_pct=50.0, target_pct=200.0)


def around(price: np.ndarray, holes: tuple[int, ...] = ()) -> Bars:
    """Bars of a minute that hardly move from their close."""
    columns = [price * k for k in (1.0, 1.0001, 0.9999, 1.0)] + [np.full(len(price), 1e6)]
    for column in columns:
        column[list(holes)] = np.nan
    at = 1_105_108_200_000_000 + MINUTE * np.arange(1, len(price) + 1)
    return Bars(("A",), at, *(column[:, None] for column in columns), "raw")


@pytest.mark.parametrize("holes", [(), (1_100,), (1_150,), (1_100, 1_150)])
def test_a_spike_beside_a_missing_bar_halts_the_book(holes):
    """Its stretch has no range: what lies within must be looked at."""
    rise = 100 * 1.002 ** np.arange(300) * (1 + 0.001 * np.random.default_rng(0).normal(size=300))
    price = np.concatenate([np.full(800, 100.0), rise, np.full(N - 1_100, rise[-1] * 0.998)])
    price[1_140:1_144] = rise[-1] * 1.3
    price[1_200:] = rise[-1] * 0.95
    policy = Policy(sizing=BIG, risk=RiskPolicy(drawdown_pct=15.0))
    run = ran(around(price, holes), policy, N)
    assert contents(run) == contents(ran(around(price, holes), policy, 1))
    assert int(run.book["halts"][0]) == 1


def test_a_rise_is_no_drawdown():
    """However far it goes: the lowest equity came before the highest."""
    price = 100 * 1.0008 ** np.arange(N)
    policy = Policy(sizing=BIG, risk=RiskPolicy(drawdown_pct=1.0))
    run = ran(around(price), policy, N)
    assert contents(run) == contents(ran(around(price), policy, 1))
    assert int(run.book["fills"][0]) > 0 and int(run.book["halts"][0]) == 0


def test_a_range_that_is_too_narrow_is_noticed():
    """Positive control: a stretch that claims that its price stood still hides stops."""
    bars, policy = a_walk(0, MINUTE), Policy(consensus=LENIENT, sizing=SizingPolicy(stop_pct=1.0))
    still = np.repeat(bars.close[::RANGE_BARS], 2, axis=1)
    whole = contents(ran(bars, policy, 1))
    assert contents(ran(bars, policy, N)) == whole
    assert contents(ran(bars, policy, N, still)) != whole


def test_the_walks_have_trades_and_halts_and_both_sides():
    """Else nothing would be shown by the test above."""
    policy = Policy(consensus=LENIENT, risk=LIMITS["tight"], sizing=SizingPolicy(stop_pct=6.0))
    runs = [ran(a_walk(seed, MINUTE), policy, N) for seed in range(4)]
    trades = np.concatenate([run.trades[: int(run.book["trades"][0])] for run in runs])
    assert len(trades) >= 30 and sum(int(run.book["halts"][0]) for run in runs) >= 2
    assert {*np.sign(trades["quantity"])} == {1.0, -1.0}
    assert min(run.book["borrow"][0] for run in runs) > 0


BUSY = FillPolicy(volume_pct=1.0)  # little volume: orders leave in parts


def little_room(**rows: int) -> Callable[..., Run]:
    """What makes runs whose tables have a few rows only."""

    def blank(*given: Any) -> Run:
        run = blank_run(*given)
        return run._replace(**{name: getattr(run, name)[:n] for name, n in rows.items()})

    return blank


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("symbols", ["A", "ABCDEFGHI"])
def test_tables_that_are_full_grow_and_nothing_is_lost(monkeypatch, seed, symbols):
    bars = a_market(seed, 400, tuple(symbols), 0.02)
    policy = Policy(indicators=QUICK, consensus=LENIENT)
    ready = prepared(bars, actions=some_actions(seed, bars))
    whole = ready.run(policy, BUSY).run
    monkeypatch.setattr(backtesting, "blank_run", little_room(fills=3, trades=5, halts=2))
    grown = ready.run(policy, BUSY).run
    assert contents(grown) == contents(whole)
    assert 10 < int(whole.book["fills"][0]) <= len(grown.fills) < len(whole.fills)


@pytest.mark.parametrize("seed", range(8))
def test_no_bar_of_a_symbol_fills_more_than_there_is_room_for(seed):
    bars = a_market(seed, 400, tuple("ABC"), 0.02, missing=0.0)
    bars.volume[:] //= 1_000
    policy = Policy(indicators=QUICK, consensus=LENIENT, sizing=SizingPolicy(stop_pct=0.5))
    run = prepared(bars).run(policy, BUSY).run
    fills, trades = run.fills[: run.book["fills"][0]], run.trades[: run.book["trades"][0]]
    in_a_bar = np.unique(fills[["bar", "symbol"]], return_counts=True)[1].max()
    closed = np.unique(trades[["closed", "symbol"]], return_counts=True)[1].max()
    assert 2 <= in_a_bar <= FILLS and closed <= TRADES


@pytest.mark.parametrize("limits", [0.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_halts_are_the_same_however_bars_are_cut_into_parts(monkeypatch, seed, limits):
    """Even with a limit that is broken at once: after each re-arming the next open halts again."""
    bars = a_market(seed, 400, ("A",), 0.03, missing=0.0)
    risk = RiskPolicy(drawdown_pct=limits, rearm_after=1)
    policy = Policy(indicators=QUICK, consensus=LENIENT, sizing=BIG, risk=risk)
    ready = prepared(bars)
    whole = ready.run(policy, FillPolicy()).run
    monkeypatch.setattr(backtesting, "blank_run", little_room(fills=4, halts=3))
    parts = ready.run(policy, FillPolicy()).run
    assert contents(whole) == contents(parts)
    assert int(whole.book["halts"][0]) > (200 if limits == 0.0 else 2)


def test_a_day_that_ends_between_bars_ends_for_the_daily_limit_too():
    """Bars from 17:00 to 17:00: what is ordered at 17:00 is of the day that has just been lost."""
    at = 1_562_878_800_000_000 + DAY * np.arange(6)  # from Thursday 2019-07-11, 21:00 UTC, on
    fallen = 100.0 * np.cumprod(np.full(6, 0.96))
    first = np.append(100.0, fallen[:-1])
    rows = [np.column_stack([a, np.full(6, 100.0)]) for a in (first, first, fallen, fallen)]
    bars = Bars(("A", "B"), at, *rows, np.full((6, 2), 1e6), "raw")
    assert [*bars.open_days[1:]] == [*bars.days[:-1]]
    targets, sizes = np.array([[1.0, np.nan]] * 6), np.full((6, 2), 50.0)
    targets[3, 1] = 1.0  # decided at a close after four days that lost two percent each
    policy = Policy(risk=RiskPolicy(daily_loss_pct=1.0, drawdown_pct=50.0))
    run = backtesting.backtest(bars, policy, keep_log=True, targets=targets, sizes=sizes)
    said = run.decisions("B")
    assert said["refused"].tolist()[4] == "daily_loss" and not said["ordered"].any()
    free = replace(policy, risk=RiskPolicy(daily_loss_pct=10.0, drawdown_pct=50.0))
    other = backtesting.backtest(bars, free, keep_log=True, targets=targets, sizes=sizes)
    assert other.decisions("B")["ordered"].tolist()[4] > 0


def test_a_market_that_never_closes_is_the_same_bar_by_bar():
    """Beside a silent symbol no bar is passed by the stretch; prices jump at midnight too."""
    policy = Policy(
        consensus=replace(LENIENT, threshold=51.0, quorum=0.0),
        risk=RiskPolicy(daily_loss_pct=0.3, drawdown_pct=3.0, rearm_after=2),
    )
    fills = halts = 0
    for seed in range(6):
        rng, n = np.random.default_rng(seed), 3_000
        at = 1_562_868_000_000_000 + 60 * MINUTE * np.arange(1, n + 1)
        close = 100 * np.exp(rng.normal(0, 0.004, n).cumsum())
        first = np.append(100, close[:-1]) * np.exp(rng.normal(0, 0.004, n))
        rows = first, np.maximum(first, close) * 1.002, np.minimum(first, close) * 0.998, close
        columns, still = [row[:, None].copy() for row in rows], [np.full((n, 1), 50.0)] * 4
        volume = np.full((n, 1), 1e7)
        bars = Bars(("A",), at, *columns, volume, "raw")
        assert 100 < np.count_nonzero(bars.open_days != bars.days) < n / 20
        silent = Bars(("ZZZ",), at, *still, volume, "raw")
        alone, beside = (backtesting.backtest(b, policy) for b in (bars, join([bars, silent])))
        assert (alone.equity == beside.equity).all() and alone.halts == beside.halts
        fills, halts = fills + len(alone.fills), halts + len(alone.halts)
    assert fills > 1_000 and halts > 0
