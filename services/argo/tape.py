"""The past of every symbol, folded bar by bar into what Massive's vote is made of."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np

from argo_alpine.domain import Bar, Reading
from argo_alpine.indicators import IndicatorPolicy, fold, fresh
from argo_alpine.knobs import numbers
from argo_alpine.sessions import hours, instant, microseconds
from argo_alpine.votes import NEEDS

GRACE = timedelta(minutes=15)  # after an open, to decide about the close before it
SESSIONS = 2  # a daily reading lives until the close of the second session after its own


def expiry(at: datetime) -> datetime:
    """When a daily reading made at this close stops counting."""
    _, _, ends = hours()
    return instant(ends[int(np.searchsorted(ends, microseconds(at), side="right")) + SESSIONS - 1])


def last_close(at: datetime) -> datetime:
    """The close of the last session that is over."""
    _, _, ends = hours()
    return instant(ends[int(np.searchsorted(ends, microseconds(at), side="right")) - 1])


def is_late(at: datetime, close: datetime) -> bool:
    """Whether the open that a decision about this close is meant for is long over."""
    _, opens, _ = hours()
    following = instant(opens[int(np.searchsorted(opens, microseconds(close), side="right"))])
    return at > following + GRACE


class Tape:
    """Indicators of every symbol as of its last bar."""

    def __init__(self, symbols: Sequence[str], policy: IndicatorPolicy) -> None:
        self.index = {symbol: i for i, symbol in enumerate(symbols)}
        self.periods = numbers(policy)
        self.states, self.rings = fresh(len(self.index))
        self.last: dict[str, Bar] = {}

    def follows(self, bar: Bar) -> bool:
        """Whether this bar is news: ours, and later than what was folded."""
        last = self.last.get(bar.symbol)
        return bar.symbol in self.index and (last is None or last.at < bar.at)

    def extend(self, bars: Iterable[Bar]) -> list[Bar]:
        """Fold what is news; a vendor's second thoughts about the past change nothing."""
        news = [bar for bar in sorted(bars, key=lambda b: (b.at, b.symbol)) if self.follows(bar)]
        folded = []
        for bar in news:
            if not self.follows(bar):  # the same bar twice in one delivery
                continue
            i = self.index[bar.symbol]
            fold(
                self.states[i], self.rings[i], bar.high, bar.low, bar.close, bar.volume,
                self.periods,
            )  # fmt: skip
            self.last[bar.symbol] = bar
            folded.append(bar)
        return folded

    def reading(self, symbol: str) -> Reading | None:
        """What Massive's vote is cast from; None until every indicator is warm."""
        bar = self.last.get(symbol)
        if bar is None:
            return None
        state = self.states[self.index[symbol]]
        values = {name: float(state[name]) for name in NEEDS["massive"]}
        if not all(np.isfinite(value) for value in values.values()):
            return None
        return Reading("massive", symbol, bar.at, expiry(bar.at), values)
