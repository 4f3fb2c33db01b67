"""A backtest decided moment by moment through `decide`, as live does it: slow, and the proof."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from argo_alpine.backtest import openings
from argo_alpine.bars import Bars, one_bar
from argo_alpine.domain import (
    Account,
    Decision,
    Fill,
    Moment,
    Portfolio,
    Position,
    Quote,
    Reading,
    Session,
    numbers,
)
from argo_alpine.engine import Policy, decide, exchange_date
from argo_alpine.fills import FillPolicy, borrow, buying_power, exit_at, fee, market_price
from argo_alpine.indicators import fold, fresh
from argo_alpine.portfolio import booked, exposures, holdings, worth
from argo_alpine.sessions import instant
from argo_alpine.votes import NEEDS

LEGS = ("", "stop", "target")


@dataclass
class Rehearsal:
    """The market's side of the conversation: quotes, fills and the broker's account."""

    bars: Bars  # symbols in alphabetical order
    policy: Policy
    costs: FillPolicy
    recorded: tuple[Reading, ...]
    portfolio: Portfolio

    def __post_init__(self) -> None:
        self.knobs, self.periods = numbers(self.costs), numbers(self.policy.indicators)
        self.states, self.rings = fresh(len(self.bars.symbols))
        self.prices: dict[str, float] = {}
        self.quoted: dict[str, datetime] = {}
        self.fills: list[Fill] = []  # not yet told
        self.opened = [instant(at) for at in openings(self.bars.at)]
        self.closed = [instant(at) for at in self.bars.at]

    def book(self) -> Portfolio:
        book = self.portfolio
        for fill in self.fills:
            book, _ = booked(book, fill)
        return book

    def decided(self, at: datetime, t: int, **known) -> Decision:
        book = self.book()
        held = holdings(book, self.prices)
        equity, gross = worth(book.cash, *held), exposures(*held)[0]
        account = Account(equity, buying_power(equity, gross, self.knobs))
        session = self.session(t if at < self.closed[t] else t + 1)
        fills, self.fills = tuple(self.fills), []
        moment = Moment(at, session, account, fills=fills, **known)
        decision = decide(moment, self.portfolio, self.policy)
        self.portfolio = decision.portfolio
        return decision

    def session(self, t: int) -> Session | None:
        if t < len(self.closed):
            return Session(exchange_date(self.closed[t]), self.opened[t], self.closed[t])
        end = self.closed[-1]
        return Session(exchange_date(end), end + timedelta(days=1), end + timedelta(days=2))

    def present(self, t: int) -> Iterator[tuple[int, str]]:
        for s, symbol in enumerate(self.bars.symbols):
            if not np.isnan(self.bars.close[t, s]):
                yield s, symbol

    def accrue(self, t: int) -> None:
        elapsed = (self.bars.at[t] - self.bars.at[t - 1]) / 86_400_000_000.0 if t else 0.0
        for symbol in sorted(self.portfolio.positions):
            position = self.portfolio.positions[symbol]
            interest = borrow(position.quantity, self.prices[symbol], elapsed, self.knobs)
            self.portfolio = replace(self.portfolio, cash=self.portfolio.cash - interest)

    def open(self, t: int) -> list[Decision]:
        self.tell()
        self.accrue(t)
        for s, symbol in self.present(t):
            self.prices[symbol] = float(self.bars.open[t, s])
            self.quoted[symbol] = self.opened[t]
        decisions = [self.at_open(t)]
        while self.fill(t, decisions[-1]):
            decisions.append(self.at_open(t))
        return decisions

    def at_open(self, t: int) -> Decision:
        quotes = tuple(Quote(s, self.quoted[s], price) for s, price in self.prices.items())
        return self.decided(self.opened[t], t, quotes=quotes)

    def fill(self, t: int, decision: Decision) -> bool:
        """Fill what the market can; whether a position was closed, and there is more to decide."""
        there = {symbol for _, symbol in self.present(t)}
        orders = [order for order in decision.orders if order.symbol in there]
        for order in orders:
            quantity = float(order.quantity)
            price = market_price(self.prices[order.symbol], quantity, self.knobs)
            charge = fee(quantity, price, self.knobs)
            signal = order.signal if order.leg == "entry" else None
            at = self.opened[t]
            self.fills.append(
                Fill(order.symbol, quantity, price, charge, at, order.leg, signal, order.id)
            )
        return any(order.leg == "close" for order in orders)

    def tell(self) -> None:
        """Book what was not told yet: interest is charged on what is really held."""
        self.portfolio, self.fills = self.book(), []

    def trade(self, t: int) -> None:
        for s, symbol in self.present(t):
            position = self.book().positions.get(symbol)
            if position is not None:
                self.leave(t, s, position)

    def leave(self, t: int, s: int, position: Position) -> None:
        bar = (self.bars.open[t, s], self.bars.high[t, s], self.bars.low[t, s])
        is_new = position.opened == self.opened[t]
        leg, _, price, _ = exit_at(
            position.quantity, *bar, position.stop, position.target, is_new, self.knobs
        )
        if leg:
            quantity, at = -position.quantity, self.closed[t]
            charge = fee(quantity, price, self.knobs)
            self.fills.append(Fill(position.symbol, quantity, price, charge, at, LEGS[leg]))

    def close(self, t: int, is_decided: bool = True) -> Decision | None:
        bars, readings = [], []
        for s, symbol in self.present(t):
            bar = one_bar(self.bars, t, s)
            self.prices[symbol], self.quoted[symbol] = bar.close, self.closed[t]
            fold(
                self.states[s], self.rings[s], bar.high, bar.low, bar.close, bar.volume,
                self.periods,
            )  # fmt: skip
            bars.append(bar)
            readings += self.readings(s, symbol, t)
        if not is_decided:
            return None
        return self.decided(self.closed[t], t, bars=tuple(bars), readings=tuple(readings))

    def readings(self, s: int, symbol: str, t: int) -> list[Reading]:
        at, until = self.closed[t], self.closed[t] + timedelta(days=2)
        made = []
        for source in ("massive", "alpha_vantage"):
            values = {name: float(self.states[s][name]) for name in NEEDS[source]}
            if source == "alpha_vantage":  # the vendor rounds
                values = {name: round(value, 4) for name, value in values.items()}
            if all(np.isfinite(value) for value in values.values()):
                made.append(Reading(source, symbol, at, until, values))
        latest = {
            r.source: r
            for r in sorted(self.recorded, key=lambda r: r.at)
            if r.symbol == symbol and r.at <= at
        }
        return made + [r for r in latest.values() if r.expires > at]


def rehearse(
    bars: Bars, policy: Policy, costs: FillPolicy, recorded: tuple[Reading, ...], cash: float
) -> tuple[list[Decision], Rehearsal]:
    """Every decision, in order, and the stage after the last one."""
    stage = Rehearsal(bars, policy, costs, recorded, Portfolio(cash=cash, positions={}))
    decisions = []
    for t in range(len(bars.at)):
        decisions += stage.open(t)
        stage.trade(t)
        decision = stage.close(t)
        assert decision is not None
        decisions.append(decision)
    stage.tell()
    return decisions, stage
