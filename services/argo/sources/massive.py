"""Massive: completed daily bars and last trades; what they mean is worked out elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import pairwise
from time import monotonic
from typing import Any

from argo_alpine.domain import Bar, Quote, UnavailableSource, exchange_date
from services.argo.ports import Harvest, Meter
from services.argo.sources.parse import (
    Unreadable,
    close_of,
    mapping,
    moment,
    not_ahead,
    price,
    rows,
    text,
    volume,
)
from services.argo.sources.web import Failure, Web, brought
from services.argo.tape import last_close

QUOTES_EVERY = timedelta(seconds=4)  # market time
FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0  # real seconds until a missing bar is asked for again
PAGE, MOST_PAGES = 50_000, 20
GOOD = ("OK", "DELAYED")  # delayed trades carry their own, older, time


@dataclass(slots=True)
class Progress:
    """How far the bars of one symbol have been brought."""

    last: date | None = None  # session of the last bar delivered
    asked: datetime | None = None  # close of the last session asked for
    again: float = 0.0  # monotonic: not before
    wait: float = FIRST_WAIT


class Massive:
    """Implements `Source`. One snapshot call for all symbols; history once, then day by day."""

    name = "massive"

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        symbols: Sequence[str],
        meter: Meter,
        epoch: date,  # the first day of history
        settle: timedelta = timedelta(0),  # how long after a close its bar is final
        monotonic: Callable[[], float] = monotonic,
        timeouts: tuple[float, float] = (2.0, 5.0),
        whole: float = 10.0,
    ) -> None:
        self.web = Web(
            "Massive", base_url, key, timeouts=timeouts, whole=whole, monotonic=monotonic
        )
        self.symbols, self.meter, self.epoch = tuple(symbols), meter, epoch
        self.settle, self.monotonic = settle, monotonic
        self.quoted: datetime | None = None  # market time of the last snapshot
        self.progress = {symbol: Progress() for symbol in self.symbols}

    def due(self, at: datetime) -> bool:
        """Whether quotes have aged, or a session has closed whose bar is not here."""
        return self.is_quote_due(at) or any(self.is_bar_due(s, at) for s in self.symbols)

    def fetch(self, at: datetime) -> Harvest:
        """Quotes first: their time is the market's now. *Raises* `UnavailableSource`."""
        error: UnavailableSource | None = None
        quotes: tuple[Quote, ...] = ()
        bars: list[Bar] = []
        try:
            if self.is_quote_due(at):
                quotes = self.snapshot(at)
                self.quoted = at
        except Failure as failed:
            if failed.is_general:
                raise
            error = failed
        for symbol in self.symbols:
            try:
                if self.is_bar_due(symbol, at):
                    bars += self.history(symbol, at)
            except Failure as failed:
                error = error or failed
                if failed.is_general:
                    break
        return brought(Harvest(quotes=quotes, bars=tuple(bars)), error)

    def is_quote_due(self, at: datetime) -> bool:
        """Whether it is time; a clock that went back is no reason to wait."""
        return self.quoted is None or not timedelta(0) <= at - self.quoted < QUOTES_EVERY

    def is_bar_due(self, symbol: str, at: datetime) -> bool:
        """Whether a bar is missing, and asking again makes sense."""
        seen, over = self.progress[symbol], last_close(at - self.settle)
        if seen.last is not None and seen.last >= exchange_date(over):
            return False
        return seen.asked != over or self.monotonic() >= seen.again

    def ask(self, path: str, params: dict[str, str] | None, at: datetime) -> Any:
        """One call, counted. *Raises* `Failure`."""
        self.meter.use(self.name, at.date(), 1, 0.0)
        return self.web.get(path, params)

    def snapshot(self, at: datetime) -> tuple[Quote, ...]:
        """The last trade of each symbol that has one. *Raises* `Failure`."""
        path = "/v2/snapshot/locale/us/markets/stocks/tickers"
        said = self.ask(path, {"tickers": ",".join(self.symbols)}, at)
        return self.web.understood(f"GET {path}", lambda: quotes_in(said, self.symbols, at))

    def history(self, symbol: str, at: datetime) -> list[Bar]:
        """The bars that are missing, and the last that is not: a split restates it.

        *Raises* `Failure`, and waits longer each time.
        """
        seen, over = self.progress[symbol], last_close(at - self.settle)
        if seen.asked != over:
            seen.wait = FIRST_WAIT
        seen.asked, seen.again = over, self.monotonic() + seen.wait
        seen.wait = min(2 * seen.wait, LONGEST_WAIT)
        first, last = seen.last or self.epoch, exchange_date(over)
        bars = self.pages(symbol, first, last, at) if first <= last else []
        if bars:
            seen.last = exchange_date(bars[-1].at)
        return bars

    def pages(self, symbol: str, first: date, last: date, at: datetime) -> list[Bar]:
        """All pages of a range of days. *Raises* `Failure`."""
        path = f"/v2/aggs/ticker/{symbol}/range/1/day/{first}/{last}"
        params: dict[str, str] | None = {
            "adjusted": "true",
            "sort": "asc",
            "limit": str(PAGE),
        }
        asked, here = f"GET {path}", path
        bars: list[Bar] = []
        for number_of_page in range(MOST_PAGES):
            said = self.ask(here, params, at)
            page = Page(symbol, first, last, is_first=number_of_page == 0)
            bars += self.web.understood(asked, partial(page.bars, said))
            if "next_url" not in said:
                self.web.understood(asked, partial(check_order, bars))
                return bars
            here, params = self.web.inside(said["next_url"]), None
        raise self.web.failure(asked, f"more than {MOST_PAGES} pages", status=200)


@dataclass(frozen=True, slots=True)
class Page:
    """What one page of daily bars may contain."""

    symbol: str
    first: date
    last: date
    is_first: bool

    def bars(self, said: object) -> list[Bar]:
        """*Raises* `Unreadable`, and `InvalidBars` for prices that no market made."""
        page = mapping(said, "the reply")
        if not page and not self.is_first:
            return []  # the vendor's way to say that there is nothing more
        check_head(page)
        if page.get("ticker") != self.symbol:
            raise Unreadable(f"ticker must be {self.symbol}, was {page.get('ticker')!r:.60}")
        if page.get("adjusted") is not True:
            raise Unreadable(f"{self.symbol}: adjusted must be true, was {page.get('adjusted')!r}")
        found = rows(page.get("results", []), "results")
        if page.get("resultsCount", len(found)) != len(found):
            raise Unreadable(f"{self.symbol}: {page['resultsCount']!r:.20} announced, {len(found)}")
        made = [self.bar(mapping(row, f"{self.symbol}: a row of results")) for row in found]
        return [bar for bar in made if exchange_date(bar.at) <= self.last]  # later ones still form

    def bar(self, row: Any) -> Bar:
        """One row, stamped at the close of its session."""
        day = exchange_date(moment(row.get("t"), f"{self.symbol}: t"))
        if day < self.first:
            raise Unreadable(f"{self.symbol}: asked from {self.first}, got a bar of {day}")
        name = f"{self.symbol} on {day}: "
        o, h, lo, c = (price(row.get(letter), name + letter) for letter in "ohlc")
        return Bar(self.symbol, close_of(day), o, h, lo, c, volume(row.get("v"), name + "v"))


def check_head(page: Any) -> None:
    """*Raises* `Unreadable` unless the reply says that it is one."""
    if page.get("status") not in GOOD:
        raise Unreadable(f"status must be {' or '.join(GOOD)}, was {page.get('status')!r:.60}")


def check_order(bars: Sequence[Bar]) -> None:
    """*Raises* `Unreadable` unless time ascends, also over pages."""
    for before, after in pairwise(bars):
        if before.at >= after.at:
            raise Unreadable(f"{after.symbol}: {after.at:%Y-%m-%d} follows {before.at:%Y-%m-%d}")


def quotes_in(said: object, symbols: Sequence[str], at: datetime) -> tuple[Quote, ...]:
    """The last trades of a snapshot; a symbol without one has no quote. *Raises* `Unreadable`."""
    page = mapping(said, "the reply")
    check_head(page)
    found: dict[str, Quote] = {}
    for item in rows(page.get("tickers"), "tickers"):
        row = mapping(item, "an entry of tickers")
        symbol = text(row.get("ticker"), "ticker")
        if symbol not in symbols or symbol in found:
            raise Unreadable(f"{symbol!r:.60} was not asked for, or came twice")
        if row.get("lastTrade"):
            found[symbol] = quote_in(symbol, mapping(row["lastTrade"], f"{symbol}: lastTrade"), at)
    return tuple(found.values())


def quote_in(symbol: str, trade: Any, at: datetime) -> Quote:
    """One last trade, stamped by the vendor. *Raises* `Unreadable`."""
    name = f"{symbol}: lastTrade"
    seen = not_ahead(moment(trade.get("t"), f"{name}.t"), at, f"{name}.t")
    return Quote(symbol, seen, price(trade.get("p"), f"{name}.p"))
