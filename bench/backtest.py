"""How fast is a whole backtest, decisions and checks included? Prints times, not verdicts.

    make bench

Every size runs the default policy over a seeded random market: four votes, consensus, risk,
sizing, brackets, costs. The median of five runs after a first one that compiles or loads.
"""

import time
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

RUNS = 5
WORK = [(1_000, 1), (10_000, 1), (100_000, 1), (2_520, 50), (2_520, 500)]


def a_market(n_bars: int, n_symbols: int):
    """One-minute bars of random walks; `at` counts minutes from a fixed Monday."""
    from argo_alpine.bars import Bars

    rng = np.random.default_rng(1)
    shape = (n_bars, n_symbols)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.001, shape), axis=0))
    first = np.vstack([close[:1], close[:-1]])
    high = np.maximum(first, close) * (1 + rng.uniform(0, 0.001, shape))
    low = np.minimum(first, close) * (1 - rng.uniform(0, 0.001, shape))
    volume = rng.integers(1, 10_000, shape).astype(float)
    at = np.arange(n_bars) * 60_000_000 + 1_546_873_200_000_000
    symbols = tuple(f"S{i:03}" for i in range(n_symbols))
    return Bars(symbols, at, first, high, low, close, volume, "raw")


def seconds(run) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    """Time every size and print the table."""
    began = time.perf_counter()
    from argo_alpine.backtest import backtest

    backtest(a_market(300, 1))
    cold = time.perf_counter() - began
    table = Table("bars", "symbols", "median [ms]", "a bar and symbol [ns]", "trades")
    for n_bars, n_symbols in WORK:
        bars = a_market(n_bars, n_symbols)
        trades = len(backtest(bars).trades)
        took = median(seconds(lambda bars=bars: backtest(bars)) for _ in range(RUNS))
        each = took / n_bars / n_symbols * 1e9
        table.add_row(
            f"{n_bars:,}", f"{n_symbols}", f"{1000 * took:.1f}", f"{each:.0f}", f"{trades}"
        )
    console = Console()
    console.print(table)
    console.print(f"import, compile or load, and a first run: {cold:.1f} s; median of {RUNS} runs")


if __name__ == "__main__":
    main()
