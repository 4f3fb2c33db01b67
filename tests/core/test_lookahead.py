"""No decision knows what came after it: five probes, and a zoo of leaks that each must catch.

The future is cut off, poisoned, moved or renamed; what was decided and filled before it must be
the same to the last bit. No probe sees every leak, which is why there are several.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.backtest import Backtest, backtest
from argo_alpine.bars import COLUMNS, Bars, each
from argo_alpine.costs import FillPolicy
from argo_alpine.engine import Policy
from argo_alpine.fields import Grid
from argo_alpine.folds import Windows
from argo_alpine.loading import Action
from argo_alpine.risk import RiskPolicy
from argo_alpine.sizing import SizingPolicy
from argo_alpine.stretches import Candidate
from argo_alpine.walk_forward import Objective, walk_forward
from tests.core.test_backtest import FREE, UNLIMITED, upto
from tests.test_parity import QUICK, a_market, market_costs, policies, some_actions, some_readings

SYMBOLS = ("A", "B", "C")
WEEKS = 7 * 7 * 86_400_000_000  # seven weeks, in which no clock was changed
Known = Callable[[Bars], np.ndarray]


def rows_from(cut: int, bars: Bars, late: Callable[[str], np.ndarray]) -> Bars:
    """The bars with other ones from `cut` on."""
    new = each(lambda name: np.vstack([getattr(bars, name)[:cut], late(name)]))
    return Bars(bars.symbols, bars.at, *new, bars.basis)


def no_future(bars: Bars, cut: int) -> Bars:
    return rows_from(cut, bars, lambda name: np.full_like(getattr(bars, name)[cut:], np.nan))


def garbage(bars: Bars, cut: int) -> Bars:
    other = a_market(cut + 77, len(bars), bars.symbols, 0.1)
    return rows_from(cut, bars, lambda name: 10 * getattr(other, name)[cut:] + 1)


def shuffled(bars: Bars, cut: int) -> Bars:
    order = np.random.default_rng(cut).permutation(len(bars) - cut) + cut
    return rows_from(cut, bars, lambda name: getattr(bars, name)[order])


def another_s(bars: Bars, cut: int) -> Bars:
    return rows_from(cut, bars, lambda name: np.roll(getattr(bars, name)[cut:], 1, axis=1))


POISONS = {"nothing": no_future, "garbage": garbage, "shuffled": shuffled, "another's": another_s}
PROBES = {"truncated": upto, **POISONS}


def said(run: Backtest, cut: int) -> tuple[object, ...]:
    """All that was decided, filled and owned before bar `cut`."""
    fills = run.run.fills[: int(run.run.book["fills"][0])]
    log = run.run.log[:cut].tobytes() if run.log is not None else b""
    fills, equity = fills[fills["bar"] < cut].tobytes(), run.run.equity[:cut].tobytes()
    return log, fills, equity, run.run.gross[:cut].tobytes(), run.whole.opened[:cut].tobytes()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1), policy=policies, costs=market_costs,
    symbols=st.sampled_from([("A",), SYMBOLS]), with_actions=st.booleans(),
)  # fmt: skip
def test_every_cut_and_every_poison_leaves_the_past_alone(
    seed, policy, costs, symbols, with_actions
):
    bars = a_market(seed, 40, symbols, 0.03)
    actions = some_actions(seed, bars) if with_actions else ()
    readings = some_readings(seed, bars)
    whole = backtest(bars, policy, costs, readings, keep_log=True, actions=actions)
    for name, probe in PROBES.items():
        for cut in range(1, len(bars)) if name == "truncated" else (1, 4, 9, 23, 39):
            day = bars.times[cut - 1].tz_convert("America/New_York").date()
            early = tuple(a for a in actions if a.day <= day)
            known = tuple(r for r in readings if r.at <= bars.times[cut - 1])
            part = backtest(probe(bars, cut), policy, costs, known, keep_log=True, actions=early)
            assert said(part, cut) == said(whole, cut), (name, cut)


def test_a_market_that_is_cut_does_trade_before_the_cut():
    """Positive control: equal silence would prove nothing."""
    run = backtest(a_market(1, 40, SYMBOLS, 0.03), Policy(indicators=QUICK), keep_log=True)
    assert len(run.fills) > 10 and (run.log["why"] == 0).sum() > 10


# Leaks. Each is a strategy: bars in, directions out; only the honest one may look the same.


def filled(close: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(close), np.nanmean(close), close)


def trailing(bars: Bars, n: int = 5) -> np.ndarray:
    """Above or below the mean of the last n closes: honest."""
    close, made = bars.close, np.full(bars.close.shape, np.nan)
    for t in range(n - 1, len(close)):
        window = close[t - n + 1 : t + 1]
        made[t] = np.sign(close[t] - window.sum(axis=0) / n)
    return made


def by_the_mean_of_all(bars: Bars) -> np.ndarray:
    return np.sign(bars.close - np.nanmean(bars.close))


def by_tomorrow(bars: Bars) -> np.ndarray:
    return np.sign(np.vstack([bars.close[1:], bars.close[-1:]]) - bars.close)


def warmed_from_behind(bars: Bars) -> np.ndarray:
    made = trailing(bars)
    made[:4] = made[4] if len(made) > 4 else np.nan
    return made


def by_its_place_from_the_end(bars: Bars) -> np.ndarray:
    left = len(bars) - np.arange(len(bars))
    return np.where(left[:, None] % 2 == 0, 1.0, -1.0) * np.ones(bars.close.shape)


def tuned_on_all(bars: Bars) -> np.ndarray:
    def won(n: int) -> float:
        held = np.nan_to_num(trailing(bars, n)[:-1])
        return float(np.nansum(held * np.diff(np.log(filled(bars.close)), axis=0)))

    return trailing(bars, max(range(2, 9), key=won))


def centred(bars: Bars) -> np.ndarray:
    close, made = filled(bars.close), np.full(bars.close.shape, np.nan)
    for t in range(2, len(close)):
        made[t] = np.sign(close[t] - close[t - 2 : t + 3].mean(axis=0))
    return made


def scaled_by_all(bars: Bars) -> np.ndarray:
    z = (bars.close - np.nanmean(bars.close, axis=0)) / np.nanstd(bars.close, axis=0)
    return np.where(np.abs(z) > 1, -np.sign(z), np.nan)


def adjusted_for_later_splits(bars: Bars) -> np.ndarray:
    """A level in dollars on prices that were divided by what was split afterwards."""
    return np.sign(bars.close / np.nanmax(bars.close) - 0.6)


def by_its_name(bars: Bars) -> np.ndarray:
    return np.where(np.arange(bars.close.shape[1])[None] == 0, 1.0, trailing(bars))


def by_the_calendar(bars: Bars) -> np.ndarray:
    days = bars.days[:, None] * np.ones(bars.close.shape)
    return np.where(days > 17_890, 1.0, -1.0)


def by_dollars(bars: Bars) -> np.ndarray:
    return np.sign(bars.close - 50.0)


def judged(strategy: Known, bars: Bars, policy: Policy = UNLIMITED) -> Backtest:
    targets = strategy(bars)
    sizes = np.full(targets.shape, 20.0)
    return backtest(bars, policy, replace(FREE, part=0.5), targets=targets, sizes=sizes)


def caught(strategy: Known, probe: str) -> bool:
    bars = a_market(6, 60, SYMBOLS, 0.03)
    bars = replace(bars, **{n: np.where(np.isnan(v), 7.0, v) for n in COLUMNS
                            for v in [getattr(bars, n)]})  # fmt: skip
    whole = judged(strategy, bars)
    cuts = range(2, len(bars)) if probe == "truncated" else range(3, len(bars), 4)
    return any(
        said_by(judged(strategy, PROBES[probe](bars, cut)), cut) != said_by(whole, cut)
        for cut in cuts
    )


def said_by(run: Backtest, cut: int) -> tuple[object, ...]:
    """With the directions themselves: the last of them is filled after the cut."""
    return run.market.targets[:cut].tobytes(), *said(run, cut)


@pytest.mark.parametrize("probe", ["truncated", "garbage", "shuffled", "another's"])
def test_an_honest_strategy_passes_every_probe(probe):
    assert not caught(trailing, probe)


@pytest.mark.parametrize(
    ("leak", "probe"),
    [
        (by_the_mean_of_all, "truncated"),
        (by_the_mean_of_all, "garbage"),
        (by_tomorrow, "truncated"),
        (by_tomorrow, "garbage"),
        (by_tomorrow, "shuffled"),
        (warmed_from_behind, "truncated"),  # only cuts inside the warm-up see it
        (by_its_place_from_the_end, "truncated"),  # no value is read: no poison sees it
        (tuned_on_all, "garbage"),
        (tuned_on_all, "shuffled"),
        (centred, "truncated"),
        (centred, "another's"),
        (scaled_by_all, "garbage"),
        (adjusted_for_later_splits, "garbage"),
    ],
)
def test_every_leak_in_the_zoo_is_caught(leak, probe):
    assert caught(leak, probe)


def test_no_single_probe_sees_every_leak():
    assert not caught(by_its_place_from_the_end, "garbage")
    assert not caught(by_the_mean_of_all, "shuffled")


def renamed(bars: Bars, order: list[int], names: tuple[str, ...]) -> Bars:
    return Bars(names, bars.at, *each(lambda n: getattr(bars, n)[:, order]), bars.basis)


def without_rivalry(policy: Policy) -> Policy:
    """Nothing is shared out between symbols, so no name can come first."""
    return replace(policy, risk=RiskPolicy(gross_pct=1_000, net_pct=1_000, orders_per_minute=100),
                   sizing=SizingPolicy(base_pct=5.0))  # fmt: skip


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.permutations(range(3)))
def test_the_order_of_the_symbols_changes_nothing(seed, order):
    bars = a_market(seed, 50, SYMBOLS, 0.03)
    other = renamed(bars, list(order), tuple(SYMBOLS[i] for i in order))
    one, two = (backtest(b, Policy(indicators=QUICK), keep_log=True) for b in (bars, other))
    assert said(one, 50) == said(two, 50)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_a_symbol_under_another_name_is_decided_and_traded_alike(seed):
    bars, policy = a_market(seed, 50, SYMBOLS, 0.03), without_rivalry(Policy(indicators=QUICK))
    other = Bars(("Z", "Y", "X"), bars.at, *each(lambda n: getattr(bars, n)), bars.basis)
    one, two = (backtest(b, policy, keep_log=True) for b in (bars, other))
    for name, alias in zip(SYMBOLS, ("Z", "Y", "X"), strict=True):
        assert one.decisions(name).equals(two.decisions(alias))
    assert np.allclose(one.equity, two.equity, rtol=0, atol=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2.0, 4.0, 0.5]))
def test_twice_as_many_shares_at_half_the_price_are_the_same_account(seed, ratio):
    """Powers of two move no bit; legs in cents and rounded vendor values do, so both are off."""
    bars = a_market(seed, 50, SYMBOLS, 0.03)
    new = {n: getattr(bars, n) / ratio for n in COLUMNS[:4]}
    other = replace(bars, **new, volume=bars.volume * ratio)
    costs = FillPolicy(slippage_atrs=0.02, impact=0.5, volume_pct=0.2, part=1.0)
    targets = trailing(bars)
    sizes = np.full(targets.shape, 20.0)
    one = backtest(bars, UNLIMITED, costs, targets=targets, sizes=sizes)
    two = backtest(other, UNLIMITED, replace(costs, part=ratio), targets=targets, sizes=sizes)
    assert np.array_equal(one.equity, two.equity)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), policies, market_costs)
def test_seven_weeks_later_the_same_is_decided(seed, policy, costs):
    full = a_market(seed, 200, SYMBOLS, 0.03)
    cut = slice(150, 180)  # from August into September: no holiday on which a week could differ
    bars = Bars(full.symbols, full.at[cut], *each(lambda n: getattr(full, n)[cut]), full.basis)
    hours = [replace(bars, at=bars.at[0] + 3_600_000_000 * np.arange(30) + later)
             for later in (0, -WEEKS)]  # fmt: skip
    one, two = (backtest(b, policy, costs, keep_log=True) for b in hours)
    assert said(one, 30)[:4] == said(two, 30)[:4]


def test_names_calendars_and_dollars_are_noticed_too():
    """Positive controls of the probes that move and rename."""
    bars = a_market(6, 60, SYMBOLS, 0.03)
    halved = replace(bars, **{n: getattr(bars, n) / 2 for n in COLUMNS[:4]})
    moved = replace(bars, at=bars.at[0] + 3_600_000_000 * np.arange(60))
    earlier = replace(moved, at=moved.at - WEEKS)
    swapped = renamed(bars, [2, 1, 0], SYMBOLS)
    assert not np.array_equal(by_dollars(bars), by_dollars(halved), equal_nan=True)
    assert not np.array_equal(by_the_calendar(moved), by_the_calendar(earlier), equal_nan=True)
    assert not np.array_equal(by_its_name(bars)[:, ::-1], by_its_name(swapped), equal_nan=True)
    for strategy, one, two in (
        (trailing, bars, halved), (trailing, moved, earlier),
    ):  # fmt: skip
        assert np.array_equal(strategy(one), strategy(two), equal_nan=True)


def test_a_split_in_the_future_is_not_known_before_its_day():
    bars, policy = a_market(9, 60, ("A",), 0.02), Policy(indicators=QUICK)
    day = bars.times[40].tz_convert("America/New_York").date()
    runs = [backtest(bars, policy, keep_log=True, actions=a)
            for a in ((), (Action("A", day, 2.0, 1.0),))]  # fmt: skip
    at = int(np.searchsorted(bars.days, np.datetime64(day, "D").astype(int)))
    assert said(runs[0], at) == said(runs[1], at)
    assert said(runs[0], 60) != said(runs[1], 60)


@pytest.mark.parametrize("poison", [garbage, shuffled])
def test_a_walk_s_choice_never_knows_its_test(poison):
    bars = a_market(22, 300, ("A", "B"), 0.02)
    grid = Grid({"sizing.stop_pct": (1.0, 3.0, 6.0), "consensus.threshold": (60.0, 75.0)})
    base = Candidate(Policy(indicators=QUICK))

    def walked(known: Bars):
        walk = walk_forward(known, grid, Windows(120, 60, purge=5), base, Objective(min_trades=1))
        return [(step.chosen, step.inside) for step in walk.steps]

    whole = walked(bars)
    assert len({tuple(chosen.values()) for chosen, _ in whole}) >= 2
    for k, cut in enumerate((125, 185, 245)):  # where each test begins
        assert walked(poison(bars, cut))[: k + 1] == whole[: k + 1]
    assert walked(poison(bars, 60)) != whole  # what was trained on does matter
