"""The past of every symbol, folded bar by bar into what Massive's vote is made of."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from statistics import median

import numpy as np
import structlog

from argo_alpine.domain import Bar, Reading
from argo_alpine.indicators import IndicatorPolicy, fold, fresh, rescale
from argo_alpine.knobs import numbers
from argo_alpine.loading import opens_split
from argo_alpine.sessions import hours, instant, microseconds
from argo_alpine.votes import NEEDS

log = structlog.get_logger()

GRACE = timedelta(minutes=15)  # after an open, to decide about the close before it
SESSIONS = 2  # a daily reading lives until the close of the second session after its own
TERMS = 20  # of a split's ratio as a fraction, the smaller one: 7:1, 3:2, 1:10, 21:20
WHOLE = 10.0  # from where on ratios are whole numbers: tenths would fit anything
MOST = 1_000.0  # shares for one
LEAST = 0.04  # that a split moves prices by; what moves them less is a correction
CENT = 0.00501  # half of one: restated prices are rounded, and kept ones were


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


@dataclass(frozen=True, slots=True)
class Split:
    """Bars after this close are in new shares, so many for each old one."""

    symbol: str
    at: datetime
    ratio: float


def prices_of(bar: Bar) -> tuple[float, float, float, float]:
    """Open, high, low and close."""
    return bar.open, bar.high, bar.low, bar.close


def split_ratio(kept: Bar, said: Bar) -> float:
    """New shares per old one, if a vendor has restated a bar by a split; 1.0 otherwise.

    One of four prices may have been corrected as well.
    """
    pairs = [*zip(prices_of(kept), prices_of(said), strict=True)]
    moved = median(before / now for before, now in pairs)
    if not 1 / MOST <= moved <= MOST:
        return 1.0
    larger = max(moved, 1 / moved)
    near = Fraction(larger).limit_denominator(TERMS if larger < WHOLE else 1)
    ratio = float(near if moved > 1 else 1 / near)
    alike = sum(is_restated(before, now, ratio) for before, now in pairs)
    return ratio if alike >= 3 and abs(ratio - 1.0) >= LEAST else 1.0


def is_restated(before: float, now: float, ratio: float) -> bool:
    """Whether a price in old shares is another in new ones, but for rounding."""
    cents = min(CENT * (1.0 + 1.0 / ratio), 0.02 * now)  # of a few cents they would be everything
    return math.isclose(before / ratio, now, rel_tol=2e-3, abs_tol=cents)


class Tape:
    """Indicators of every symbol as of its last bar."""

    def __init__(
        self, symbols: Sequence[str], policy: IndicatorPolicy, splits: Iterable[Split] = ()
    ) -> None:
        self.index = {symbol: i for i, symbol in enumerate(symbols)}
        self.periods = numbers(policy)
        self.states, self.rings = fresh(len(self.index))
        self.last: dict[str, Bar] = {}
        self.splits = {(split.symbol, split.at): split for split in splits}

    def follows(self, bar: Bar) -> bool:
        """Whether this bar is news: ours, and later than what was folded."""
        last = self.last.get(bar.symbol)
        return bar.symbol in self.index and (last is None or last.at < bar.at)

    def extend(self, bars: Iterable[Bar]) -> list[Bar]:
        """Fold what is news; of a vendor's second thoughts about the past only splits count."""
        folded = []
        for bar in sorted(bars, key=lambda b: (b.at, b.symbol)):
            if self.follows(bar):
                self.fold(bar)
                folded.append(bar)
            elif bar.symbol in self.index:
                self.compare(bar)
        return folded

    def compare(self, bar: Bar) -> None:
        """Note the split that the last bar shows, said again in new shares; the latest counts."""
        last, known = self.last[bar.symbol], self.splits.get((bar.symbol, bar.at))
        if last.at != bar.at:
            return
        ratio = split_ratio(last, bar)
        if ratio == 1.0 and abs(last.close / bar.close - 1.0) >= LEAST:
            said = {"symbol": bar.symbol, "at": bar.at, "kept": last.close, "said": bar.close}
            log.warning("restated_by_no_split", **said)
        if ratio != 1.0 and (known is None or known.ratio != ratio):
            self.note(Split(bar.symbol, bar.at, ratio))

    def note(self, split: Split) -> None:
        """Know of a split; the next bar of the symbol is read in new shares."""
        self.splits[split.symbol, split.at] = split

    def fold(self, bar: Bar) -> None:
        """Go on to the next bar of a symbol."""
        i, last = self.index[bar.symbol], self.last.get(bar.symbol)
        split = self.splits.get((bar.symbol, last.at)) if last else None
        if (
            split and last and opens_split(last.close, bar.open, split.ratio)
        ):  # or it was taken back
            rescale(self.states[i], self.rings[i], split.ratio)
        ends = (bar.high, bar.low, bar.close, bar.volume)
        fold(self.states[i], self.rings[i], *ends, self.periods)
        self.last[bar.symbol] = bar

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
