"""Opinions are the same bits however they are asked for: in bars, blocks, parts or threads."""

import multiprocessing
from dataclasses import replace
from datetime import date
from time import monotonic, sleep

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine import opinions as module
from argo_alpine.arithmetic import compiled
from argo_alpine.backtest import backtest, prepared
from argo_alpine.bars import Bars, between, each, sliced
from argo_alpine.blocks import BLOCK
from argo_alpine.costs import FillPolicy
from argo_alpine.domain import InvalidData
from argo_alpine.engine import Policy
from argo_alpine.handover import announced, ask_helper
from argo_alpine.indicators import fold, fresh, rescale
from argo_alpine.inputs import actions_of, ratios_of
from argo_alpine.knobs import numbers
from argo_alpine.loading import load, splits_of
from argo_alpine.opinions import AHEAD, finished, opinions
from argo_alpine.reader import prices_of, recorded
from argo_alpine.sessions import day_number
from argo_alpine.votes import alpha_vantage_score, lean, massive_score, surety
from tests.test_parity import QUICK, a_market, some_actions, some_readings

STOCKCHARTS = (
    "44.34 44.09 44.15 43.61 44.33 44.83 45.10 45.42 45.84 46.08 45.89 46.03 45.61 46.28 46.28 "
    "46.00 46.03 46.41 46.22 45.64 46.21 46.25 45.71 46.45 45.78 45.35 44.03 44.18 44.22 44.57 "
    "43.42 42.66 43.13"
)
PUBLISHED = (
    "70.53 66.32 66.55 69.41 66.36 57.97 62.93 63.26 56.06 62.38 54.71 50.42 39.99 41.46 41.87 "
    "45.46 37.30 33.08 37.77"
)


def numbers_in(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])


def test_cases_5_the_rsi_table_of_stockcharts():
    """Within .08: the printed closes are rounded."""
    state, rings = fresh(1)
    knobs, found = numbers(Policy().indicators), []
    for close in numbers_in(STOCKCHARTS):
        fold(state[0], rings[0], close, close, close, 1.0, knobs)
        found.append(float(state[0]["rsi"]))
    assert np.isnan(found[:14]).all()
    assert np.abs(np.array(found[14:]) - numbers_in(PUBLISHED)).max() <= 0.08


def minutes(n: int, seed: int = 1) -> Bars:
    """One symbol around the clock, without holes."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.0008, n)))
    open_ = close * np.exp(rng.normal(0, 0.0004, n))
    high, low = np.maximum(open_, close) * 1.0004, np.minimum(open_, close) * 0.9996
    at = np.datetime64("2019-01-02T15:00", "us").astype(np.int64) + 60_000_000 * np.arange(n)
    volume = rng.integers(0, 1000, n).astype(float)
    return Bars(("A",), at, *(c[:, None] for c in (open_, high, low, close, volume)), "raw")


def asked(bars: Bars, policy: Policy, readings=(), actions=(), **how):
    prices = prices_of(bars, ratios_of(bars, actions_of(bars, actions)))
    told, progress = opinions(prices, recorded(bars, readings, policy), policy, **how)
    return finished(told, progress), int(progress.read[0])


def same(one, other) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("n", [AHEAD, AHEAD + 1, 40_000])
def test_read_ahead_on_two_threads_the_bits_are_those_of_one(n):
    bars = minutes(n)
    one, read = asked(bars, Policy(), threads=1, keep_votes=True)
    two, read_ahead = asked(bars, Policy(), threads=2, keep_votes=True)
    assert read == read_ahead == n
    assert same(one, two)
    first = n - 1_000
    one, two = (asked(bars, Policy(), threads=k, start=first)[0] for k in (1, 2))
    assert same(one, two) and one.voted[-1] == 1_000


@compiled
def announced_now(read):
    return announced(read)


def test_what_a_reader_has_announced_changes_no_more():
    bars, looks = minutes(400_000), 0
    prices, said = prices_of(bars), recorded(bars, (), Policy())
    for _ in range(30):
        (told, progress), seen = opinions(prices, said, Policy()), []
        while not seen or seen[-1][0] < len(bars):
            n = announced_now(progress.read)
            seen.append((n, told.scores[:, :n].copy(), told.atr[:n].copy()))
        for n, scores, atr in seen:
            assert np.array_equal(scores, told.scores[:, :n], equal_nan=True)
            assert np.array_equal(atr, told.atr[:n], equal_nan=True)
        looks += len({n for n, _, _ in seen if n < len(bars)})
        if looks > 10:
            return
    raise AssertionError("nobody looked while it was read")


def test_a_reader_that_fails_is_heard(monkeypatch):
    def broken(n, is_helper, here, gone, r):
        if is_helper:
            raise MemoryError("no room")

    monkeypatch.setattr(module, "read_on", broken)
    with pytest.raises(MemoryError, match="no room"):
        asked(minutes(AHEAD + 1), Policy())
    with pytest.raises(MemoryError, match="no room"):
        backtest(minutes(AHEAD + 1), Policy())


def test_who_gives_up_frees_the_helper(monkeypatch):
    real = module.read_on

    def interrupted(n, is_helper, here, gone, r):
        if not is_helper:
            raise KeyboardInterrupt
        return real(n, is_helper, here, gone, r)

    with monkeypatch.context() as patched:
        patched.setattr(module, "read_on", interrupted)
        with pytest.raises(KeyboardInterrupt):
            asked(minutes(AHEAD + 1), Policy())
    errand, until = ask_helper(lambda: 7), monotonic() + 10
    while not errand.has_ended() and monotonic() < until:
        sleep(0.01)
    assert errand.has_ended()  # nothing spins before it
    assert asked(minutes(AHEAD + 1), Policy())[1] == AHEAD + 1


def test_a_single_symbol_read_in_rows_is_told_the_same():
    bars = minutes(700)
    prices, said = prices_of(bars), recorded(bars, (), Policy())
    assert prices.is_series
    alone, row = (
        finished(*opinions(p, said, Policy(), threads=1))
        for p in (prices, prices._replace(money=np.empty(0)))
    )
    for name in ("pooled", "spoken", "atr", "voted"):
        assert getattr(alone, name).tobytes() == getattr(row, name).tobytes()


def test_opinions_on_other_bars_are_refused():
    ready, other = prepared(minutes(600)), prepared(minutes(300))
    with pytest.raises(InvalidData, match=r"must be on \(300, 1\).* were on \(600, 1\)"):
        other.run(Policy(), FillPolicy(), told=ready.opinions(Policy()))
    with pytest.raises(InvalidData, match="keep_votes=True"):
        ready.run(Policy(), FillPolicy(), keep_log=True, told=ready.opinions(Policy()))


def after_a_fork(bars, queue):
    queue.put(asked(bars, Policy())[0].pooled.sum())


def test_a_forked_process_reads_with_a_helper_of_its_own():
    bars = minutes(AHEAD + 1)
    here = asked(bars, Policy())[0].pooled.sum()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=after_a_fork, args=(bars, queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0 and queue.get() == here


def test_a_run_that_follows_a_reader_is_the_run_of_a_whole():
    bars = minutes(40_000)
    policy = replace(Policy(), indicators=QUICK)
    told, _ = asked(bars, policy, threads=1)
    inside = backtest(bars, policy)
    outside = prepared(bars).run(policy, FillPolicy(), told=told)
    assert np.array_equal(inside.equity, outside.equity) and len(inside.trades) > 10
    assert inside.trades.equals(outside.trades) and inside.reasons.equals(outside.reasons)


def test_many_symbols_read_ahead_are_told_the_same(monkeypatch):
    bars = a_market(3, 400, ("A", "B", "C"), 0.02)
    readings, actions = some_readings(3, bars), some_actions(3, bars)
    policy = Policy(indicators=QUICK)
    one, _ = asked(bars, policy, readings, actions, threads=1, keep_votes=True)
    monkeypatch.setattr(module, "AHEAD", 1)
    two, _ = asked(bars, policy, readings, actions, threads=2, keep_votes=True)
    assert same(one, two)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(1, 300), start=st.integers(0, 300),
    missing=st.sampled_from([[0.05], [0.0], [0.05] * 3, [0.0] * 3, [0.05, 0.0, 0.0] * 3]),
    with_actions=st.booleans(), quick=st.booleans(),
)  # fmt: skip
def test_however_they_are_read_bars_are_folded_as_single_ones(
    seed, n, start, missing, with_actions, quick
):
    """In blocks, rows or one by one, through gaps and splits, wherever a count starts."""
    symbols = tuple("ABCDEFGHI"[: len(missing)])
    bars = a_market(seed, n, symbols, 0.02, missing)
    policy = Policy(indicators=QUICK) if quick else Policy()
    actions = some_actions(seed, bars) if with_actions and n > 1 else ()
    told, _ = asked(bars, policy, actions=actions, start=start, keep_votes=True)
    table = actions_of(bars, actions)
    for s in range(len(symbols)):
        sides, sures, atrs = by_single_bars(bars, s, policy, table)
        there = ~np.isnan(bars.close[:, s])
        assert np.array_equal(told.directions[there, s, :2], sides)
        assert np.array_equal(told.confidences[there, s, :2], sures)
        assert np.array_equal(told.atr[there, s], atrs, equal_nan=True)
        assert (told.spoken[~there, s] == -1).all()
    if start == 0 or not np.isnan(bars.close[start : start + 1]).any():
        assert counted(told) == counted_again(told, bars, start)


def many_minutes(n: int, symbols: str) -> Bars:
    """Symbols without holes on one clock."""
    alone = [minutes(n, seed) for seed in range(len(symbols))]
    columns = each(lambda name: np.hstack([getattr(bars, name) for bars in alone]))
    return Bars(tuple(symbols), alone[0].at, *columns, "raw")


def only(bars: Bars, s: int) -> Bars:
    """The bars of one symbol."""
    columns = each(lambda name: np.ascontiguousarray(getattr(bars, name)[:, s : s + 1]))
    return Bars(bars.symbols[s : s + 1], bars.at, *columns, bars.basis)


@pytest.mark.parametrize("holes", [0, 3])
def test_side_by_side_symbols_are_told_what_each_is_told_alone(holes):
    """Rows longer than the windows, with some symbols that miss a bar among them."""
    bars = many_minutes(1_100, "ABCDEFGHIJK")
    for column in each(lambda name: getattr(bars, name)):
        column[600, :holes] = np.nan
    together, _ = asked(bars, Policy(), keep_votes=True)
    for s in range(len(bars.symbols)):
        alone, _ = asked(only(bars, s), Policy(), keep_votes=True)
        for name in ("pooled", "spoken", "atr", "directions", "confidences"):
            one, all_ = getattr(alone, name)[:, 0], getattr(together, name)[:, s]
            assert np.array_equal(one, all_, equal_nan=True)


@pytest.mark.parametrize("t", [40, 511, 512, 700])
def test_one_bit_of_a_symbol_moves_no_other(t):
    """Positive control: the comparison above sees it, and where."""
    bars = many_minutes(1_100, "ABCDE")
    close = bars.close.copy()
    close[t, 2] *= 1 + 2e-4
    other = Bars(
        bars.symbols, bars.at, *(bars.open, bars.high, bars.low), close, bars.volume, "raw"
    )
    one, two = (asked(b, Policy())[0] for b in (bars, other))
    moved = [not np.array_equal(one.atr[:, s], two.atr[:, s], equal_nan=True) for s in range(5)]
    assert moved == [False, False, True, False, False]
    assert np.array_equal(one.pooled[:t], two.pooled[:t])


def counted(told) -> list[int]:
    return [int(n) for n in told.voted]


def counted_again(told, bars: Bars, start: int) -> list[int]:
    """Votes by source from the start on, and bars asked."""
    votes = np.abs(told.directions[start:]).sum(axis=(0, 1))
    return [*map(int, votes), int((~np.isnan(bars.close[start:])).sum())]


def test_votes_are_counted_from_a_start_without_a_bar_too():
    bars = a_market(0, 60, ("A",), 0.02)
    hole = int(np.flatnonzero(np.isnan(bars.close[:, 0]))[0])
    told, _ = asked(bars, Policy(indicators=QUICK), start=hole, keep_votes=True)
    assert counted(told) == counted_again(told, bars, hole)


def by_single_bars(bars: Bars, s: int, policy: Policy, actions: np.ndarray):
    """What one symbol is told, one bar after the other."""
    (states, rings), knobs = fresh(1), numbers(policy.votes)
    sides, sures, atrs = [], [], []
    for t in np.flatnonzero(~np.isnan(bars.close[:, s])):
        for action in actions[(actions["bar"] == t) & (actions["symbol"] == s)]:
            if action["ratio"] != 1.0:
                rescale(states[0], rings[0], action["ratio"])
        bar = (getattr(bars, n)[t, s] for n in ("high", "low", "close", "volume"))
        fold(states[0], rings[0], *bar, numbers(policy.indicators))
        scores = massive_score(states[0], knobs), alpha_vantage_score(states[0], knobs)
        sides.append([lean(score, policy.votes.dead_band) for score in scores])
        sures.append([surety(score) for score in scores])
        atr = float(states[0]["atr"])
        atrs.append(atr if not np.isnan(scores[0]) and atr > 0 else np.nan)
    return np.array(sides).reshape(-1, 2), np.array(sures).reshape(-1, 2), np.array(atrs)


def test_one_bit_of_one_bar_is_noticed():
    """Positive control: the comparison sees the smallest difference there is."""
    bars = minutes(AHEAD + 10)
    close, high = bars.close.copy(), bars.high.copy()
    close[BLOCK] = np.nextafter(close[BLOCK], 0)
    other = Bars(bars.symbols, bars.at, bars.open, high, bars.low, close, bars.volume, "raw")
    one, two = (asked(b, Policy(), threads=2)[0] for b in (bars, other))
    assert not same(one, two)
    assert np.array_equal(one.atr[:BLOCK], two.atr[:BLOCK], equal_nan=True)


def test_what_was_told_about_the_beginning_stays_when_more_is_known():
    bars = minutes(AHEAD + 600)
    whole, _ = asked(bars, Policy(), threads=2, keep_votes=True)
    for cut in (1, 511, 512, 513, BLOCK - 1, BLOCK, BLOCK + 1):
        part, _ = asked(sliced(bars, 0, cut), Policy(), keep_votes=True)
        assert np.array_equal(part.pooled, whole.pooled[:cut])
        assert np.array_equal(part.directions, whole.directions[:cut])
        assert np.array_equal(part.atr, whole.atr[:cut], equal_nan=True)


def test_adjusting_for_a_split_beforehand_or_on_its_day_tells_the_same():
    """Powers of two move no bit, and the samples' splits are twos."""
    raw = load(["AAPL"], date(2004, 1, 1), date(2006, 12, 31), basis="raw")
    adjusted = load(["AAPL"], date(2004, 1, 1), date(2006, 12, 31))
    actions = tuple(a for a in splits_of(["AAPL"]) if a.day.year == 2005)
    one, _ = asked(raw, Policy(), actions=actions, keep_votes=True)
    two, _ = asked(adjusted, Policy(), keep_votes=True)
    split = int(np.searchsorted(raw.days, day_number(actions[0].day)))
    # before the split Alpha Vantage's values are rounded in other units; Massive's are not
    assert np.array_equal(one.directions[:, :, 0], two.directions[:, :, 0])
    assert np.array_equal(one.pooled[split:], two.pooled[split:])
    jump, _ = asked(raw, Policy(), keep_votes=True)
    assert not np.array_equal(jump.pooled[split:], two.pooled[split:])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_recorded_reading_is_heard_from_its_time_until_it_expires(seed):
    bars = a_market(seed, 40, ("A", "B"), 0.02)
    readings, policy = some_readings(seed, bars), Policy()
    said = recorded(bars, readings, policy)
    for t, at in enumerate(bars.times):
        for s, symbol in enumerate(bars.symbols):
            for k, source in enumerate(("x_sentiment", "sonar")):
                known = [r for r in readings if (r.symbol, r.source) == (symbol, source)
                         and r.at <= at]  # fmt: skip
                latest = max(known, key=lambda r: r.at, default=None)
                if latest is None or latest.expires <= at:
                    assert said[t, s, k, 0] == 0
    early = tuple(r for r in readings if r.at <= bars.times[20])
    assert np.array_equal(recorded(bars, early, policy)[:21], said[:21])


def test_bars_are_not_written_to():
    bars = a_market(4, 300, ("A", "B"), 0.02)
    before = each(lambda name: getattr(bars, name).copy())
    backtest(bars, Policy(indicators=QUICK), actions=some_actions(4, bars))
    alone = between(minutes(AHEAD + 5), None, None)
    kept = alone.close.copy()
    backtest(alone, Policy(indicators=QUICK))
    after = each(lambda name: getattr(bars, name))
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True))
    assert np.array_equal(alone.close, kept)
