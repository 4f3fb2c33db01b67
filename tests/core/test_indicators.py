"""Published numbers of indicators, and that a block of bars is those bars one by one."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_alpine.blocks import (
    BLOCK,
    Columns,
    Series,
    fold_block,
    plain_periods,
    seen_of,
    signed_volume,
)
from argo_alpine.indicators import RING, IndicatorPolicy, fold, fresh
from argo_alpine.knobs import numbers

PERIODS = IndicatorPolicy(sma=6, ema=4, rsi=3, macd_fast=2, macd_slow=5, macd_signal=2, atr=4,
                          channel=5, flow=4)  # fmt: skip


def test_cases_5_stockcharts_rsi_table():
    closes = [
        44.34, 44.09, 44.15, 43.61, 44.33, 44.83, 45.10, 45.42, 45.84, 46.08, 45.89, 46.03, 45.61,
        46.28, 46.28, 46.00, 46.03, 46.41, 46.22, 45.64, 46.21, 46.25, 45.71, 46.45, 45.78, 45.35,
        44.03, 44.18, 44.22, 44.57, 43.42, 42.66, 43.13,
    ]  # fmt: skip
    published = [
        70.53, 66.32, 66.55, 69.41, 66.36, 57.97, 62.93, 63.26, 56.06, 62.38, 54.71, 50.42, 39.99,
        41.46, 41.87, 45.46, 37.30, 33.08, 37.77,
    ]  # fmt: skip
    (states, rings), periods, seen = fresh(1), numbers(IndicatorPolicy()), []
    for close in closes:
        fold(states[0], rings[0], close, close, close, 1.0, periods)
        seen.append(float(states[0]["rsi"]))
    assert np.isnan(seen[:14]).all()
    assert np.abs(np.array(seen[14:]) - published).max() < 0.08


def a_walk(seed: int, n: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
    high, low = close * (1 + rng.uniform(0, 0.02, n)), close * (1 - rng.uniform(0, 0.02, n))
    return high, low, close, rng.integers(0, 3, n).astype(float)


def different(market, cuts, periods) -> list[int]:
    """The bars on which blocks and single bars are not the same bits."""
    high, low, close, volume = market
    n, record, plain = len(close), numbers(periods), plain_periods(numbers(periods))
    (blocks, _), (ones, rings), room = fresh(1), fresh(1), np.zeros((4, BLOCK + RING))
    series = Series(*market, signed_volume(*market))
    out = Columns(*np.zeros((len(Columns._fields), BLOCK)))
    wrong, edges = [], sorted({0, n, *(cut for cut in cuts if cut < n)})
    for first, last in pairwise(edges):
        fold_block(blocks[0], last - first, series, room, out, plain)
        for t in range(first, last):
            fold(ones[0], rings[0], high[t], low[t], close[t], volume[t], record)
            seen = seen_of(close[t], *(column[t - first] for column in out), plain)
            same = (
                np.array_equal(getattr(seen, k), ones[0][k], equal_nan=True) for k in seen._fields
            )
            wrong += [] if all(same) else [t]
    return wrong


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 1_400), min_size=2, max_size=6))
def test_a_block_is_its_bars_one_by_one_to_the_last_bit(seed, cuts):
    cuts = [*cuts, *range(0, 1_400, BLOCK)]  # young blocks and grown ones, none too long
    assert different(a_walk(seed, 1_400), cuts, PERIODS) == []


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, RING), st.integers(1, RING), st.integers(1, 255))
def test_windows_of_any_length_are_the_same_bits_in_blocks(seed, channel, flow, fast):
    periods = IndicatorPolicy(
        sma=flow, ema=channel, rsi=fast, macd_fast=fast, macd_slow=fast + 1, macd_signal=flow,
        atr=fast, channel=channel, flow=flow,
    )  # fmt: skip
    assert different(a_walk(seed, 800), [100, 500], periods) == []


def test_one_bar_more_in_a_window_is_noticed():
    """Positive control: the blocks look back one bar further than the single bars."""
    longer = IndicatorPolicy(sma=7, ema=4, rsi=3, macd_fast=2, macd_slow=5, macd_signal=2, atr=4,
                             channel=5, flow=4)  # fmt: skip
    high, low, close, volume = market = a_walk(1, 100)
    (states, _), room = fresh(1), np.zeros((4, BLOCK + RING))
    out = Columns(*np.zeros((len(Columns._fields), BLOCK)))
    plain = plain_periods(numbers(longer))
    fold_block(states[0], 100, Series(*market, signed_volume(*market)), room, out, plain)
    (ones, single), record = fresh(1), numbers(PERIODS)
    for t in range(100):
        fold(ones[0], single[0], high[t], low[t], close[t], volume[t], record)
    assert seen_of(close[99], *(c[99] for c in out), plain).sma != ones[0]["sma"]
