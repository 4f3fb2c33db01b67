"""The prices that every engine gets, and the crossings that the engines are compared on.

Nothing of ours is imported here: a peer that starts alone must not wait for our package.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FAST, SLOW = 10, 30  # bars in the two moving averages
FEES = 0.002  # of the value traded, on every fill
STOP, TARGET = 0.02, 0.04
CASH = 1e12  # 0.4 % a round trip leaves e^-8 of it after 2,000 of them: still whole shares
MINUTE, DAY = 60_000_000, 86_400_000_000  # microseconds
BEGIN = 1_168_268_400_000_000  # a Monday


class Prices(NamedTuple):
    """Bars as plain arrays."""

    symbols: tuple[str, ...]
    at: NDArray[np.int64]  # (n_bars,) closes, microseconds UTC
    open: NDArray[np.float64]  # (n_bars, n_symbols)
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]


def walk(
    n_bars: int,
    n_symbols: int = 1,
    step: int = MINUTE,
    start: float = 5_000.0,  # dear shares: brackets in whole cents move by no more than 2e-6
    deviation: float = 0.003,  # of a bar's return: wild enough for stops and targets to be reached
    seed: int = 1,
) -> Prices:
    """Seeded random walks; each bar opens where the one before closed."""
    rng = np.random.default_rng(seed)
    shape = (n_bars, n_symbols)
    close = start * np.exp(np.cumsum(rng.normal(0, deviation, shape), axis=0))
    first = np.vstack([close[:1], close[:-1]])
    high = np.maximum(first, close) * (1 + rng.uniform(0, deviation, shape))
    low = np.minimum(first, close) * (1 - rng.uniform(0, deviation, shape))
    volume = rng.integers(1, 10_000, shape).astype(float)
    symbols = tuple(f"S{i:04}" for i in range(n_symbols))
    return Prices(symbols, BEGIN + step * np.arange(n_bars), first, high, low, close, volume)


def days(n_bars: int, n_symbols: int) -> Prices:
    """Daily walks of ordinary shares."""
    return walk(n_bars, n_symbols, DAY, 50.0, 0.015, seed=2)


def google() -> Prices:
    """GOOG as backtesting.py ships it, or our sample of the same days where that is absent."""
    from argo_alpine.loading import load
    from argo_alpine.sessions import closes

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # backtesting.py warns on import under pandas 3
            from backtesting.test import GOOG
    except ImportError:
        bars = load(["GOOG"])
        return Prices(*(getattr(bars, name) for name in Prices._fields))
    columns = (GOOG[[name.capitalize()]].to_numpy(float) for name in Prices._fields[2:])
    return Prices(("GOOG",), closes(list(GOOG.index.date)), *columns)


def averages(close: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fast and the slow moving average, NaN until they are full."""
    import pandas as pd  # only here: who is given prices need not pay for it

    prices = pd.Series(close)
    return prices.rolling(FAST).mean().to_numpy(), prices.rolling(SLOW).mean().to_numpy()


def crossings(
    fast: NDArray[np.float64], slow: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """At which closes the fast average has just come out above the slow one, and below it."""
    up, down = np.zeros(len(fast), bool), np.zeros(len(fast), bool)
    up[1:] = (fast[1:] > slow[1:]) & (fast[:-1] <= slow[:-1])  # NaN compares as false
    down[1:] = (fast[1:] < slow[1:]) & (fast[:-1] >= slow[:-1])
    return up, down


def directions(prices: Prices) -> NDArray[np.float64]:
    """Long from a crossing upwards to one downwards; between them no opinion, as (n_bars, 1).

    No opinion rather than *long*: after a stop the peers wait for the next crossing.
    """
    up, down = crossings(*averages(prices.close[:, 0]))
    return np.where(up, 1.0, np.where(down, 0.0, np.nan))[:, None]
