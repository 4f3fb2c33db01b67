"""The recorded past of every symbol, and the one place that decides how much of it is known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from argo_alpine.arithmetic import Floats, Ints
from argo_alpine.bars import COLUMNS, Bars
from argo_alpine.domain import NEW_YORK, InvalidBars, UnavailableData
from argo_alpine.sessions import bar_days, hours, instant

TREND_DAYS = 10
ATR_DAYS = 14


@dataclass(frozen=True, slots=True)
class Series:
    """Daily bars of one symbol without gaps, oldest first."""

    symbol: str
    at: Ints  # (n,) closes, microseconds UTC; so are the others
    starts: Ints  # midnights in New York, milliseconds UTC
    days: Ints  # New York dates, days since 1970
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, cut: slice) -> "Series":
        times = self.at[cut], self.starts[cut], self.days[cut]
        o, h, lo, c = (column[cut] for column in self.prices())
        return Series(self.symbol, *times, o, h, lo, c, self.volume[cut])

    def prices(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Open, high, low and close."""
        return self.open, self.high, self.low, self.close

    def dates(self) -> list[str]:
        """The days as `YYYY-MM-DD`."""
        names: list[str] = self.days.astype("datetime64[D]").astype(str).tolist()
        return names


def midnights(
    days: Ints,  # days since 1970, of the exchange
) -> Ints:  # milliseconds UTC
    """When each day begins in New York."""
    there = pd.DatetimeIndex(days.astype("datetime64[D]")).tz_localize(NEW_YORK).tz_convert("UTC")
    return there.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)


def one_series(bars: Bars, s: int) -> Series:
    """The bars of one column that are there."""
    there = ~np.isnan(bars.close[:, s])
    at = bars.at[there]
    days = bar_days(at)
    columns = (getattr(bars, name)[there, s] for name in COLUMNS)
    return Series(bars.symbols[s], at, midnights(days), days, *columns)


def session_opens(bars: Bars) -> Ints:
    """The open of each bar's session. *Raises* `InvalidBars` for a bar that is not daily."""
    _, opens, closes = hours()
    found = np.minimum(np.searchsorted(closes, bars.at), len(closes) - 1)
    odd = np.flatnonzero(closes[found] != bars.at)
    if odd.size:
        raise InvalidBars(
            f"the sandbox replays daily bars, but {instant(bars.at[odd[0]]):%Y-%m-%d %H:%M} UTC "
            "is not the close of a session: give it daily bars stamped at the close"
        )
    return opens[found]


def trend(series: Series) -> float:
    """Ten days' move in average true ranges; 0 while there are too few bars."""
    if len(series) <= max(TREND_DAYS, ATR_DAYS):
        return 0.0
    last = series[-ATR_DAYS - 1 :]
    before = last.close[:-1]
    high, low = np.maximum(last.high[1:], before), np.minimum(last.low[1:], before)
    atr = float(np.mean(high - low))
    return float(last.close[-1] - last.close[-1 - TREND_DAYS]) / atr if atr > 0 else 0.0


class Tape:
    """Bars by symbol, shown only as far as they are completed."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.opens = session_opens(bars)  # (n_bars,) microseconds UTC
        self.days = bars.days
        self.all = {name: one_series(bars, s) for s, name in enumerate(bars.symbols)}

    def until(
        self,
        symbol: str,
        at: int,  # microseconds UTC
    ) -> Series:  # bars that closed by then
        """What is known of a symbol. *Raises* `UnavailableData` for one that is not here."""
        series = self.all.get(symbol)
        if series is None:
            raise UnavailableData(f"no bars of {symbol!r}, there are {', '.join(self.all)}")
        return series[: int(np.searchsorted(series.at, at, side="right"))]

    def day(self, row: int, symbol: str) -> tuple[float, float, float, float] | None:
        """A whole day's open, high, low and close, also before it is over; None: no trade."""
        s = self.bars.symbols.index(symbol)
        o, h, lo, c = (float(getattr(self.bars, name)[row, s]) for name in COLUMNS[:4])
        return None if np.isnan(c) else (o, h, lo, c)
