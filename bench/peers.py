"""The peers' side: the same crossings, each engine used the fastest way its own pages show.

Every job returns `(round trips begun, value at the end)`, so that nobody can be lazy about them.
Imports are inside the functions: a peer that is not installed costs one ratio, not the program,
and nobody's memory is measured with what only another one needs, pandas included.
backtesting.py is AGPL: it is imported here and in tests, never by the package or a service.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.markets import CASH, FAST, FEES, SLOW, STOP, TARGET, Prices, crossings

if TYPE_CHECKING:
    import pandas as pd

Outcome = tuple[int, float]
FASTS, SLOWS = range(5, 15), range(20, 120, 10)  # the sweep's 100 pairs
GUARD = 10.0  # percent of drawdown: the default of our own policy


def run_backtesting(prices: Prices, brackets: bool) -> Any:
    """The statistics of backtesting.py: equity, trades and metrics are always made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3 deprecates what it uses
        import backtesting
        import pandas as pd
        from backtesting.lib import crossover
        from backtesting.test import SMA

        backtesting.backtesting._tqdm = lambda items, **_: items  # no bar for every run

        class Crossing(backtesting.Strategy):
            def init(self) -> None:
                self.fast = self.I(SMA, self.data.Close, FAST)
                self.slow = self.I(SMA, self.data.Close, SLOW)

            def next(self) -> None:
                if crossover(self.fast, self.slow):
                    price = self.data.Close[-1]
                    legs = {"sl": price * (1 - STOP), "tp": price * (1 + TARGET)}
                    self.buy(**legs if brackets else {})
                elif crossover(self.slow, self.fast):
                    self.position.close()

        columns = (matrix[:, 0] for matrix in prices[2:])
        names = ("Open", "High", "Low", "Close", "Volume")
        frame = pd.DataFrame(dict(zip(names, columns, strict=True)), index=clock(prices))
        return backtesting.Backtest(
            frame, Crossing, cash=CASH, commission=FEES, finalize_trades=True
        ).run()


def clock(prices: Prices) -> "pd.DatetimeIndex":
    """The closes without a zone: with one, vectorbt converts each to an object, 60 times slower."""
    import pandas as pd

    return pd.DatetimeIndex(prices.at.astype("datetime64[us]"))


def run_vectorbt(prices: Prices, brackets: bool, **how: Any) -> Any:
    """A portfolio of vectorbt. It fills at the signal's own bar, so signals move on by one."""
    import pandas as pd
    import vectorbt as vbt

    index, shape = clock(prices), slice(None) if len(prices.symbols) > 1 else 0
    names = ("open", "high", "low", "close") if brackets else ("open", "close")
    frame = pd.DataFrame if len(prices.symbols) > 1 else pd.Series
    frames = {name: frame(getattr(prices, name)[:, shape], index=index) for name in names}
    windows = how.pop("windows", (FAST, SLOW))
    fast, slow = (
        vbt.MA.run(frames["close"], window=window, short_name=name, run_unique=True)
        for window, name in zip(windows, ("fast", "slow"), strict=True)
    )
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    if len(prices.symbols) > 1:
        entries.columns = exits.columns = frames["close"].columns
    legs = {"sl_stop": STOP, "tp_stop": TARGET, "stop_entry_price": "fillprice"}
    return vbt.Portfolio.from_signals(
        **{"init_cash": CASH, "fees": FEES, "freq": "1min"} | (legs if brackets else {}) | how,
        **frames,
        entries=entries.vbt.signals.fshift(1),
        exits=exits.vbt.signals.fshift(1),
        price=frames["open"],
    )


def raptor_config(brackets: bool, **how: Any) -> Any:
    """Decide at a close, fill at the next open."""
    import raptorbt

    config = raptorbt.BacktestConfig(
        **{"initial_capital": CASH, "fees": FEES, "fill_timing": "next_bar_open"} | how
    )
    if brackets:
        config.set_fixed_stop(STOP)
        config.set_fixed_target(TARGET)
    return config


def raptor_columns(prices: Prices, s: int) -> list[NDArray[np.float64]]:
    """One symbol's columns; raptorbt refuses strided ones."""
    return [np.ascontiguousarray(matrix[:, s]) for matrix in prices[2:]]


def run_raptorbt(prices: Prices, brackets: bool) -> Any:
    """A result of raptorbt: its metrics, equity and trades are made in the same call."""
    import raptorbt

    columns, times = raptor_columns(prices, 0), prices.at * 1_000  # nanoseconds
    up, down = crossings(*(raptorbt.sma(columns[3], n) for n in (FAST, SLOW)))
    return raptorbt.run_single_backtest(
        times, *columns, up, down, direction=1, weight=1.0, config=raptor_config(brackets)
    )


def backtesting_single(prices: Prices, brackets: bool) -> Outcome:
    """One run."""
    stats = run_backtesting(prices, brackets)
    return int(stats["# Trades"]), float(stats["Equity Final [$]"])


def vectorbt_single(prices: Prices, brackets: bool) -> Outcome:
    """One run, and the two things asked of it: vectorbt computes results when asked."""
    portfolio = run_vectorbt(prices, brackets)
    return int(portfolio.trades.count()), float(portfolio.value().iloc[-1])


def raptorbt_single(prices: Prices, brackets: bool) -> Outcome:
    """One run."""
    metrics = run_raptorbt(prices, brackets).metrics
    return metrics.total_trades, metrics.end_value


def vectorbt_sweep(prices: Prices) -> Outcome:
    """A hundred pairs as a hundred columns."""
    windows = np.repeat(FASTS, len(SLOWS)), np.tile(SLOWS, len(FASTS))
    portfolio = run_vectorbt(prices, False, windows=windows)
    return int(portfolio.trades.count().sum()), float(portfolio.final_value().sum())


def raptorbt_sweep(prices: Prices) -> Outcome:
    """A hundred pairs through its batch function, which uses every core."""
    import raptorbt

    columns, times = raptor_columns(prices, 0), prices.at * 1_000
    means = {n: raptorbt.sma(columns[3], n) for n in (*FASTS, *SLOWS)}
    items = [
        raptorbt.BatchSingleItem(f"{fast}-{slow}", *crossings(means[fast], means[slow]))
        for fast in FASTS
        for slow in SLOWS
    ]
    results = raptorbt.batch_single_backtest(times, *columns, items, raptor_config(False))
    metrics = [result.metrics for _, result in results]
    return sum(m.total_trades for m in metrics), sum(m.end_value for m in metrics)


def vectorbt_portfolio(prices: Prices) -> Outcome:
    """All symbols as one group on shared cash, a tenth of it an entry; it has no drawdown guard."""
    shared = {"cash_sharing": True, "group_by": True, "call_seq": "auto"}
    portfolio = run_vectorbt(prices, True, size=0.1, size_type="percent", freq="1D", **shared)
    return int(portfolio.trades.count()), float(portfolio.value().iloc[-1])


def raptorbt_portfolio(prices: Prices) -> Outcome:
    """All symbols on one pool of capital, with its drawdown guard at our default."""
    import raptorbt

    times, instruments = prices.at * 1_000, []
    for s, symbol in enumerate(prices.symbols):
        columns = raptor_columns(prices, s)
        signals = crossings(*(raptorbt.sma(columns[3], n) for n in (FAST, SLOW)))
        instruments.append((times, *columns, *signals, 1, 1 / len(prices.symbols), symbol))
    config = raptor_config(True, max_drawdown_pct=GUARD)
    metrics = raptorbt.run_portfolio_backtest(instruments, config, "equal_weight").metrics
    return metrics.total_trades, metrics.end_value


def sklearn_quality(confidences: NDArray[np.int64], hits: NDArray[np.bool_]) -> Outcome:
    """Score, its decomposition, ranking and hit rates by confidence: what ours gives as well."""
    import pandas as pd
    from sklearn.isotonic import IsotonicRegression
    from sklearn.metrics import brier_score_loss, roc_auc_score

    claimed, came = confidences / 10_000, hits.astype(np.int8)  # quicker there than booleans
    best = IsotonicRegression(y_min=0, y_max=1).fit_transform(claimed, came)
    score, least = brier_score_loss(came, claimed), brier_score_loss(came, best)
    ranking = roc_auc_score(came, claimed)
    signals = pd.DataFrame({"confidence": claimed, "hit": came})
    bands = pd.cut(signals["confidence"], np.arange(0, 101, 5) / 100, right=False)
    table = signals.groupby(bands, observed=True).agg(
        {"confidence": "mean", "hit": ["size", "sum"]}
    )
    parts = score, score - least, came.var() - least, came.var(), ranking
    return int(table["hit", "size"].sum()), float(parts[0])
