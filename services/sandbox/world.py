"""The sandbox's world: a market that replays recorded days, moved only by being told to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from argo_alpine.bars import Bars
from argo_alpine.domain import InvalidSettings, Session
from argo_alpine.sessions import instant, microseconds, session_at
from services.sandbox.exchange import Exchange
from services.sandbox.tape import Series, Tape

SYMBOLS = ("AAPL", "IBM", "MSFT", "GOOG")
START = date(2005, 2, 28)  # found by data/find_start.py: the first close that makes a signal
DWELL = 12.0  # seconds a window lasts
LONGEST_DWELL = 300.0  # windows of a half day would meet beyond half an hour
SECOND = 1_000_000  # microseconds
HALF_SPREAD = 0.0001  # of the price
TRADING = ("open", "first", "second", "close")
WINDOWS = (*TRADING, "after")
ENDED = "ended"
STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a symbol costs."""

    symbol: str
    bid: float
    ask: float
    last: float
    at: datetime


def path(
    day: tuple[float, float, float, float],  # open, high, low, close
) -> tuple[float, float, float, float]:  # the price in each trading window
    """The way through a day: a day that closes above its open sees its low first."""
    opened, high, low, closed = day
    return (opened, low, high, closed) if closed > opened else (opened, high, low, closed)


def quoted(symbol: str, price: float, at: datetime) -> Quoted:
    """A market around a price, in cents and at least one of them wide."""
    bid = round(max(price * (1 - HALF_SPREAD), 0.01), 2)
    ask = max(round(price * (1 + HALF_SPREAD), 2), round(bid + 0.01, 2))
    return Quoted(symbol, bid, ask, round(price, 4), at)


def checked_dwell(seconds: float) -> float:
    """*Raises* `InvalidSettings` for windows too short to see or too long to fit."""
    if not 0.1 <= seconds <= LONGEST_DWELL:
        raise InvalidSettings(
            f"dwell must be 0.1 to {LONGEST_DWELL:g} seconds, was {seconds:g}: set --dwell"
        )
    return seconds


def seeded(*words: object) -> np.random.Generator:
    """The same dice for the same words."""
    digest = sha256("|".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8]))


class World:
    """Time, prices and the exchange. Used from one thread; knows no clock."""

    def __init__(
        self,
        bars: Bars,  # daily
        start: date = START,
        dwell: float = DWELL,
        exchange: Exchange | None = None,
    ) -> None:
        self.tape = Tape(bars)
        self.symbols = bars.symbols
        self.dwell = checked_dwell(dwell)
        self.exchange = exchange or Exchange(symbols=bars.symbols)
        self.quotes: dict[str, Quoted] = {}
        self.begin_at(self.row_of(start))

    def begin_at(self, row: int) -> None:
        """Stand in a session's last window, with the close before it known to the exchange."""
        if row:
            self.place(row - 1, "after")
            self.stamp()
        self.place(row, "close")
        self.exchange.open_market(self.at)
        self.stamp()

    def row_of(self, day: date) -> int:
        """Which bar a session is. *Raises* `InvalidSettings` when there is none."""
        wanted = int(np.datetime64(day, "D").astype(np.int64))
        row = int(np.searchsorted(self.tape.days, wanted))
        if row == len(self.tape.days) or self.tape.days[row] != wanted:
            first, last = (self.tape.days[[0, -1]].astype("datetime64[D]")).astype(str)
            raise InvalidSettings(
                f"the sandbox has no session on {day}: choose one from {first} to {last}"
            )
        return row

    # Time

    @property
    def at(self) -> datetime:
        """Sandbox time, UTC."""
        return instant(self.now)

    @property
    def day(self) -> date:
        """The session of the window, also after its close."""
        return (np.datetime64(0, "D") + self.tape.days[self.row]).astype(object)  # type: ignore[no-any-return]

    @property
    def session(self) -> Session | None:
        """The session in progress, else the next one of the calendar."""
        return session_at(self.at)

    @property
    def is_open(self) -> bool:
        """Whether the market trades."""
        return self.window in TRADING

    @property
    def ended(self) -> bool:
        """Whether the recorded days are over; then time stands still."""
        return self.window == ENDED

    def begins(self, row: int, window: str) -> int:
        """When a window of a session begins, in microseconds UTC."""
        opened, closed = int(self.tape.opens[row]), int(self.tape.bars.at[row])
        if window == "close":
            return closed - round(self.dwell * SECOND)
        third = (closed - opened) // 3 // SECOND * SECOND
        return {"open": opened, "first": opened + third, "second": opened + 2 * third}.get(
            window, closed
        )

    def place(self, row: int, window: str) -> None:
        """Stand at the beginning of a window; nothing is told to the exchange."""
        self.row, self.window = row, window
        self.begin = self.now = self.begins(row, window)
        self.end = self.begin + round(self.dwell * SECOND)
        self.__dict__.pop("path", None)

    def set_dwell(self, seconds: float) -> None:
        """How long windows last from the next one on. *Raises* `InvalidSettings`."""
        self.dwell = checked_dwell(float(seconds))

    def move(self, seconds: float) -> None:
        """Let time pass; at the end of a window it jumps to the next one."""
        left = round(seconds * SECOND)
        while left > 0 and not self.ended:
            beat = SECOND - (self.now - self.begin) % SECOND
            step = min(left, beat, self.end - self.now)
            self.now += step
            left -= step
            if self.now == self.end:
                self.turn()
            elif step == beat and self.is_open:
                self.stamp()

    def leap(self, windows: int) -> None:
        """Go to the beginning of the window that is so many further on."""
        for _ in range(windows):
            if not self.ended:
                self.move((self.end - self.now) / SECOND)

    def turn(self) -> None:
        """From one window to the next."""
        if self.window == "close":
            self.stamp()
            self.exchange.close_market(self.at)
            self.place(self.row, "after")
        elif self.window != "after":
            self.place(self.row, WINDOWS[WINDOWS.index(self.window) + 1])
            self.travel()
            self.stamp()
        elif self.row + 1 < len(self.tape.bars):
            self.place(self.row + 1, "open")
            self.exchange.open_market(self.at)
            self.stamp()
        else:
            self.window = ENDED

    # Prices

    @cached_property
    def path(self) -> Mapping[str, tuple[float, float, float, float]]:
        """The session's way by symbol, all of it: for `seen` and `stamp` only."""
        days = {symbol: self.tape.day(self.row, symbol) for symbol in self.symbols}
        return {symbol: path(day) for symbol, day in days.items() if day}

    def seen(self, symbol: str) -> tuple[float, ...]:
        """The session's prices so far, in order; empty when the symbol does not trade."""
        windows = TRADING.index(self.window) + 1 if self.is_open else len(TRADING)
        return self.path.get(symbol, ())[:windows]

    def travel(self) -> None:
        """Trade on the way here: within a session a price passes every price between two."""
        for symbol in self.path:
            before, now = self.seen(symbol)[-2:]
            for price in self.exchange.resting(symbol, before, now):
                self.exchange.quote(symbol, price, price, price, self.at)

    def stamp(self) -> None:
        """Quote every symbol now."""
        at = self.at
        for symbol in self.path:
            quote = quoted(symbol, self.seen(symbol)[-1], at)
            self.quotes[symbol] = quote
            self.exchange.quote(symbol, quote.bid, quote.ask, quote.last, at)

    def known(self, symbol: str) -> Series:
        """Completed bars. *Raises* `UnavailableData` for an unknown symbol."""
        return self.tape.until(symbol, self.now)

    # Persistence

    def state(self) -> dict[str, Any]:
        """All that is needed to go on, as JSON."""
        place = {"at": self.at.isoformat(), "session": self.day.isoformat(), "window": self.window}
        times = {"begin": self.begin, "now": self.now, "end": self.end, "dwell": self.dwell}
        books = {"quotes": self.quotes_state(), "exchange": self.exchange.state()}
        return {"version": STATE_VERSION, **place, **times, **books}

    def quotes_state(self) -> dict[str, list[float]]:
        """Last price and stamp by symbol."""
        return {q.symbol: [q.last, microseconds(q.at)] for q in self.quotes.values()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. *Raises* `InvalidSettings` when it is not one of ours."""
        try:
            if state["version"] != STATE_VERSION or state["window"] not in (*WINDOWS, ENDED):
                raise ValueError(f"version {state['version']}, window {state['window']}")
            row = self.row_of(date.fromisoformat(state["session"]))
            times = [int(state[name]) for name in ("begin", "now", "end")]
            dwell = checked_dwell(float(state["dwell"]))
            quotes = {
                symbol: quoted(symbol, float(last), instant(at))
                for symbol, (last, at) in state["quotes"].items()
            }
            if not times[0] <= times[1] <= times[2]:
                raise ValueError(f"times out of order: {times}")
            exchange = Exchange.restored(state["exchange"])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InvalidSettings(
                f"not a state of this sandbox ({error!r}): start again with --fresh"
            ) from error
        self.place(row, state["window"])
        self.begin, self.now, self.end = times
        self.dwell, self.quotes, self.exchange = dwell, quotes, exchange
