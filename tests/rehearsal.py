"""A backtest decided moment by moment through `decide`, as live does it: slow, and the proof."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from argo_alpine.arithmetic import parts_of
from argo_alpine.bars import Bars, one_bar
from argo_alpine.costs import FillPolicy, borrow, buying_power, capped, fee, usual_volume
from argo_alpine.domain import Fill, Order, Position, Quote, Reading, Session, exchange_date
from argo_alpine.engine import Policy, decide
from argo_alpine.fills import EARLIER, STOP, UNFILLED, entry_at, entry_price, exit_at, exit_price
from argo_alpine.indicators import fold, fresh, rescale
from argo_alpine.inputs import in_one
from argo_alpine.knobs import numbers
from argo_alpine.loading import Action
from argo_alpine.moments import Account, Decision, Moment, Portfolio
from argo_alpine.portfolio import booked, exposures, holdings, worth
from argo_alpine.risk import dearest
from argo_alpine.sessions import instant
from argo_alpine.sizing import whole
from argo_alpine.votes import NEEDS

LEGS = ("close", "stop", "target")


@dataclass
class Rehearsal:
    """The market's side of the conversation: quotes, fills and the broker's account."""

    bars: Bars  # symbols in alphabetical order
    policy: Policy
    costs: FillPolicy
    recorded: tuple[Reading, ...]
    portfolio: Portfolio
    actions: tuple[Action, ...] = ()

    def __post_init__(self) -> None:
        self.knobs, self.periods = numbers(self.costs), numbers(self.policy.indicators)
        self.states, self.rings = fresh(len(self.bars.symbols))
        self.prices: dict[str, float] = {}
        self.quoted: dict[str, datetime] = {}
        self.fills: list[Fill] = []  # not yet told
        self.ended: list[str] = []  # orders of which nothing more will be filled, not yet told
        self.resting: list[Order] = []  # limits the open did not meet
        self.entered: dict[str, tuple[int, int]] = {}  # symbol -> bar, and when in it
        self.triggered: set[str] = set()  # stops that were touched and could not be filled whole
        self.used: dict[str, float] = {}  # of this bar's volume
        self.ranges = np.full(len(self.bars.symbols), np.nan)  # as of the close before
        self.ratios = np.ones(self.bars.close.shape)  # of the splits so far
        self.opened = [instant(at) for at in self.bars.opened]
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
        reserved = sum(
            abs(o.quantity * dearest(self.prices[o.symbol], o.signal.limit)) for o in self.resting
        )
        account = Account(equity, buying_power(equity, gross, self.knobs) - reserved)
        session = self.session(t if at < self.closed[t] else t + 1)
        fills, self.fills = tuple(self.fills), []
        ended, self.ended = tuple(self.ended), []
        moment = Moment(at, session, account, fills=fills, ended=ended, **known)
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
        self.used = {}
        self.accrue(t)
        for action, earlier in self.met(t):
            self.act(action, earlier, t)
        for s, symbol in self.present(t):
            self.prices[symbol] = float(self.bars.open[t, s])
            self.quoted[symbol] = self.opened[t]
        decisions = [self.at_open(t)]
        if self.fill(t, decisions[-1]):  # something was closed: there is more to decide
            decisions.append(self.at_open(t))
            self.fill(t, decisions[-1])
        return decisions

    def act(self, action: Action, earlier: float, t: int) -> None:
        """What happens to a share, to what is held of it, and to what is about to be bought."""
        symbol, ratio = action.symbol, action.ratio
        s = self.bars.symbols.index(symbol)
        book, first = self.portfolio, float(self.bars.open[t, s])
        self.ranges[s] /= ratio
        self.ratios[t, s] *= ratio
        pending = tuple(
            replace(
                wish, entry=wish.entry / ratio, stop=wish.stop / ratio,
                target=wish.target / ratio, limit=wish.limit / ratio,
            ) if wish.symbol == symbol else wish
            for wish in book.pending
        )  # fmt: skip
        self.portfolio = book = replace(book, pending=pending)
        if (before := book.positions.get(symbol)) is None:
            return
        grown = replace(
            before, quantity=before.quantity * ratio, price=before.price / ratio,
            stop=before.stop / ratio, target=before.target / ratio,
        )  # fmt: skip
        self.portfolio = replace(book, positions={**book.positions, symbol: grown})
        self.prices[symbol] /= ratio
        kept = whole(abs(grown.quantity), self.costs.part) * np.sign(grown.quantity)
        if abs(kept - grown.quantity) <= 1e-6 * self.costs.part:
            whole_again = replace(grown, quantity=kept)
            self.portfolio = replace(book, positions={**book.positions, symbol: whole_again})
        else:
            odd = Fill(symbol, kept - grown.quantity, first, 0.0, self.opened[t], "split")
            self.fills.append(odd)
        paid = self.portfolio.cash + (grown.quantity * earlier + kept * action.dividend)
        self.portfolio = replace(self.portfolio, cash=paid)

    def met(self, t: int) -> list[tuple[Action, float]]:
        """What a symbol meets at one bar is one action: see `argo_alpine.inputs.in_one`."""
        found: dict[str, list[Action]] = {}
        for action in self.actions:
            if self.falls_on(action, t):
                found.setdefault(action.symbol, []).append(action)
        joined = {name: (some[0].day, *in_one(some)) for name, some in sorted(found.items())}
        return [(Action(name, *one), earlier) for name, (*one, earlier) in joined.items()]

    def falls_on(self, action: Action, t: int) -> bool:
        """Whether this is the first bar of the symbol on the day or after it."""
        s, day = self.bars.symbols.index(action.symbol), exchange_date(self.closed[t])
        if day < action.day or np.isnan(self.bars.close[t, s]):
            return False
        earlier = [u for u in range(t) if not np.isnan(self.bars.close[u, s])]
        return all(exchange_date(self.closed[u]) < action.day for u in earlier)

    def at_open(self, t: int) -> Decision:
        quotes = tuple(Quote(s, self.quoted[s], price) for s, price in self.prices.items())
        return self.decided(self.opened[t], t, quotes=quotes)

    def fill(self, t: int, decision: Decision) -> bool:
        """Fill what the open can; whether anything was closed."""
        there = {symbol: s for s, symbol in self.present(t)}
        orders = [order for order in decision.orders if order.symbol in there]
        self.ended += [order.id for order in decision.orders if order.symbol not in there]
        for order in orders:
            first = self.prices[order.symbol]
            if order.leg == "close":
                position = self.book().positions[order.symbol]
                self.leave(t, there[order.symbol], position, 0, first, order)
                continue
            limit, side = order.signal.limit, int(order.signal.direction)
            when, quoted = entry_at(side, first, first, first, limit)
            if when == UNFILLED:
                self.resting.append(order)
            else:
                self.enter(t, there[order.symbol], order, when, quoted)
        return any(order.leg == "close" for order in orders)

    def take(self, t: int, s: int, wanted: float) -> float:
        symbol = self.bars.symbols[s]
        used = self.used.get(symbol, 0.0)
        quantity = capped(wanted, float(self.bars.volume[t, s]), used, self.knobs)
        self.used[symbol] = used + abs(quantity)
        return quantity

    def usual(self, t: int, s: int) -> float:
        return usual_volume(self.bars.volume, self.ratios, t, s) if self.costs.impact > 0 else 0.0

    def enter(self, t: int, s: int, order: Order, when: int, quoted: float) -> None:
        quantity = self.take(t, s, float(order.quantity))
        if quantity != order.quantity:
            self.ended.append(order.id)
        if quantity:
            price = entry_price(
                when, quoted, quantity, order.signal.limit, self.ranges[s], self.usual(t, s),
                self.knobs,
            )  # fmt: skip
            at = self.closed[t] if when == 2 else self.opened[t]
            charge = fee(quantity, price, self.knobs)
            self.entered[order.symbol] = (t, when)
            self.triggered.discard(order.symbol)
            self.fills.append(
                Fill(order.symbol, quantity, price, charge, at, "entry", order.signal, order.id)
            )

    def tell(self) -> None:
        """Book what was not told yet: interest is charged on what is really held."""
        self.portfolio, self.fills = self.book(), []

    def trade(self, t: int) -> None:
        there = {symbol: s for s, symbol in self.present(t)}
        for order in self.resting:
            s, side = there[order.symbol], int(order.signal.direction)
            bar = (self.bars.open[t, s], self.bars.high[t, s], self.bars.low[t, s])
            when, quoted = entry_at(side, *bar, order.signal.limit)
            if when == UNFILLED:
                self.ended.append(order.id)
            else:
                self.enter(t, s, order, when, quoted)
        self.resting = []
        for symbol, s in there.items():
            position = self.book().positions.get(symbol)
            if position is not None:
                self.watch(t, s, position)

    def watch(self, t: int, s: int, position: Position) -> None:
        bar = (self.bars.open[t, s], self.bars.high[t, s], self.bars.low[t, s])
        bar_entered, when = self.entered[position.symbol]
        stop = position.stop
        if position.symbol in self.triggered:
            stop = np.inf if position.quantity > 0 else -np.inf
        leg, quoted, _ = exit_at(
            position.quantity, *bar, stop, position.target,
            when if bar_entered == t else EARLIER, self.knobs,
        )  # fmt: skip
        if leg:
            self.leave(t, s, position, leg, quoted)

    def leave(
        self,
        t: int,
        s: int,
        position: Position,
        leg: int,
        quoted: float,
        order: Order | None = None,
    ) -> None:
        quantity, symbol = self.take(t, s, -position.quantity), position.symbol
        if order is not None and quantity != order.quantity:
            self.ended.append(order.id)
        if quantity:
            price = exit_price(leg, quoted, quantity, self.ranges[s], self.usual(t, s), self.knobs)
            at = self.closed[t] if leg else self.opened[t]
            charge = fee(quantity, price, self.knobs)
            name = order.id if order is not None else ""
            why = LEGS[leg]
            self.fills.append(Fill(symbol, quantity, price, charge, at, why, None, name))
        if leg == STOP and quantity != -position.quantity:
            self.triggered.add(symbol)

    def close(self, t: int, is_decided: bool = True) -> Decision | None:
        bars, readings = [], []
        for s, symbol in self.present(t):
            bar = one_bar(self.bars, t, s)
            self.prices[symbol], self.quoted[symbol] = bar.close, self.closed[t]
            for action, _ in self.met(t):
                if action.symbol == symbol:
                    rescale(self.states[s], self.rings[s], action.ratio)
            fold(
                self.states[s], self.rings[s], bar.high, bar.low, bar.close, bar.volume,
                self.periods,
            )  # fmt: skip
            bars.append(bar)
            readings += self.readings(s, symbol, t)
            is_read = any(r.symbol == symbol and r.source == "massive" for r in readings)
            self.ranges[s] = float(self.states[s]["atr"]) if is_read else np.nan
        if not is_decided:
            return None
        return self.decided(self.closed[t], t, bars=tuple(bars), readings=tuple(readings))

    def readings(self, s: int, symbol: str, t: int) -> list[Reading]:
        at, until = self.closed[t], self.closed[t] + timedelta(days=2)
        made = []
        for source in ("massive", "alpha_vantage"):
            values = {name: float(self.states[s][name]) for name in NEEDS[source]}
            if source == "alpha_vantage":  # the vendor rounds; of coins one that is finer does
                fine = parts_of(values["close"])
                parts = {name: 1e4 if name == "rsi" else fine for name in values}
                values = {
                    name: float(np.rint(v * parts[name]) / parts[name])
                    for name, v in values.items()
                }
            if all(np.isfinite(value) for value in values.values()):
                made.append(Reading(source, symbol, at, until, values))
        latest = {
            r.source: r
            for r in sorted(self.recorded, key=lambda r: r.at)
            if r.symbol == symbol and r.at <= at
        }
        return made + [r for r in latest.values() if r.expires > at]


def rehearse(
    bars: Bars,
    policy: Policy,
    costs: FillPolicy,
    recorded: tuple[Reading, ...],
    cash: float,
    actions: tuple[Action, ...] = (),
) -> tuple[list[Decision], Rehearsal]:
    """Every decision, in order, and the stage after the last one."""
    stage = Rehearsal(bars, policy, costs, recorded, Portfolio(cash=cash, positions={}), actions)
    decisions = []
    for t in range(len(bars.at)):
        decisions += stage.open(t)
        stage.trade(t)
        decision = stage.close(t)
        assert decision is not None
        decisions.append(decision)
    stage.tell()
    return decisions, stage
